"""Tokens of a tenant's own issuers: who they let in, as whom, and all that they do not."""

import base64
import json
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from control_plane.contract import journal
from control_plane.core import clock
from tests.identity_server import PRIVATE
from tests.integration.gateway.conftest import OTHER_HOST, Node, make_node
from tests.integration.gateway.test_gateway_journal import segments
from tests.integration.gateway.test_gateway_streams import OpenStream, SlowStream

ISSUER = "https://login.example.com"
AUDIENCE = "https://ai.example.com"
OTHERS: dict[str, Any] = {
    "RS256": rsa.generate_private_key(65537, 2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
ISSUER_ID = str(uuid.uuid4())


def now() -> int:
    """Return the current second."""
    return int(clock.now().timestamp())


def spki(algorithm: str, keys: dict[str, Any] = PRIVATE) -> bytes:
    """Return a public key as the gateway takes it."""
    return (
        keys[algorithm]
        .public_key()
        .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def records(node: Node) -> list[journal.Record]:
    """Return what the node's journal holds."""
    return [record for segment in segments(node) for record in segment.records]


def issuer(**fields: Any) -> dict[str, Any]:
    """Return an issuer with a key for each algorithm, called by its name."""
    return {
        "id": ISSUER_ID,
        "issuer": ISSUER,
        "audiences": [AUDIENCE, "other"],
        "algorithms": ["RS256", "ES256", "EdDSA"],
        "userClaim": "sub",
        "leeway": 5,
        "keys": [
            {
                "kid": name,
                "algorithm": name,
                "publicKey": base64.b64encode(spki(name)).decode(),
            }
            for name in PRIVATE
        ],
        **fields,
    }


def token(
    algorithm: str = "ES256",
    key: Any = None,
    header: dict[str, Any] | None = None,
    without: str | None = None,
    **claims: Any,
) -> str:
    """Return a token that is good but for what is said."""
    good = {"iss": ISSUER, "aud": AUDIENCE, "sub": "patient-7", "exp": now() + 60, "iat": now()}
    whole = {name: value for name, value in {**good, **claims}.items() if name != without}
    return jwt.encode(
        whole, key or PRIVATE[algorithm], algorithm, headers={"kid": algorithm, **(header or {})}
    )


@pytest.fixture(scope="module")
def served() -> Iterator[Node]:
    """A node whose tenant takes an issuer's tokens."""
    for node in make_node():
        node.gateway.publish({"issuers": {node.tenant: {"issuers": [issuer()]}}})
        yield node


@pytest.mark.parametrize("algorithm", PRIVATE)
def test_a_token_calls_in_its_users_name(served: Node, algorithm: str) -> None:
    user = f"患者-{algorithm}-{uuid.uuid4()}"
    for _ in range(6):  # both workers, and what each of them remembers
        assert served.call(key=token(algorithm, sub=user)).status_code == 200
    text = token(algorithm, sub=user)
    assert [served.call(key=text).status_code for _ in range(4)] == [200] * 4
    ended = [
        record
        for record in records(served)
        if record.user_id == user and record.kind is journal.Kind.END
    ]
    assert len(ended) == 10
    assert {(str(record.tenant), str(record.key)) for record in ended} == {
        (served.tenant, ISSUER_ID)
    }


def test_calls_with_a_key_have_no_user(served: Node) -> None:
    assert served.call(headers={"X-Request-Id": "with-a-key"}).status_code == 200
    assert {record.user_id for record in records(served) if record.request_id == "with-a-key"} == {
        ""
    }


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unsigned(algorithm: str) -> str:
    body = token().split(".")[1]
    return f"{base64url(json.dumps({'alg': algorithm, 'kid': 'ES256'}).encode())}.{body}."


def with_signature(change: Callable[[bytes], bytes], algorithm: str) -> str:
    head, body, tail = token(algorithm).split(".")
    signature = base64.urlsafe_b64decode(tail + "==")
    return f"{head}.{body}.{base64url(change(signature))}"


def other_body() -> str:
    head, _, tail = token().split(".")
    return f"{head}.{token(sub='somebody-else').split('.')[1]}.{tail}"


def raw_sub(sub: bytes) -> str:
    """Return a well signed token whose user is no proper text."""
    head = base64url(json.dumps({"alg": "EdDSA", "kid": "EdDSA"}).encode())
    claims = json.dumps({"iss": ISSUER, "aud": AUDIENCE, "sub": "@", "exp": now() + 60})
    body = base64url(claims.encode().replace(b"@", sub))
    return f"{head}.{body}.{base64url(PRIVATE['EdDSA'].sign(f'{head}.{body}'.encode()))}"


def hmac_with_public_key() -> str:
    """Return a token signed with the public key as a secret: the old confusion of algorithms."""
    head = base64url(json.dumps({"alg": "HS256", "kid": "RS256"}).encode())
    body = token().split(".")[1]
    mac = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    return f"{head}.{body}.{base64url(mac.sign(f'{head}.{body}'.encode(), spki('RS256')))}"


BAD: dict[str, Callable[[], str]] = {
    "not signed": lambda: unsigned("none"),
    "signature left out": lambda: unsigned("ES256"),
    "HMAC with the public key": hmac_with_public_key,
    "another's RSA key": lambda: token("RS256", OTHERS["RS256"]),
    "another's EC key": lambda: token("ES256", OTHERS["ES256"]),
    "another's Ed25519 key": lambda: token("EdDSA", OTHERS["EdDSA"]),
    "algorithm of another key": lambda: token("RS256", header={"kid": "ES256"}),
    "unknown key": lambda: token(header={"kid": "rotated-away"}),
    "critical extension": lambda: token(header={"crit": ["b64"], "b64": True}),
    "changed body": other_body,
    "changed RSA signature": lambda: with_signature(lambda s: s[:-1] + b"\0", "RS256"),
    "zero EC signature": lambda: with_signature(lambda s: bytes(64), "ES256"),
    "short EC signature": lambda: with_signature(lambda s: s[:63], "ES256"),
    "long Ed25519 signature": lambda: with_signature(lambda s: s + b"\0", "EdDSA"),
    "expired": lambda: token(exp=now() - 10),
    "without an end": lambda: token(without="exp"),
    "not yet": lambda: token(nbf=now() + 60),
    "another issuer": lambda: token(iss="https://evil.example.com"),
    "no issuer": lambda: token(without="iss"),
    "another audience": lambda: token(aud="https://elsewhere.example.com"),
    "no audience": lambda: token(without="aud"),
    "empty audience": lambda: token(aud=[]),
    "no user": lambda: token(without="sub"),
    "empty user": lambda: raw_sub(b""),
    "control character": lambda: raw_sub(b"a\\nb"),
    "broken UTF-8": lambda: raw_sub(b"a\xff"),
    "endless user": lambda: raw_sub(b"a" * 256),
    "too long": lambda: token(padding="x" * 5000),
}


@pytest.mark.parametrize("what", BAD)
def test_nothing_else_is_let_in(served: Node, what: str) -> None:
    served.upstream.reset()
    for _ in range(3):
        answer = served.call(key=BAD[what]())
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_token")
    assert served.upstream.received == []


def test_the_leeway_and_a_list_of_audiences_are_taken(served: Node) -> None:
    assert served.call(key=token(exp=now() - 1)).status_code == 200
    assert served.call(key=token(nbf=now() + 3, aud=["somebody", "other"])).status_code == 200
    assert served.call(key=token(sub="x" * 255)).status_code == 200


def test_a_token_is_good_for_its_tenant_only(served: Node) -> None:
    text = token()
    assert served.call(key=text).status_code == 200
    assert served.call(OTHER_HOST, key=text).json()["error"]["code"] == "invalid_token"
    other = served.gateway.documents["hosts"][OTHER_HOST]["tenant"]
    mine = issuer(id=str(uuid.uuid4()))
    served.gateway.publish({"issuers": {other: {"issuers": [mine]}}})
    for _ in range(4):
        assert served.call(OTHER_HOST, key=text).status_code == 200
        assert served.call(key=text).status_code == 200
    served.gateway.publish({"issuers": {other: None}})
    assert served.call(OTHER_HOST, key=text).status_code == 401


def test_a_token_belongs_into_the_authorization_header(served: Node) -> None:
    answer = served.call(key="", headers={"x-api-key": token(), "Authorization": None})
    assert answer.status_code == 401


def test_a_token_that_was_good_ends_with_its_key(served: Node) -> None:
    text = token()
    assert served.call(key=text).status_code == 200
    rest = [key for key in issuer()["keys"] if key["kid"] != "ES256"]
    for fields in ({"keys": rest}, {"algorithms": ["RS256"]}, {"audiences": ["third"]}):
        served.gateway.publish({"issuers": {served.tenant: {"issuers": [issuer(**fields)]}}})
        assert [served.call(key=text).status_code for _ in range(4)] == [401] * 4
    served.gateway.publish({"issuers": {served.tenant: {"issuers": [issuer()]}}})
    assert served.call(key=text).status_code == 200
    only = [{**issuer()["keys"][1], "kid": None}]
    served.gateway.publish({"issuers": {served.tenant: {"issuers": [issuer(keys=only)]}}})
    nameless = jwt.encode(
        {"iss": ISSUER, "aud": AUDIENCE, "sub": "x", "exp": now() + 60},
        PRIVATE["ES256"],
        "ES256",
    )
    assert served.call(key=nameless).status_code == 200
    served.gateway.publish({"issuers": {served.tenant: {"issuers": [issuer()]}}})
    assert served.call(key=nameless).status_code == 401


def test_a_token_that_expires_while_it_is_remembered_is_refused(served: Node) -> None:
    text = token(exp=now() - 3)  # two seconds of its leeway are left
    assert served.call(key=text).status_code == 200
    deadline = time.monotonic() + 10
    while served.call(key=text).status_code == 200:
        assert time.monotonic() < deadline
    assert served.call(key=text).json()["error"]["code"] == "invalid_token"


def test_no_token_is_in_a_log(served: Node) -> None:
    good, bad = token(), BAD["expired"]()
    served.call(key=good)
    served.call(key=bad)
    logs = served.gateway.access_log() + served.gateway.error_log()
    for text in (good, bad):
        assert text.split(".")[2] not in logs


def test_an_open_stream_ends_with_its_issuer(served: Node) -> None:
    served.upstream.script = SlowStream()
    stream = OpenStream(served, key=token())
    served.gateway.publish({"issuers": {served.tenant: {"issuers": [issuer(leeway=6)]}}})
    assert stream.goes_on
    since = time.monotonic()
    served.gateway.publish({"issuers": {served.tenant: None}})
    stream.thread.join(5)
    assert not stream.thread.is_alive()
    assert stream.ended_at - since < 2
    assert b"invalid_token" in b"".join(stream.lines)
    served.gateway.publish({"issuers": {served.tenant: {"issuers": [issuer()]}}})
