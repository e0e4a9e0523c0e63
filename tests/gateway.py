"""A gateway node under test: real nginx on documents that the test writes to Redis itself."""

import json
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import uuid
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis
import requests

from control_plane.contract import SECTIONS, keys
from control_plane.core.crypto import Keyring, ensure_secrets
from control_plane.core.settings import load_settings
from control_plane.gateway import nginx_binary, render
from tests.stack import children, free_port, until

Documents = Mapping[str, Mapping[str, Mapping[str, Any]]]

BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def check_of(text: str) -> str:
    """Return the six characters that end an API key."""
    rest, digits = zlib.crc32(text.encode()), ""
    for _ in range(6):
        rest, digit = divmod(rest, 62)
        digits = BASE62[digit] + digits
    return digits


def new_key() -> tuple[str, str]:
    """Return a key's public id and its whole text."""
    key_id = "".join(secrets.choice(BASE62) for _ in range(12))
    start = f"ym_live_{key_id}_" + "".join(secrets.choice(BASE62) for _ in range(43))
    return key_id, start + check_of(start)


class Publisher:
    """Writes documents to Redis as the control plane publishes them."""

    def __init__(self, client: redis.Redis, epoch: int = 1) -> None:
        self.client = client
        self.epoch = epoch
        self.revision = 0
        self.documents: dict[str, dict[str, Any]] = {}

    def publish(self, changes: Mapping[str, Mapping[str, Any]]) -> str:
        """Publish *changes* (None removes a document) as one revision; return it."""
        self.revision += 1
        with self.client.pipeline(transaction=True) as batch:
            for section, documents in changes.items():
                for doc_id, document in documents.items():
                    self._put(batch, section, doc_id, document)
            pairs = [[s, i] for s, documents in changes.items() for i in documents]
            self._close(batch, {"changes": json.dumps(pairs)})
        return f"{self.epoch}-{self.revision}"

    def republish(self) -> str:
        """Publish everything under a new epoch, as after Redis lost data."""
        self.epoch += 1
        self.revision += 1
        with self.client.pipeline(transaction=True) as batch:
            for section in SECTIONS:
                batch.delete(keys.config_section(section))
            for section, documents in list(self.documents.items()):
                for doc_id, document in documents.items():
                    self._put(batch, section, doc_id, document)
            self._close(batch, {"reload": "1"})
        return f"{self.epoch}-{self.revision}"

    def _put(self, batch: Any, section: str, doc_id: str, document: Any) -> None:
        known = self.documents.setdefault(section, {})
        if document is None:
            known.pop(doc_id, None)
            batch.hdel(keys.config_section(section), doc_id)
            return
        known[doc_id] = document
        text = document if isinstance(document, str) else json.dumps(document)
        envelope = f'{{"epoch":{self.epoch},"rev":{self.revision},"doc":{text}}}'
        batch.hset(keys.config_section(section), doc_id, envelope)

    def _close(self, batch: Any, fields: dict[str, str]) -> None:
        revision = f"{self.epoch}-{self.revision}"
        batch.xadd(keys.CONFIG_LOG, fields, id=revision)
        batch.set(keys.CONFIG_REVISION, revision)
        batch.execute()


class NginxServer:
    """A gateway in a state directory of its own, on documents given as a dict.

    `NginxServer(redis_url, documents, workers=2)` is ready when the node has acknowledged them;
    without documents it is started only when `start` is called.
    """

    def __init__(
        self,
        redis_url: str,
        documents: Documents | None = None,
        workers: int = 1,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.state = Path(tempfile.mkdtemp(prefix="ym"))
        self.state.chmod(0o755)
        self.documents = documents
        environ = {
            "YUMEN_GATEWAY_PORT": str(free_port()),
            "YUMEN_METRICS_GATEWAY_PORT": "0",
            "YUMEN_GATEWAY_WORKERS": str(workers),
            "YUMEN_GATEWAY_NODE": "node-a",
            "YUMEN_REDIS_URL": redis_url,
            "YUMEN_JOURNAL_SEGMENT_MB": "1",
            "YUMEN_SECURITY_UPSTREAM_ALLOW": "127.0.0.0/8",
            **(environment or {}),
        }
        self.settings = load_settings(None, self.state, environ)
        ensure_secrets(self.settings)
        self.keyring = Keyring(self.settings)
        self.client = redis.Redis.from_url(redis_url)
        self.publisher = Publisher(self.client)
        self.url = f"http://127.0.0.1:{self.settings.gateway.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        if self.documents is not None:
            self.publisher.publish(self.documents)
            self.start()
            self.wait_for(f"{self.publisher.epoch}-{self.publisher.revision}")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        self.client.close()
        if kind is None:
            shutil.rmtree(self.state, ignore_errors=True)

    @property
    def prefix(self) -> Path:
        """nginx's directory."""
        return self.state / "gateway"

    def start(self) -> None:
        """Render and start nginx; wait until it answers."""
        render(self.settings)
        self.start_rendered()

    def start_rendered(self) -> None:
        """Start nginx on the files that are there; wait until it answers."""
        command = [
            nginx_binary(),
            "-p",
            str(self.prefix),
            "-c",
            "nginx.conf",
            "-e",
            "logs/error.log",
        ]
        self.process = subprocess.Popen(command, start_new_session=True)
        until(self.answers, "nginx answers", 20)

    def answers(self) -> bool:
        """Return whether nginx runs and answers."""
        assert self.process is not None
        assert self.process.poll() is None, self.error_log()
        try:
            return requests.get(f"{self.url}/livez", timeout=2).ok
        except requests.ConnectionError:
            return False

    def stop(self) -> None:
        """End nginx at once, its workers too."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(20)

    def kill(self) -> None:
        """Kill master and workers as a power cut would."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(20)

    def workers(self) -> list[int]:
        """Return the process ids of nginx's workers."""
        assert self.process is not None
        return children(self.process.pid)

    def status(self) -> dict[str, Any]:
        """Return what the node has reported, {} for nothing yet."""
        text = self.client.hget(keys.node(self.settings.node), "status")
        return dict(json.loads(text)) if text else {}

    def wait_for(self, revision: str, seconds: float = 20) -> None:
        """Wait until every worker holds *revision*."""
        epoch, number = keys.parse_revision(revision)

        def held() -> bool:
            status = self.status()
            return bool(status) and (status["epoch"], status["revision"]) >= (epoch, number)

        until(held, f"every worker holds {revision}", seconds)

    def publish(self, changes: Mapping[str, Mapping[str, Any]]) -> None:
        """Publish *changes* and wait until every worker holds them."""
        self.wait_for(self.publisher.publish(changes))

    def trust_counters(self) -> None:
        """Let what Redis counts be whole for all windows, as if it had run for years."""
        born = {"run": self.client.info("server")["run_id"], "at": 1}
        self.client.hset(keys.ALLOWANCE_BORN, mapping=born)

    def error_log(self) -> str:
        """Return nginx's error log."""
        file = self.prefix / "logs" / "error.log"
        return file.read_text() if file.exists() else ""

    def access_log(self) -> str:
        """Return nginx's access log, what is still buffered included."""
        assert self.process is not None
        self.process.send_signal(signal.SIGUSR1)
        file = self.prefix / "logs" / "access.log"
        return file.read_text()

    def credential(self, tenant: str, key_text: str, **fields: Any) -> dict[str, Any]:
        """Return the credentials document of a key."""
        return {
            "tenant": tenant,
            "key": str(uuid.uuid4()),
            "digest": self.keyring.digest_key(key_text),
            "expiresAt": None,
            **fields,
        }

    def call(self, method: str, path: str, host: str, **options: Any) -> requests.Response:
        """Send a request to *host* through this gateway."""
        headers = {"Host": host, **options.pop("headers", {})}
        if (key := options.pop("key", None)) is not None:
            headers["Authorization"] = f"Bearer {key}"
        options.setdefault("timeout", 20)
        return requests.request(method, self.url + path, headers=headers, **options)
