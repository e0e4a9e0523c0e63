"""From a commit to every worker of every gateway, over real servers: keys and tenants that end."""

import datetime
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from control_plane import identity, tenants
from control_plane.core import migrations
from control_plane.core.crypto import ensure_secrets
from control_plane.core.database import Database
from control_plane.core.settings import load_settings
from control_plane.core.tenancy import platform_context
from control_plane.domains.models import Domain
from control_plane.identity.service import api_keys
from control_plane.tenants import Tenant
from tests import factories
from tests.gateway import NginxServer
from tests.integration.gateway.conftest import HOST
from tests.integration.publishing.test_worker import WorkerProcess
from tests.servers import RedisServer
from tests.stack import until

WORKERS = 2
AGREEMENT = 8 * WORKERS


@dataclass
class System:
    """A control plane with its worker, Redis, and two gateways that know one tenant and its key."""

    database: Database
    redis: RedisServer
    gateways: list[NginxServer]
    tenant: Tenant
    key: identity.APIKey
    text: str

    def change(self, work: Callable[[Session], object]) -> float:
        """Do *work* and commit; return the moment of the commit."""
        with platform_context(), self.database.transaction() as session:
            work(session)
        return time.monotonic()

    def answers(self, gateway: NginxServer) -> int:
        """Return the status of a request over a connection of its own."""
        return gateway.call("GET", "/v1/models", HOST, key=self.text).status_code

    def seconds_until(self, status: int, since: float) -> float:
        """Wait until all workers answer *status*; return after how long the last other one came."""
        latest = since
        for gateway in self.gateways:
            agreed = 0
            while agreed < AGREEMENT:
                asked = time.monotonic()
                same = self.answers(gateway) == status
                agreed = agreed + 1 if same else 0
                latest = latest if same else max(latest, asked)
                assert asked - since < 20, f"{gateway.url} does not answer {status}"
        return latest - since


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    with RedisServer() as redis:
        settings = load_settings(state=tmp_path, environ={"YUMEN_REDIS_URL": redis.url})
        ensure_secrets(settings)
        database = Database(settings)
        migrations.upgrade(database)
        tenant = factories.make_tenant(database)
        with platform_context(), database.transaction() as session:
            made = identity.create_api_key(session, tenant.id, name="k")
            session.add(
                Domain(
                    tenant_id=tenant.id,
                    domain_name=HOST,
                    is_verified=True,
                    verification_token="t",
                )
            )
        files = {
            f"YUMEN_SECURITY_{name.upper()}_KEY_FILE": str(settings.secret_file(name))
            for name in ("pepper", "seal")
        }
        gateways = [
            NginxServer(
                redis.url, workers=WORKERS, environment={"YUMEN_GATEWAY_NODE": node} | files
            )
            for node in ("node-a", "node-b")
        ]
        with WorkerProcess(settings), gateways[0], gateways[1]:
            for gateway in gateways:
                gateway.start()
            found = System(database, redis, gateways, tenant, made.row, made.text)
            until(lambda: {found.answers(each) for each in gateways} == {200}, "the key is good")
            found.seconds_until(200, time.monotonic())
            yield found
        database.close()


def revoke(system: System, session: Session) -> None:
    key = api_keys.get_api_key(session, system.tenant.id, system.key.id)
    api_keys.revoke_api_key(session, key)


def test_revoked_key_is_refused_everywhere_within_a_second(system: System) -> None:
    committed = system.change(lambda session: revoke(system, session))
    assert system.seconds_until(401, committed) < 1


def test_key_revoked_while_redis_is_away_is_refused_within_a_second_of_its_return(
    system: System,
) -> None:
    system.redis.kill()
    system.change(lambda session: revoke(system, session))
    away = time.monotonic()
    while time.monotonic() - away < 4:  # until the pauses between attempts are at their longest
        assert {system.answers(gateway) for gateway in system.gateways} == {200}
    system.redis.start()
    assert system.seconds_until(401, time.monotonic()) < 1


def test_rotated_keys_former_secret_ends_everywhere_within_a_second(system: System) -> None:
    committed = system.change(lambda session: _rotate(system, session))
    assert system.seconds_until(401, committed) < 1


def _rotate(system: System, session: Session) -> None:
    key = api_keys.get_api_key(session, system.tenant.id, system.key.id)
    api_keys.rotate_api_key(session, key, datetime.timedelta(0))


def test_suspended_tenant_stops_and_resumes_everywhere_within_a_second(system: System) -> None:
    for _ in range(3):
        committed = system.change(
            lambda session: tenants.suspend_tenant(session, system.tenant.id, reason="unpaid")
        )
        assert system.seconds_until(403, committed) < 1
        committed = system.change(
            lambda session: tenants.activate_tenant(session, system.tenant.id)
        )
        assert system.seconds_until(200, committed) < 1
