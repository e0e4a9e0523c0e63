"""Started as root, the installation runs as the user `yumen` wherever that user can reach it."""

import contextlib
import os
import pwd
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from control_plane.core.root import project_root

USER: Final = "yumen"


@dataclass(frozen=True)
class Account:
    """The user that the programs run as."""

    uid: int
    gid: int


class UnreachableError(Exception):
    """The user cannot be used; the message says why and what to do."""


def find_account(state: Path, config: Path | None) -> Account:
    """Return the account of the user `yumen`, provided that it can reach what the programs need.

    Raises:
        UnreachableError: there is no such user, or something is out of its reach.
    """
    try:
        entry = pwd.getpwnam(USER)
    except KeyError:
        raise UnreachableError(
            f"there is no user {USER}; "
            f"`useradd --system --user-group --no-create-home {USER}` adds it"
        ) from None
    account = Account(entry.pw_uid, entry.pw_gid)
    read = [project_root(), Path(sys.executable), Path(sys.executable).resolve()]
    if config is not None:
        read.append(config)
    with acting_as(account):
        for path in read:
            _check_way(path)
            if not os.access(path, os.R_OK, effective_ids=True):
                raise UnreachableError(f"{USER} cannot read {path}; `chmod -R o+rX {path}` lets it")
        _check_way(state)  # The state directory itself will be handed over.
    return account


def _check_way(path: Path) -> None:
    for folder in reversed(path.absolute().parents):
        if not os.access(folder, os.X_OK, effective_ids=True):
            raise UnreachableError(f"{USER} cannot enter {folder}; `chmod o+x {folder}` lets it in")


def give(folder: Path, account: Account) -> None:
    """Hand a folder that root made, and what root made in it, to the account."""
    if folder.stat().st_uid != 0:
        return  # It is the account's already, and nothing in it can be trusted by root.
    for parent, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            os.chown(Path(parent) / name, account.uid, account.gid, follow_symlinks=False)
    os.chown(folder, account.uid, account.gid)


def become(account: Account) -> None:
    """Act as the account from now on; `as_root` can still undo it for a moment."""
    os.setgroups([account.gid])
    os.setegid(account.gid)
    os.seteuid(account.uid)


@contextlib.contextmanager
def acting_as(account: Account) -> Iterator[None]:
    """Act as the account, then as root again."""
    groups = os.getgroups()
    become(account)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


@contextlib.contextmanager
def as_starter() -> Iterator[None]:
    """Act as the user who started us: root gets its ready-file wherever it asked for it."""
    uid, gid = os.geteuid(), os.getegid()
    os.seteuid(os.getuid())
    os.setegid(os.getgid())
    try:
        yield
    finally:
        os.setegid(gid)
        os.seteuid(uid)
