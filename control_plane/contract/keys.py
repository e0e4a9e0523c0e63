"""Every Redis key, made in one place; `openresty/contract/keys.lua` holds the same names."""

PREFIX = "yumen:v1:"

CONFIG_LOG = f"{PREFIX}config:log"
"""Stream of publishes. An entry's id is `<epoch>-<revision>`; it has `changes` or `reload`."""

CONFIG_REVISION = f"{PREFIX}config:revision"
"""The newest publish as `<epoch>-<revision>`, moved together with the documents."""

ALLOWANCE_BORN = f"{PREFIX}allowance:born"
"""Hash: `run`, the run_id of the Redis that has the counters, and `at`, its ms when they began."""

ALLOWANCE_NODES = f"{PREFIX}allowance:nodes"
"""Sorted set of the gateway nodes that draw on limits, by Redis' ms when they last did."""

ALLOWANCE_WANTED = f"{PREFIX}allowance:wanted"
"""Hash: key of a lost counter to `<start>:<end>` (ms) of the window whose use is to be told."""

ALLOWANCE_COUNTER = f"{PREFIX}allowance:of:"
"""Before a counter's name: `<document>/<rule>`, then `/<scope>:<id>` for each of its scope."""

ALLOWANCE_WAKE = "allowance"
"""Message on WAKE: a counter is wanted."""

NODES = f"{PREFIX}nodes"
"""Sorted set of gateway nodes by the Unix milliseconds they were last seen."""

USAGE = f"{PREFIX}usage"
"""Stream of journal chunks and end marks, read by one consumer group."""

USAGE_CONFIRMED = f"{PREFIX}usage:confirmed"
"""Hash: writer to `<segment>:<offset>` that the database holds without a gap, or `ended`."""

SIGNALS = f"{PREFIX}signals"
"""Stream of the signals that were published; an entry has `name` and `signal`."""

SIGNALS_STATE = f"{PREFIX}signals:state"
"""Hash: `<kind>/<id>` to the signal that stands, JSON of `value, until, kept, generation, by`."""

DEGRADATIONS = f"{PREFIX}degradations"
"""Hash: id of a degradation rule in force to what the worker tells the API of it."""

NODE_EVENTS = f"{PREFIX}node-events"
"""Stream of what changed at a gateway node, such as a breaker that opened, and of
degradation rules that came into force or ended; capped."""

HEARTBEATS = f"{PREFIX}heartbeats"
"""Hash: `worker/<host>-<pid>` or `shipper/<node>` to when it last lived, and what fails there."""

READINGS = f"{PREFIX}readings"
"""JSON: how services do, as a worker has summed up what the nodes tell; gone when none does."""

WAKE = f"{PREFIX}wake"
"""Pub/sub channel that tells the worker of work; its message names the kind, such as `outbox`."""

USAGE_GROUP = "usage"
"""Consumer group of the usage stream."""


def config_section(section: str) -> str:
    """Return the hash of *section*: document id to `{"epoch", "rev", "doc"}`."""
    return f"{PREFIX}config:{section}"


def staged_section(section: str, token: str) -> str:
    """Return the hash in which everything of *section* is gathered before it takes its place."""
    return f"{PREFIX}staged:{token}:{section}"


def node(node_id: str) -> str:
    """Return the hash in which a gateway node reports itself; field `status` is its NodeStatus."""
    return f"{PREFIX}node:{node_id}"


def throttle(digest: str) -> str:
    """Return the hash that counts the failed attempts at something, such as a user name."""
    return f"{PREFIX}throttle:{digest}"


def revision(epoch: int, number: int) -> str:
    """Return the text form of a revision, which is also its id in the log."""
    return f"{epoch}-{number}"


def parse_revision(text: str) -> tuple[int, int]:
    """Return (epoch, number) of a revision's text form, comparable as a tuple.

    Raises:
        ValueError: the text is not `<epoch>-<number>`.
    """
    epoch, separator, number = text.partition("-")
    if not (separator and epoch.isascii() and epoch.isdigit() and number.isdigit()):
        raise ValueError(f"not a revision: {text!r}")
    return int(epoch), int(number)
