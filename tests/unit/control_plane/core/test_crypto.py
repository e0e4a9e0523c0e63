"""The secret files: made once, and told when something is wrong with them."""

import base64
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from control_plane.core.crypto import Keyring, SecretError, ensure_secrets
from control_plane.core.settings import Settings, load_settings


@pytest.fixture
def installation(tmp_path: Path) -> Settings:
    made = load_settings(state=tmp_path, environ={})
    ensure_secrets(made)
    return made


def test_secrets_are_for_their_owner_and_made_once(installation: Settings) -> None:
    files = [installation.secret_file(name) for name in ("master", "pepper", "seal", "jwt")]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    before = [file.read_bytes() for file in files]
    assert len(set(before)) == 4
    ensure_secrets(installation)
    assert [file.read_bytes() for file in files] == before
    assert sorted(file.name for file in files[0].parent.iterdir()) == sorted(
        file.name for file in files
    )


def test_processes_that_start_at_once_agree_on_the_secrets(tmp_path: Path) -> None:
    made = load_settings(state=tmp_path, environ={})
    with ThreadPoolExecutor(8) as pool:
        digests = list(
            pool.map(lambda _: (ensure_secrets(made), Keyring(made).digest_key("k"))[1], range(8))
        )
    assert len(set(digests)) == 1


def test_what_is_sealed_opens_with_the_seal_key_alone(installation: Settings) -> None:
    sealed = base64.b64decode(Keyring(installation).seal("sk-1", "models/1"))
    key = bytes.fromhex(installation.secret_file("seal").read_text())
    opened = AESGCM(key).decrypt(sealed[:12], sealed[12:], b"models/1")
    assert opened == b"sk-1"


def test_a_missing_or_damaged_secret_is_told(installation: Settings) -> None:
    installation.secret_file("pepper").write_text("short")
    with pytest.raises(SecretError, match=r"pepper\.key must hold 64 hexadecimal"):
        Keyring(installation).digest_key("k")
    installation.secret_file("pepper").unlink()
    with pytest.raises(SecretError, match=r"Cannot read the secret .*pepper\.key"):
        Keyring(installation).digest_key("k")
