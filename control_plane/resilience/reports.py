"""What the worker tells the API of degradation rules that are in force: a hash in Redis."""

import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import redis

from control_plane.contract import keys
from control_plane.core.redis import connect
from control_plane.core.settings import Settings
from control_plane.resilience.models import DegradationRule, Standing

_TIMEOUT_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Report:
    """A rule of that *version* is in force since, and at most until, a Unix millisecond."""

    version: int
    since: int
    until: int
    reason: str


def milliseconds(client: redis.Redis) -> int:
    """Return the time by Redis' clock, by which signals end."""
    seconds, microseconds = client.time()
    return int(seconds) * 1000 + int(microseconds) // 1000


def read(client: redis.Redis) -> dict[str, Report]:
    """Return what is reported, by the rules' ids; some of it may be over."""
    found: Any = client.hgetall(keys.DEGRADATIONS)
    return {rule_id.decode(): _report(text) for rule_id, text in found.items()}


def write(client: redis.Redis, reports: Mapping[str, Report], gone: Sequence[str]) -> None:
    """Report rules, and nothing more of those that are *gone*."""
    with client.pipeline() as pipe:
        if reports:
            pipe.hset(
                keys.DEGRADATIONS,
                mapping={
                    rule_id: json.dumps([each.version, each.since, each.until, each.reason])
                    for rule_id, each in reports.items()
                },
            )
        if gone:
            pipe.hdel(keys.DEGRADATIONS, *gone)
        pipe.execute()


def with_report(settings: Settings, rule: DegradationRule) -> DegradationRule:
    """Return *rule*, which says whether it is in force."""
    return with_reports(settings, [rule])[0]


def with_reports(settings: Settings, rules: Sequence[DegradationRule]) -> Sequence[DegradationRule]:
    """Return *rules*, which say whether they are in force; without Redis nobody knows."""
    if not rules:
        return rules
    client = connect(settings, socket_timeout=_TIMEOUT_SECONDS)
    try:
        now = milliseconds(client)
        found: Any = client.hmget(keys.DEGRADATIONS, [str(rule.id) for rule in rules])
    except redis.RedisError:
        for rule in rules:
            rule.standing = Standing(None, None, "Redis, where it is told, cannot be reached.")
        return rules
    finally:
        client.close()
    for rule, text in zip(rules, found, strict=True):
        rule.standing = _standing(rule, _report(text) if text else None, now)
    return rules


def _standing(rule: DegradationRule, report: Report | None, now: int) -> Standing:
    if report is None or report.version != rule.version or report.until <= now or not rule.enabled:
        return Standing(False, None, None)
    since = datetime.datetime.fromtimestamp(report.since / 1000, datetime.UTC)
    return Standing(True, since, report.reason)


def _report(text: bytes) -> Report:
    return Report(*json.loads(text))
