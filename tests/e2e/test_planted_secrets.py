"""Twenty secrets are given to a whole Yumen in every way there is; nothing that it writes has one.

Looked through are the database's files and dump, Redis as it answers and as its files are, journal,
last-good file, logs, configuration, and what the API and the gateway answer.
"""

import base64
import re
import secrets
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import redis
import requests

from tests.mail_server import MailServer
from tests.servers import POSTGRES_BIN, POSTGRES_USER, PostgresServer
from tests.stack import Stack, until

KNOWN = "known-0b5e1d"
"""What is no secret, and must be found: else nothing was looked through."""
MODEL = {"provider": "openai", "endpoint": "http://127.0.0.1:1024/v1", "costPerCall": "0.01"}
PROVIDER = {"issuer": "https://203.0.114.9", "clientId": "yumen", "isActive": False}
IF_ANY = {"If-Match": "*"}


@pytest.fixture(params=["sqlite", "postgresql"])
def server(request: pytest.FixtureRequest) -> PostgresServer | None:
    if request.param == "sqlite":
        return None
    found: PostgresServer = request.getfixturevalue("postgres_server")
    return found


@pytest.fixture
def mail_server() -> Iterator[MailServer]:
    with MailServer() as started:
        yield started


@pytest.fixture
def stack(server: PostgresServer | None, mail_server: MailServer) -> Iterator[Stack]:
    environ = {} if server is None else server.environ(server.create())
    with Stack({**environ, **mail_server.environ}) as running:
        yield running


class Planter:
    """Somebody who gives Yumen secrets, and keeps all that it answers."""

    def __init__(self, stack: Stack, mail_server: MailServer) -> None:
        self.stack = stack
        self.mail_server = mail_server
        self.planted: dict[str, str] = {}
        self.answers: list[str] = []
        login = {name: stack.ready["operator"][name] for name in ("username", "password")}
        self.operator: dict[str, str] = {}
        signed_in = self.call("POST", "/api/auth/login", json=login, kept=False).json()
        self.planted["access token"] = signed_in["accessToken"]
        self.planted["refresh token"] = signed_in["refreshToken"]
        self.operator = {"Authorization": f"Bearer {signed_in['accessToken']}"}

    def new(self, name: str) -> str:
        """Return a secret that is remembered by what it was used for."""
        self.planted[name] = f"sk-{secrets.token_hex(16)}"
        return self.planted[name]

    def call(
        self, method: str, path: str, *, status: int = 0, kept: bool = True, **options: Any
    ) -> requests.Response:
        """Send a request to the API; what gives a secret on purpose is not *kept*."""
        headers = {**self.operator, **options.pop("headers", {})}
        url = self.stack.ready["admin"] + path
        answer = requests.request(method, url, headers=headers, timeout=30, **options)
        assert answer.status_code == status or (not status and answer.ok), answer.text
        if kept:
            self.keep(answer)
        return answer

    def keep(self, answer: requests.Response) -> None:
        """Keep what an answer says, to be looked through."""
        self.answers.append(f"{answer.headers}\n{answer.text}")

    def model(self, method: str, path: str, what: str, **options: Any) -> Any:
        """Send a model with a new key."""
        fields = {"name": f"{KNOWN}-{what}".replace(" ", "-"), **options.pop("fields", {})}
        body = {**MODEL, "apiKey": self.new(f"upstream key {what}"), **fields}
        return self.call(method, path, json=body, **options).json()

    def upstream_keys(self) -> None:
        """Plant keys of providers: kept, replaced, refused, and used for a call that fails."""
        made = self.model("POST", "/api/models", "created")
        url = f"/api/models/{made['id']}"
        self.model("PUT", url, "replaced", headers=IF_ANY)
        patch = {"apiKey": self.new("upstream key patched")}
        self.call("PATCH", url, json=patch, headers=IF_ANY)
        self.model("POST", "/api/models", "sent once", headers={"Idempotency-Key": "once"})
        self.model("POST", "/api/models", "refused", fields={"costPerCall": "x"}, status=422)
        self.model("POST", "/api/models", "taken", fields={"name": f"{KNOWN}-replaced"}, status=409)
        wrong = self.new("upstream key that is no text")
        self.call("POST", "/api/models", json={**MODEL, "apiKey": [wrong]}, status=422)
        broken = f'{{"apiKey": "{self.new("upstream key in broken JSON")}"'
        json_type = {"Content-Type": "application/json"}
        self.call("POST", "/api/models", data=broken, headers=json_type, status=400)
        terms = {"modelId": made["id"]}
        self.call("POST", f"/api/tenants/{self.tenant}/models", json=terms)
        self.gateway(f"{KNOWN}-replaced", self.stack.ready["demo"]["apiKey"])

    @property
    def tenant(self) -> str:
        """The tenant that has everything."""
        return str(self.stack.ready["demo"]["tenantId"])

    def gateway(self, model: str, key: str, **headers: str) -> requests.Response:
        """Call a model through the gateway."""
        answer = requests.post(
            f"{self.stack.ready['gateway']}/v1/chat/completions",
            json={"model": model, "messages": [{"role": "user", "content": "hello"}]},
            headers={
                "Host": self.stack.ready["demo"]["domain"],
                "Authorization": f"Bearer {key}",
                **headers,
            },
            timeout=30,
        )
        self.keep(answer)
        return answer

    def clients_keys(self) -> None:
        """Plant API keys: good and rotated ones, a wrong one, and one in a query string."""
        url = f"/api/tenants/{self.tenant}/api-keys"
        made = self.call("POST", url, json={"name": KNOWN}, kept=False).json()
        self.planted["API key"] = made["key"]
        rotated = self.call(
            "POST", f"{url}/{made['id']}/rotate", json={}, kept=False, headers=IF_ANY
        ).json()
        self.planted["API key, rotated"] = rotated["key"]
        for key in (made["key"], rotated["key"]):
            until(lambda key=key: self.gateway("demo-chat", key).ok, "the key works", 10)
        assert self.gateway("demo-chat", self.new("wrong API key")).status_code == 401
        query = {"api_key": self.new("key in a query string"), "key": rotated["key"]}
        host = {"Host": self.stack.ready["demo"]["domain"]}
        url = f"{self.stack.ready['gateway']}/v1/models"
        self.keep(requests.get(url, params=query, headers=host, timeout=30))

    def people(self) -> None:
        """Plant what people and programs sign in with."""
        user = {"username": KNOWN, "password": self.new("password"), "role": "viewer"}
        self.call("POST", "/api/users", json=user)
        login = {"username": KNOWN, "password": self.new("wrong password")}
        self.call("POST", "/api/auth/login", json=login, status=401)
        invited = {"username": f"{KNOWN}-2", "email": "li@example.com", "role": "viewer"}
        self.call("POST", "/api/users", json=invited)
        until(lambda: self.mail_server.mails, "the invitation", 30)
        text = self.mail_server.mails[0].get_content()
        self.planted["invitation"] = re.findall(r"#(\S+)", text)[0]
        mailed = {
            "token": self.new("wrong invitation"),
            "newPassword": self.new("refused password"),
        }
        self.call("POST", "/api/auth/invitation/accept", json=mailed, status=422)
        client = {"name": KNOWN, "role": "viewer", "tenantId": self.tenant}
        made = self.call("POST", "/api/service-clients", json=client, kept=False).json()
        self.planted["service client's secret"] = made["clientSecret"]

    def sign_on(self) -> None:
        """Plant secrets of identity providers: a tenant's, the platform's, a refused one."""
        for owner in ({}, {"tenantId": self.tenant}):
            secret = self.new(f"secret of a provider {owner}")
            body = {**PROVIDER, **owner, "name": KNOWN, "clientSecret": secret}
            self.call("POST", "/api/identity-providers", json=body)
        refused = {**PROVIDER, "name": "", "clientSecret": self.new("refused provider's secret")}
        self.call("POST", "/api/identity-providers", json=refused, status=422)

    def look_around(self) -> None:
        """Keep what the API shows of it all."""
        for path in ("models", "users", "service-clients", "identity-providers", "openapi.json"):
            self.call("GET", f"/api/{path}")
        for path in ("api-keys", "models", "export", "usage", "usage/events"):
            self.call("GET", f"/api/tenants/{self.tenant}/{path}")
        for path in ("gateway/nodes", "gateway/revisions", "gateway/refusals", "docs"):
            self.call("GET", f"/api/{path}")
        for path in ("/readyz", "/metrics"):
            for plane in ("admin", "gateway"):
                self.keep(requests.get(self.stack.ready[plane] + path, timeout=10))
        for port in self.stack.metrics_ports.values():
            answer = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=10)
            assert answer.ok
            assert KNOWN not in answer.text
            self.keep(answer)


def forms(secret: str) -> set[bytes]:
    """Return how a secret can stand in a file: as it is, in hexadecimal, inside of any base64."""
    clear = secret.encode()
    found = {clear, clear.hex().encode(), clear.hex().upper().encode()}
    for shift in range(3):
        whole = base64.b64encode(b"\0" * shift + clear)
        found.add(whole[4 if shift else 0 : len(whole) // 4 * 4 - 4])
    return found


@pytest.mark.parametrize("before", range(6))
def test_a_secret_is_known_in_every_form(before: int) -> None:
    text = b"b" * before + b"sk-0123456789abcdef" + b"after"
    for written_as in (text, text.hex().encode(), base64.b64encode(text)):
        assert any(form in written_as for form in forms("sk-0123456789abcdef"))
        assert not any(form in written_as for form in forms("sk-0123456-89abcdef"))


def written(stack: Stack, server: PostgresServer | None) -> Iterator[tuple[str, bytes]]:
    """Yield all that Yumen and its servers have written, but for the secret files themselves."""
    state = stack.state / "s"
    with redis.Redis(unix_socket_path=str(state / "redis" / "redis.sock")) as client:
        client.save()
        for key in client.scan_iter(count=1000):
            kind = client.type(key).decode()
            read = {
                "string": client.get,
                "hash": client.hgetall,
                "stream": client.xrange,
                "set": client.smembers,
                "zset": lambda name: client.zrange(name, 0, -1),
                "list": lambda name: client.lrange(name, 0, -1),
            }[kind]
            yield "redis " + key.decode(), repr((key, read(key))).encode()
    folders = [stack.state]
    if server is not None:
        folders.append(server.folder)
        name = re.sub(r".*/", "", stack.environment["YUMEN_DATABASE_URL"])
        dump = [POSTGRES_BIN / "pg_dump", "-h", "127.0.0.1", "-p", str(server.port)]
        done = subprocess.run([*dump, "-U", POSTGRES_USER, name], capture_output=True, check=True)
        yield "dump", done.stdout
    own = {state / "demo.json", stack.ready_file, stack.output}
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file() and path not in own and path.parent != state / "secrets":
                yield str(path), path.read_bytes()


def test_nothing_that_is_written_has_a_secret(
    stack: Stack, server: PostgresServer | None, mail_server: MailServer
) -> None:
    planter = Planter(stack, mail_server)
    planter.upstream_keys()
    planter.clients_keys()
    planter.people()
    planter.sign_on()
    planter.look_around()
    for file in (stack.state / "s" / "secrets").glob("*.key"):
        planter.planted[file.name] = file.read_text().split("\n")[1 if file.stem == "jwt" else 0]
    assert len(planter.planted) >= 20
    wanted = {form: name for name, text in planter.planted.items() for form in forms(text)}
    places = dict(written(stack, server))
    places["answers"] = "\n".join(planter.answers).encode()
    found = {
        (name, at) for at, text in places.items() for form, name in wanted.items() if form in text
    }
    assert found == set()
    kinds = ("answers", "redis ", "gateway/logs", "last_good", "dump" if server else "yumen.db")
    known = [at for at, text in places.items() if KNOWN.encode() in text]
    assert all(any(kind in at for at in known) for kind in kinds if kind != "gateway/logs"), known
    journal = [at for at in places if "/journal/" in at]
    assert journal
    assert any(places[at].strip(b"\0") for at in journal)
    assert any("logs" in at for at in places)
    assert stack.output.stat().st_size
    print(f"{len(planter.planted)} secrets, {len(places)} places,", sum(map(len, places.values())))  # noqa: T201
