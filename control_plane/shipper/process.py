"""The process `yumen shipper`: a loop that ships, a thread that syncs, one that keeps last_good."""

import contextlib
import fcntl
import functools
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import redis
import structlog

from control_plane.contract.usage_stream import CHUNK_BYTES
from control_plane.core import clock, heartbeats
from control_plane.core.redis import connect
from control_plane.core.settings import Settings
from control_plane.shipper.backlog import Backlog
from control_plane.shipper.last_good import LastGood
from control_plane.shipper.retention import delete_old
from control_plane.shipper.shipping import Shipping
from control_plane.shipper.syncing import Syncer

_POLL_SECONDS = 0.02
_DISCOVER_SECONDS = 0.2
_CONFIRM_SECONDS = 0.1
_IDLE_CONFIRM_SECONDS = 1.0
_RETENTION_SECONDS = 60.0
_REDIS_SECONDS = 5.0
_AWAY_SECONDS = 0.5
_LAST_GOOD_SECONDS = 1.0
_BACKLOG_SECONDS = 1.0

log = structlog.get_logger(__name__)


class ShipperRunningError(Exception):
    """Another shipper works on this state directory."""


def run(settings: Settings, stop: threading.Event | None = None) -> None:
    """Ship this node's journal until *stop* is set; without one, until SIGTERM or SIGINT.

    Raises:
        ShipperRunningError: another shipper holds the lock.
    """
    if stop is None:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
    gateway = settings.state / "gateway"
    gateway.mkdir(parents=True, exist_ok=True)
    with _alone(gateway / "shipper.lock"):
        _run(settings, gateway, stop)


def _run(settings: Settings, gateway: Path, stop: threading.Event) -> None:
    directory = gateway / "journal"
    client = connect(settings, socket_timeout=_REDIS_SECONDS)
    shipping = Shipping(client, directory, settings.node, settings.usage.resend_seconds)
    syncer = Syncer(directory, shipping.is_ended)
    last_good = LastGood(
        connect(settings, socket_timeout=_REDIS_SECONDS), gateway / "last_good", settings.node
    )
    backlog = Backlog(shipping, gateway / "shipper.json")
    threads = [
        _every(settings.journal.sync_ms / 1000, syncer.sync, stop),
        _every(_LAST_GOOD_SECONDS, last_good.update, stop),
        _every(_BACKLOG_SECONDS, backlog.tell, stop),
    ]
    log.info("shipper started", node=settings.node, journal=str(directory))
    try:
        beat = functools.partial(heartbeats.beat, client, heartbeats.SHIPPER, settings.node)
        Loop(shipping, settings.journal.retention_hours, beat).run(stop)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    syncer.sync()
    log.info("shipper stopped")


class Loop:
    """What the shipper does over and over, and when each part is due."""

    def __init__(
        self, shipping: Shipping, retention_hours: float, beat: Callable[[], None]
    ) -> None:
        self._shipping = shipping
        self._beat = beat
        self._retention_hours = retention_hours
        self._due: dict[str, float] = {}

    def run(self, stop: threading.Event) -> None:
        """Go on until *stop* is set; Redis may come and go."""
        away = False
        while not stop.is_set():
            try:
                pause = self.step()
            except redis.RedisError as error:
                if not away:
                    log.warning("redis does not take usage, waiting", error=str(error))
                away = True
                self._shipping.lose()
                pause = _AWAY_SECONDS
            else:
                if away and self._shipping.is_trusted:
                    log.info("redis takes usage again")
                    away = False
            stop.wait(pause)

    def step(self) -> float:
        """Do what is due; return for how long to rest."""
        shipping = self._shipping
        if self._is_due("heartbeat", heartbeats.EVERY_SECONDS):
            self._beat()
        if self._is_due("discover", _DISCOVER_SECONDS):
            shipping.discover()
        soon = shipping.is_waiting or not shipping.is_trusted
        if self._is_due("confirm", _CONFIRM_SECONDS if soon else _IDLE_CONFIRM_SECONDS):
            shipping.confirm()
        if self._is_due("retention", _RETENTION_SECONDS):
            delete_old(shipping.shipments.values(), self._retention_hours)
        sent = shipping.ship() if shipping.is_trusted else 0
        return 0.0 if sent >= CHUNK_BYTES // 2 else _POLL_SECONDS

    def _is_due(self, what: str, seconds: float) -> bool:
        now = clock.monotonic()
        if now - self._due.get(what, -seconds) < seconds:
            return False
        self._due[what] = now
        return True


def _every(seconds: float, work: Callable[[], object], stop: threading.Event) -> threading.Thread:
    """Run *work* every *seconds* on a thread of its own; a failure is logged and tried again."""

    def loop() -> None:
        while not stop.wait(seconds):
            try:
                work()
            except (redis.RedisError, OSError, ValueError, KeyError) as error:
                log.warning("shipper task failed", task=work.__qualname__, error=repr(error))

    thread = threading.Thread(target=loop, name=work.__qualname__, daemon=True)
    thread.start()
    return thread


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold the lock at *path*, which the kernel releases however this process ends."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ShipperRunningError(f"Another shipper holds {path}.") from None
        yield
    finally:
        os.close(descriptor)
