"""Column types: the same value comes back from both databases, and what does not fit is refused."""

import datetime
import json
from decimal import Decimal
from typing import Any

import flask
import pytest
from marshmallow import fields
from sqlalchemy import Column, Integer, MetaData, Table, insert, select
from sqlalchemy.exc import StatementError

from control_plane.core.database import Database
from control_plane.core.types import (
    Decimal12,
    EncryptedText,
    Json,
    Secret,
    UtcDateTime,
    decimal_sum,
)

TABLE = Table(
    "typed",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("decimal", Decimal12()),
    Column("moment", UtcDateTime()),
    Column("json", Json),
    Column("secret", EncryptedText()),
    # The application's role may make no other: it lives as long as the one pooled connection.
    prefixes=["TEMPORARY"],
)
TOKYO = datetime.timezone(datetime.timedelta(hours=9))


@pytest.fixture
def typed(database: Database) -> Database:
    TABLE.metadata.create_all(database.engine, checkfirst=False)
    return database


def kept(database: Database, column: str, value: Any) -> Any:
    with database.engine.begin() as connection:
        made = connection.execute(insert(TABLE).values({column: value}))
        row_id = made.inserted_primary_key[0]
        return connection.scalar(select(TABLE.c[column]).where(TABLE.c.id == row_id))


@pytest.mark.parametrize(
    "text",
    ["0", "1", "0.1", "1.50", "0.000000000001", "99999999999999999999999999.999999999999", "100"],
)
def test_a_decimal_comes_back_exactly(typed: Database, text: str) -> None:
    back = kept(typed, "decimal", Decimal(text))
    assert back == Decimal(text)
    assert format(back, "f") == (text.rstrip("0").rstrip(".") if "." in text else text)


@pytest.mark.parametrize(
    "value", [0.1, 1, "1", Decimal("NaN"), Decimal("0.0000000000001"), Decimal(10) ** 26]
)
def test_what_is_not_an_exact_decimal_is_refused(typed: Database, value: Any) -> None:
    with pytest.raises(StatementError):
        kept(typed, "decimal", value)


def test_sums_are_exact(typed: Database) -> None:
    values = [Decimal("0.1"), Decimal("0.2"), Decimal("12345678901234567890.000000000001"), None]
    with typed.engine.begin() as connection:
        assert connection.scalar(select(decimal_sum(TABLE.c.decimal))) is None
        connection.execute(insert(TABLE), [{"decimal": value} for value in values])
        total = connection.scalar(select(decimal_sum(TABLE.c.decimal)))
    assert total == Decimal("12345678901234567890.300000000001")


def test_a_moment_comes_back_in_utc(typed: Database) -> None:
    moment = datetime.datetime(2026, 1, 1, 3, 4, 5, 678901, tzinfo=TOKYO)
    back = kept(typed, "moment", moment)
    assert back == moment
    assert back.tzinfo is datetime.UTC
    with pytest.raises(StatementError, match="without a zone"):
        kept(typed, "moment", moment.replace(tzinfo=None))


def test_json_comes_back_as_it_was(typed: Database) -> None:
    value = {"玉": [1, 2.5, True, None, "/"], "empty": {}, "list": []}
    assert kept(typed, "json", value) == value


def test_clear_text_is_not_stored_where_secrets_belong(typed: Database) -> None:
    for clear in ("sk-clear", Secret("sk-clear")):
        with pytest.raises(StatementError, match="Only an encrypted text") as caught:
            kept(typed, "secret", clear)
        assert "sk-clear" not in str(caught.value.orig)
    back = kept(typed, "secret", Secret(ciphertext="v2.a.b"))
    assert (back.clear, back.ciphertext) == (None, "v2.a.b")


def test_a_secret_shows_itself_nowhere() -> None:
    secret = Secret("sk-clear")
    shown = [repr(secret), str(secret), f"{secret}", repr([secret]), repr({"key": secret})]
    shown.append(fields.String().serialize("key", {"key": secret}) or "")
    assert "sk-clear" not in "".join(shown)
    with pytest.raises(TypeError):
        json.dumps(secret)
    with flask.Flask("t").app_context(), pytest.raises(TypeError):
        flask.jsonify(secret)
