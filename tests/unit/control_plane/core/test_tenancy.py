"""The tenant's filter: every kind of ORM statement, and every way to write."""

from typing import Any

import pytest
from sqlalchemy import Insert, delete, func, insert, select, update
from sqlalchemy.orm import aliased

from control_plane.audit.models import AuditCut
from control_plane.core import clock, tenancy
from control_plane.core.database import Database
from control_plane.core.tenancy import TenancyError
from control_plane.identity import User
from control_plane.identity.models import APIKey
from control_plane.tenants import Tenant
from tests import factories


class Two:
    """Two tenants with a user each."""

    def __init__(self, database: Database) -> None:
        self.mine, self.other = (factories.make_tenant(database) for _ in range(2))
        self.my_user = factories.make_user(database, self.mine)
        self.other_user = factories.make_user(database, self.other)
        self.platform_user = factories.make_user(database)


@pytest.fixture
def two(database: Database) -> Two:
    return Two(database)


def test_every_kind_of_select_sees_the_own_rows_only(database: Database, two: Two) -> None:
    alias, mine = aliased(User), {two.my_user.id}
    selects = [
        select(User.id),
        select(alias.id),
        select(User.id).where(User.id.in_(select(User.id))),
        select(select(User.id).subquery().c.id),
        select(Tenant.id, User.id)
        .join(User, User.tenant_id == Tenant.id)
        .with_only_columns(User.id),
        select(User.id).union(select(alias.id)),
    ]
    with tenancy.tenant_context(two.mine.id), database.session(write=False) as session:
        for statement in selects:
            assert set(session.scalars(statement)) == mine, statement
        assert session.scalar(select(func.count()).select_from(User)) == 1
        assert session.get(User, two.other_user.id) is None
        assert session.get(User, two.my_user.id) is not None
        assert session.get(Tenant, two.other.id) is None
    with tenancy.platform_context(), database.session(write=False) as session:
        assert session.scalar(select(func.count()).select_from(User)) == 3


def test_bulk_changes_touch_the_own_rows_only(database: Database, two: Two) -> None:
    with tenancy.tenant_context(two.mine.id), database.transaction() as session:
        assert session.execute(update(User).values(email="a@example.com")).rowcount == 1
        assert session.execute(delete(User)).rowcount == 1


def test_rows_in_bulk_must_each_name_the_tenant(database: Database, two: Two) -> None:
    mine, other = {"tenant_id": two.mine.id}, {"tenant_id": two.other.id}
    refused: list[tuple[Insert, list[dict[str, Any]] | None]] = [
        (insert(AuditCut).values(**mine), None),
        (insert(AuditCut).values(**other), [mine]),
        (insert(AuditCut).from_select(["id"], select(User.id)), None),
        *(
            (insert(AuditCut), rows)
            for rows in ([other], [mine, other], [{}], [{"tenant_id": None}])
        ),
    ]
    cut = {"seq": 1, "hash": "0", "proof": "0", "created_at": clock.now()}
    with tenancy.tenant_context(two.mine.id), database.transaction() as session:
        for statement, rows in refused:
            with pytest.raises(TenancyError, match="rows that name it"):
                session.execute(statement, rows and [{**cut, **row} for row in rows])
        session.execute(insert(AuditCut), [{**cut, **mine}])
        assert session.scalar(select(func.count()).select_from(AuditCut)) == 1


def test_a_row_of_another_tenant_cannot_be_written(database: Database, two: Two) -> None:
    key = {"name": "k"}
    with tenancy.tenant_context(two.mine.id):
        with database.session() as session:
            session.add(made := APIKey(**key))
            session.flush()
            assert made.tenant_id == two.mine.id
        with database.session() as session:
            session.add(APIKey(tenant_id=two.other.id, **key))
            with pytest.raises(TenancyError, match="another tenant"):
                session.flush()
        with database.session() as session:
            moved = session.get_one(User, two.my_user.id)
            moved.tenant_id = two.other.id
            with pytest.raises(TenancyError, match="another tenant"):
                session.flush()


def test_without_a_scope_nothing_is_seen_or_written(database: Database, two: Two) -> None:
    with database.session() as session:
        for statement in (
            select(User),
            select(func.count()).select_from(select(User.id).subquery()),
            update(User).values(email=None),
            delete(User),
        ):
            with pytest.raises(TenancyError, match="No tenant is set"):
                session.execute(statement)
        session.add(APIKey(tenant_id=two.mine.id))
        with pytest.raises(TenancyError, match="No tenant is set"):
            session.flush()


def test_scopes_nest(two: Two) -> None:
    with tenancy.platform_context():
        with tenancy.tenant_context(two.mine.id):
            assert tenancy.current_tenant_id() == two.mine.id
        assert tenancy.current_tenant_id() is None
    with pytest.raises(TenancyError):
        tenancy.current_tenant_id()
