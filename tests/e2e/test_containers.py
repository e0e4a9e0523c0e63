"""The containers' commands, each with a container's environment, make one installation together."""

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
import requests
import yaml

from control_plane.core.root import project_root
from control_plane.demo import AdminClient, DemoRecord, Upstream, make_demo
from tests.servers import PostgresServer
from tests.stack import YUMEN, free_port, until

COMPOSE = project_root() / "docker" / "compose.yaml"
PASSWORD = "k3y0fredis"


@contextmanager
def _running(command: list[str], environment: dict[str, str], log: Path) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=os.environ | environment, stdout=output, stderr=output
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


class Containers:
    """What `docker-compose up` would start, as processes: no mount, no image, the same commands."""

    def __init__(self, postgres: PostgresServer) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ym"))
        self.ports = {name: free_port() for name in ("redis", "admin", "gateway", "upstream")}
        self.admin = f"http://127.0.0.1:{self.ports['admin']}"
        self.gateway = f"http://127.0.0.1:{self.ports['gateway']}"
        self._database = postgres.environ(postgres.create())
        self._services = yaml.safe_load(COMPOSE.read_text())["services"]

    def environment(self, name: str) -> dict[str, str]:
        """Return a container's environment; the names of other containers are this machine's."""
        settings = {key: str(value) for key, value in self._services[name]["environment"].items()}
        chosen = {
            **self._database,
            "YUMEN_REDIS_URL": f"redis://:{PASSWORD}@localhost:{self.ports['redis']}/0",
            "YUMEN_ADMIN_HOST": "127.0.0.1",
            "YUMEN_GATEWAY_HOST": "127.0.0.1",
            "YUMEN_GATEWAY_NODE": "gateway-1",
            "YUMEN_GATEWAY_WORKERS": "1",
            "YUMEN_SECURITY_UPSTREAM_ALLOW": "127.0.0.0/8",
        }
        settings |= {key: value for key, value in chosen.items() if key in settings}
        for key, value in settings.items():
            settings[key] = value.replace("/run/secrets", str(self.folder / "secrets"))
        return settings

    def command(self, name: str, state: str) -> list[str]:
        """Return a container's command; its state directory is a folder of ours."""
        _, *arguments = self._services[name]["command"][:-1]
        return [str(YUMEN), *arguments, str(self.folder / state)]

    def run_init(self) -> str:
        """Run the container that makes secrets, schema and operator; return the password."""
        done = subprocess.run(
            self.command("init", "control-plane"),
            env=os.environ | self.environment("init"),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        shown = re.search(r"operator / (\S+)", done.stdout)
        assert shown is not None, done.stdout
        return shown[1]

    def start(self, stack: ExitStack) -> None:
        """Start the containers that go on running."""
        states = {"control-plane": "control-plane", "worker": "worker"}
        states |= {"nginx": "gateway", "shipper": "gateway"}
        ports = {
            "control-plane": {"YUMEN_ADMIN_PORT": str(self.ports["admin"])},
            "nginx": {"YUMEN_GATEWAY_PORT": str(self.ports["gateway"])},
        }
        for name, state in states.items():
            environment = self.environment(name) | ports.get(name, {})
            log = self.folder / f"{name}.log"
            stack.enter_context(_running(self.command(name, state), environment, log))
        upstream = [str(YUMEN), "demo-upstream", "--port", str(self.ports["upstream"])]
        stack.enter_context(_running(upstream, {}, self.folder / "upstream.log"))

    def start_redis(self, stack: ExitStack) -> None:
        """Start Redis with the compose file's options, on a port and behind a password."""
        options = [word for word in self._services["redis"]["command"][1:] if "${" not in word]
        options.remove("--requirepass")
        command = ["redis-server", *options, "--requirepass", PASSWORD]
        command += ["--port", str(self.ports["redis"]), "--dir", str(self.folder)]
        stack.enter_context(_running(command, {}, self.folder / "redis.log"))
        url = f"redis://:{PASSWORD}@localhost:{self.ports['redis']}/0"
        until(lambda: _answers_redis(url), "Redis answers", 10)


def _answers_redis(url: str) -> bool:
    try:
        with redis.Redis.from_url(url) as client:
            return bool(client.ping())
    except redis.ConnectionError:
        return False


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=2).status_code == 200
    except requests.RequestException:
        return False


@pytest.fixture
def containers(postgres_server: PostgresServer) -> Iterator[Containers]:
    made = Containers(postgres_server)
    with ExitStack() as stack:
        made.start_redis(stack)
        yield made
    shutil.rmtree(made.folder)


def test_a_call_through_the_containers_is_metered(containers: Containers) -> None:
    password = containers.run_init()
    with ExitStack() as stack:
        containers.start(stack)
        until(lambda: _answers(f"{containers.admin}/readyz"), "control plane ready")
        client = AdminClient(containers.admin, "operator", password)
        demo = DemoRecord()
        make_demo(client, demo, Upstream(f"http://127.0.0.1:{containers.ports['upstream']}/v1"))
        until(lambda: _answers(f"{containers.gateway}/readyz"), "gateway ready")

        def call() -> requests.Response:
            return requests.post(
                f"{containers.gateway}/v1/chat/completions",
                headers={"Host": str(demo.domain), "Authorization": f"Bearer {demo.api_key}"},
                json={"model": demo.model, "messages": [{"role": "user", "content": "Hello"}]},
                timeout=10,
            )

        until(lambda: call().status_code == 200, "an answer", 10)
        usage: dict[str, Any] = until(
            lambda: _metered(client, demo.tenant_id), "the call is in the usage", 10
        )
        assert usage["calls"] == 1, json.dumps(usage)
        nodes = client.call("GET", "/gateway/nodes")
        assert [node["node"] for node in nodes] == ["gateway-1"]


def _metered(client: AdminClient, tenant: str | None) -> Any:
    usage = client.call("GET", f"/tenants/{tenant}/usage")
    return usage if usage["calls"] else None
