"""Days of usage are the tenant's own, also where its time zone changes; on both databases."""

import datetime
from collections import Counter
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from control_plane import tenants
from control_plane.core import tenancy
from control_plane.core.database import Database
from control_plane.tenants import Tenant
from control_plane.usage import periods
from control_plane.usage.models import UsageEvent, UsageWriter
from tests import factories
from tests.journal_writer import begin, end
from tests.usage_events import store

ZONES = ("Asia/Shanghai", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Gaza")


def microseconds(moment: str | datetime.datetime) -> int:
    if isinstance(moment, str):
        moment = datetime.datetime.fromisoformat(moment)
    return periods.microseconds(moment)


def call_at(database: Database, tenant: Tenant, *moments: str | datetime.datetime) -> None:
    """Store one call of *tenant* at each moment."""
    begun = [
        begin(number, tenant=tenant.id, started_us=microseconds(moment))
        for number, moment in enumerate(moments, start=1)
    ]
    store(database, [*begun, *map(end, begun)])


def days(client: FlaskClient, headers: dict[str, str], tenant: Tenant, period: str) -> Any:
    answer = client.get(f"/api/tenants/{tenant.id}/usage?groupBy=day&{period}", headers=headers)
    assert answer.status_code == 200, answer.text
    return {group["key"]: group["calls"] for group in answer.json["groups"]}


@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        ("Asia/Shanghai", {"2026-03-29": 1, "2026-03-30": 1, "2026-10-25": 2, "2026-10-26": 1}),
        ("Europe/Berlin", {"2026-03-29": 2, "2026-10-24": 1, "2026-10-25": 2}),
        ("America/New_York", {"2026-03-29": 2, "2026-10-24": 1, "2026-10-25": 2}),
        (
            "Pacific/Kiritimati",
            {"2026-03-29": 1, "2026-03-30": 1, "2026-10-25": 2, "2026-10-26": 1},
        ),
    ],
)
def test_the_same_calls_fall_on_other_days_in_another_zone(
    client: FlaskClient,
    operator: dict[str, str],
    database: Database,
    zone: str,
    expected: dict[str, int],
) -> None:
    tenant = factories.make_tenant(database, time_zone=zone)
    call_at(
        database,
        tenant,
        "2026-03-29T00:30:00Z" if zone == "Europe/Berlin" else "2026-03-29T05:30:00Z",
        "2026-03-29T21:30:00Z",
        "2026-10-24T21:30:00Z" if zone == "Europe/Berlin" else "2026-10-25T03:30:00Z",
        "2026-10-24T22:30:00Z" if zone == "Europe/Berlin" else "2026-10-25T05:30:00Z",
        "2026-10-25T22:30:00Z",
    )
    period = "from=2026-01-01T00:00:00Z&to=2027-01-01T00:00:00Z"
    assert days(client, operator, tenant, period) == expected


def test_dates_are_whole_days_of_the_tenant(
    client: FlaskClient, operator: dict[str, str], database: Database
) -> None:
    tenant = factories.make_tenant(database, time_zone="Europe/Berlin")
    call_at(
        database,
        tenant,
        "2026-10-24T21:59:59.999999Z",
        "2026-10-24T22:00:00Z",
        "2026-10-25T22:59:59.999999Z",
        "2026-10-25T23:00:00Z",
    )
    path = f"/api/tenants/{tenant.id}/usage"
    usage = client.get(f"{path}?from=2026-10-25&to=2026-10-25", headers=operator).json
    assert usage["calls"] == 2
    assert usage["from"] == "2026-10-24T22:00:00+00:00"
    assert usage["to"] == "2026-10-25T23:00:00+00:00"
    events = client.get(f"{path}/events?from=2026-10-25&to=2026-10-25&limit=1", headers=operator)
    following = client.get(events.headers["Link"].split(">")[0][1:], headers=operator)
    moments = [each["timestamp"] for each in (*events.json, *following.json)]
    assert moments == ["2026-10-25T22:59:59.999999+00:00", "2026-10-24T22:00:00+00:00"]
    assert days(client, operator, tenant, "from=2026-10-24&to=2026-10-26") == {
        "2026-10-24": 1,
        "2026-10-25": 2,
        "2026-10-26": 1,
    }


def test_a_changed_zone_divides_what_was_before_anew(
    client: FlaskClient, operator: dict[str, str], database: Database, tenant: Tenant
) -> None:
    call_at(database, tenant, "2026-11-01T20:00:00Z")
    period = "from=2026-11-01T00:00:00Z&to=2026-11-03T00:00:00Z"
    assert days(client, operator, tenant, period) == {"2026-11-02": 1}
    with tenancy.platform_context(), database.transaction() as session:
        tenants.get_tenant(session, tenant.id).time_zone = "UTC"
    assert days(client, operator, tenant, period) == {"2026-11-01": 1}


def test_the_longest_period_is_answered(
    client: FlaskClient, operator: dict[str, str], database: Database
) -> None:
    tenant = factories.make_tenant(database, time_zone="Europe/Berlin")
    call_at(database, tenant, "2026-07-01T22:00:00Z", "2026-01-01T22:00:00Z")
    found = days(client, operator, tenant, "from=1970-01-02&to=8999-12-31")
    assert found == {"2026-01-01": 1, "2026-07-02": 1}


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    zone=st.sampled_from(ZONES),
    moments=st.lists(
        st.integers(microseconds("2024-01-01T00:00:00Z"), microseconds("2026-11-01T00:00:00Z")),
        min_size=1,
        max_size=20,
    ),
)
def test_each_call_falls_on_the_day_that_its_zone_says(
    client: FlaskClient,
    operator: dict[str, str],
    database: Database,
    zone: str,
    moments: list[int],
) -> None:
    tenant = factories.make_tenant(database, time_zone=zone)
    with tenancy.platform_context(), database.transaction() as session:
        session.execute(delete(UsageEvent))
        session.execute(delete(UsageWriter))
    call_at(database, tenant, *map(periods.moment_of, moments))
    local = [periods.moment_of(each).astimezone(ZoneInfo(zone)) for each in moments]
    expected = Counter(str(each.date()) for each in local)
    assert days(client, operator, tenant, "from=2023-12-01&to=2026-12-01") == expected
