"""What providers publish about themselves, kept for minutes: endpoints and signing keys."""

import collections
import contextlib
import dataclasses
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

import requests
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from control_plane.core import base_urls, clock, outgoing
from control_plane.core.errors import ApiError
from control_plane.core.settings import Settings

KEPT_SECONDS = 600.0
FLOOR_SECONDS = 10.0
"""How long a failure is kept, and how soon keys are fetched again because one was not there."""

_WAIT_SECONDS = 2.0
_MOST_KEPT = 1000

Found = TypeVar("Found")


def unreachable() -> ApiError:
    """Return the answer while a provider does not answer."""
    detail = "The identity provider does not answer; try again in a while."
    return ApiError(502, "provider_unreachable", detail)


def bad_answer(detail: str) -> ApiError:
    """Return the answer to an answer that is not what OpenID Connect demands, or not for us."""
    return ApiError(502, "provider_answer_invalid", detail)


@dataclasses.dataclass(frozen=True)
class Metadata:
    """A provider's endpoints, and what it can do."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None
    token_endpoint_auth_methods: tuple[str, ...]
    names_issuer: bool
    """Whether each of its answers says who answers (RFC 9207)."""


class Discovery:
    """Fetches and keeps what providers publish; one for each process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._metadata: _Kept[Metadata] = _Kept()
        self._keys: _Kept[KeySet] = _Kept()

    def metadata(self, issuer: str) -> Metadata:
        """Return what the provider *issuer* publishes.

        Raises:
            ApiError: it does not answer, is another issuer, or lacks what is needed.
        """
        url = issuer.rstrip("/") + "/.well-known/openid-configuration"
        return self._metadata.get(
            issuer, lambda: _read_metadata(issuer, fetch(self._settings, url)), KEPT_SECONDS
        )

    def keys(self, metadata: Metadata, *, missing: bool = False) -> KeySet:
        """Return the keys that a provider signs with; those of now when one was *missing*.

        Raises:
            ApiError: it does not answer, or they cannot be read.
        """
        kept = FLOOR_SECONDS if missing else KEPT_SECONDS
        return self._keys.get(
            metadata.jwks_uri,
            lambda: _read_keys(fetch(self._settings, metadata.jwks_uri)),
            kept,
        )


def fetch(settings: Settings, url: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the JSON object at a URL of a provider.

    Raises:
        ApiError: it does not answer with one.
    """
    with requests.Session() as session:
        outgoing.guard(session, settings)
        try:
            answer = session.get(url, headers={"Accept": "application/json", **(headers or {})})
            answer.raise_for_status()
            found = answer.json()
        except (requests.RequestException, ValueError, RecursionError) as error:
            raise unreachable() from error
    if not isinstance(found, dict):
        raise unreachable()
    return found


def _read_metadata(issuer: str, found: Mapping[str, Any]) -> Metadata:
    if found.get("issuer") != issuer:
        raise bad_answer("The identity provider says that it is another issuer.")
    methods = found.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    userinfo = found.get("userinfo_endpoint")
    return Metadata(
        issuer=issuer,
        authorization_endpoint=_endpoint(issuer, found.get("authorization_endpoint")),
        token_endpoint=_endpoint(issuer, found.get("token_endpoint")),
        jwks_uri=_endpoint(issuer, found.get("jwks_uri")),
        userinfo_endpoint=None if userinfo is None else _endpoint(issuer, userinfo),
        token_endpoint_auth_methods=tuple(methods) if isinstance(methods, list) else (),
        names_issuer=found.get("authorization_response_iss_parameter_supported") is True,
    )


def _endpoint(issuer: str, url: Any) -> str:
    """Return *url* when it is an address as safe as the issuer's; browsers are sent there too."""
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
        known = base_urls.parse(f"{parts.scheme}://{parts.netloc}")
    except ValueError as error:
        raise bad_answer("The identity provider lacks an endpoint that is needed.") from error
    if (known.scheme != "https" and issuer.startswith("https:")) or not url.isprintable():
        raise bad_answer("The identity provider has an endpoint that is not safe.")
    return str(url)


def _read_keys(found: dict[str, Any]) -> KeySet:
    try:
        return KeySet.import_key_set(found)  # type: ignore[arg-type] # judged by the import itself
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise bad_answer("The identity provider's keys cannot be read.") from error


class _Kept(Generic[Found]):
    """What was found under each name, or why nothing was; one thread fetches, others wait."""

    def __init__(self) -> None:
        self._found: collections.OrderedDict[str, tuple[float, Found | ApiError]]
        self._found = collections.OrderedDict()
        self._locks: collections.defaultdict[str, threading.Lock]
        self._locks = collections.defaultdict(threading.Lock)

    def get(self, name: str, fetch: Callable[[], Found], kept_seconds: float) -> Found:
        """Return what is kept under *name* and not older, else what *fetch* returns."""
        found = self._fresh(name, kept_seconds)
        if found is None:
            with self._alone(name):
                found = self._fresh(name, kept_seconds)
                if found is None:
                    found = self._fetched(name, fetch)
        if isinstance(found, ApiError):
            raise found
        return found

    def _fresh(self, name: str, kept_seconds: float) -> Found | ApiError | None:
        at, found = self._found.get(name, (0.0, None))
        if found is None:
            return None
        limit = FLOOR_SECONDS if isinstance(found, ApiError) else kept_seconds
        return found if clock.monotonic() - at < limit else None

    def _fetched(self, name: str, fetch: Callable[[], Found]) -> Found | ApiError:
        found: Found | ApiError
        try:
            found = fetch()
        except ApiError as error:
            found = error
        self._found[name] = (clock.monotonic(), found)
        self._found.move_to_end(name)
        if len(self._found) > _MOST_KEPT:
            forgotten, _ = self._found.popitem(last=False)
            self._locks.pop(forgotten, None)
        return found

    @contextlib.contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        lock = self._locks[name]
        if not lock.acquire(timeout=_WAIT_SECONDS):
            raise unreachable()
        try:
            yield
        finally:
            lock.release()
