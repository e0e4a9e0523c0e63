"""Keeps, outside of the database, how far each chain had come: what is cut off later is missed.

One JSON line for each chain that grew, each signed over the one before it. The file only grows; a
copy of it on another machine keeps it from whoever rules this one.
"""

import fcntl
import hmac
import json
import os
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from control_plane.audit import chain
from control_plane.audit.chain import ORIGIN, Link
from control_plane.audit.models import AuditLog
from control_plane.core import clock
from control_plane.core.plain import canonical
from control_plane.core.plugins import JobContext
from control_plane.core.settings import Settings
from control_plane.core.tenancy import platform_context


class AnchorsError(Exception):
    """A line of the file is not as it was written."""


def path_of(settings: Settings) -> Path:
    """Return where the anchors of this installation are."""
    return settings.state / "audit-anchors.jsonl"


class Anchors:
    """The file's last line for each chain."""

    def __init__(self, path: Path, key: bytes) -> None:
        self._path = path
        self._key = key
        self._proof = ORIGIN
        self._read = 0
        self.last: dict[str, Link] = {}

    def load(self) -> None:
        """Read the lines that are new; one that was not finished is no line.

        Raises:
            AnchorsError: a line was changed, or one before it is gone.
        """
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._take(line)
                self._read += len(line)

    def append(self, heads: Mapping[str, Link]) -> None:
        """Write down the *heads* of chains, and have them on disk before this returns."""
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self.load()
            file.truncate(self._read)
            file.write(b"".join(self._lines(heads.items())))
            file.flush()
            os.fsync(file.fileno())
        self.load()

    def _lines(self, heads: Iterable[tuple[str, Link]]) -> Iterable[bytes]:
        proof, now = self._proof, clock.now().isoformat()
        for name, head in heads:
            told = {"chain": name, "seq": head.seq, "hash": head.hash, "at": now}
            proof = self._proof_of(proof, told)
            yield (canonical({**told, "proof": proof}) + "\n").encode("ascii")

    def _take(self, line: bytes) -> None:
        try:
            told: dict[str, Any] = json.loads(line)
            proof = told.pop("proof")
            good = hmac.compare_digest(proof, self._proof_of(self._proof, told))
            name, head = told["chain"], Link(int(told["seq"]), str(told["hash"]))
        except (ValueError, KeyError, TypeError, AttributeError):
            good = False
        if not good:
            raise AnchorsError(f"{self._path}: the line at byte {self._read} is not as written.")
        self._proof = proof
        self.last[name] = head

    def _proof_of(self, proof: str, told: Mapping[str, Any]) -> str:
        signed = canonical(["anchor", proof, told]).encode("ascii")
        return hmac.new(self._key, signed, sha256).hexdigest()


class Anchoring:
    """The worker's job that writes anchors."""

    def __init__(self) -> None:
        self._anchors: Anchors | None = None

    def run(self, context: JobContext) -> None:
        """Anchor the chains that have grown."""
        if self._anchors is None:
            key = chain.key_of(context.database.keyring)
            self._anchors = Anchors(path_of(context.settings), key)
        self._anchors.load()
        grown = _grown(context, self._anchors.last)
        if grown:
            self._anchors.append(grown)


def _grown(context: JobContext, anchored: Mapping[str, Link]) -> dict[str, Link]:
    """Return the heads of the chains that have rows after their last anchor."""
    last = select(AuditLog.tenant_id, func.max(AuditLog.seq)).group_by(AuditLog.tenant_id)
    grown: dict[str, Link] = {}
    with platform_context(), context.database.session(write=False) as session:
        for tenant_id, seq in session.execute(last).all():
            name = chain.name_of(tenant_id)
            if name not in anchored or seq > anchored[name].seq:
                query = select(AuditLog.hash).where(
                    chain.of(AuditLog, tenant_id), AuditLog.seq == seq
                )
                grown[name] = Link(seq, session.scalars(query).one())
    return grown
