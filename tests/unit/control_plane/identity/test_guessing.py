"""Guessing passwords is slow, and does not lock out the one whose password is guessed."""

import collections
import datetime
import itertools
import re
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from control_plane.core import clock
from control_plane.core.database import Database
from control_plane.identity.service import passwords, sign_in
from tests import factories

HOME = "203.0.113.7"
STRANGER = "198.51.100.1"


class Clock:
    """A clock that stands still until it is turned."""

    def __init__(self) -> None:
        self.now = clock.now()

    def turn(self, seconds: float) -> None:
        """Let *seconds* pass."""
        self.now += datetime.timedelta(seconds=seconds)


@pytest.fixture(autouse=True)
def turned(monkeypatch: pytest.MonkeyPatch) -> Clock:
    still = Clock()
    monkeypatch.setattr(clock, "now", lambda: still.now)
    return still


@pytest.fixture
def evaluated(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The hashes that passwords were really checked against."""
    checked: list[str] = []
    hasher = passwords._hasher

    class Counting:
        """The hasher, with a list of what it was asked."""

        def verify(self, password_hash: str, password: str) -> bool:
            """Check a password."""
            checked.append(password_hash)
            return hasher.verify(password_hash, password)

        def hash(self, password: str) -> str:
            """Hash a password."""
            return hasher.hash(password)

    monkeypatch.setattr(passwords, "_hasher", Counting())
    return checked


def login(client: FlaskClient, username: str, password: str, address: str = STRANGER) -> Any:
    body = {"username": username, "password": password}
    return client.post("/api/auth/login", json=body, environ_base={"REMOTE_ADDR": address})


def guess_until_locked(client: FlaskClient, username: str, turned: Clock) -> None:
    """Send wrong passwords, from another network each, until one has to wait a quarter hour."""
    for number in itertools.count(1):
        answer = login(client, username, "wrong password", f"198.51.{number}.1")
        if answer.status_code == 429:
            wait = int(answer.headers["Retry-After"])
            if wait > 600:
                return
            turned.turn(wait)


def test_ten_failures_stop_the_account_for_a_quarter_hour(
    client: FlaskClient, database: Database, turned: Clock, evaluated: list[str]
) -> None:
    user = factories.make_user(database)
    guess_until_locked(client, user.username, turned)
    assert len(evaluated) == 10
    refused = login(client, user.username, factories.PASSWORD)
    assert (refused.status_code, refused.json["code"]) == (429, "too_many_attempts")
    assert 890 <= int(refused.headers["Retry-After"]) <= 900
    turned.turn(900)
    assert login(client, user.username, factories.PASSWORD).status_code == 200


def test_an_unknown_name_is_answered_in_the_same_way(
    client: FlaskClient, database: Database, turned: Clock, evaluated: list[str]
) -> None:
    user = factories.make_user(database)
    told: dict[str, list[Any]] = collections.defaultdict(list)
    for name in (user.username, "nobody"):
        for _ in range(40):
            answer = login(client, name, "wrong password", f"192.0.{len(name)}.1")
            detail = re.sub("[0-9]+", "some", answer.json["detail"])
            told[name].append(
                (
                    answer.status_code,
                    {**answer.json, "requestId": "", "detail": detail},
                    int(answer.headers.get("Retry-After", 0)),
                )
            )
            turned.turn(20)
    for known, unknown in zip(told[user.username], told["nobody"], strict=True):
        assert known[:2] == unknown[:2]
        assert abs(known[2] - unknown[2]) <= 1  # Redis' own clock goes on meanwhile
    assert evaluated.count(user.password_hash or "") == len(evaluated) / 2


def test_a_user_is_let_in_where_he_is_known_while_strangers_guess(
    client: FlaskClient, database: Database, turned: Clock
) -> None:
    user = factories.make_user(database)
    assert login(client, user.username, factories.PASSWORD, HOME).status_code == 200
    guess_until_locked(client, user.username, turned)
    assert login(client, user.username, factories.PASSWORD, STRANGER).status_code == 429
    neighbour = HOME.removesuffix("7") + "99"
    for address in (HOME, neighbour):
        assert login(client, user.username, factories.PASSWORD, address).status_code == 200


def test_a_name_is_guessed_in_vain_in_every_spelling(
    client: FlaskClient, database: Database, turned: Clock, evaluated: list[str]
) -> None:
    user = factories.make_user(database)
    guess_until_locked(client, user.username, turned)
    assert login(client, user.username.upper(), "wrong password").status_code == 429


def test_a_network_that_guesses_names_waits_too(
    client: FlaskClient, database: Database, evaluated: list[str]
) -> None:
    user = factories.make_user(database)
    assert login(client, user.username, factories.PASSWORD, STRANGER).status_code == 200
    codes = [login(client, f"name-{n}", "wrong password").status_code for n in range(200)]
    assert codes.count(401) == len(evaluated) - 1 == 21
    assert login(client, user.username, factories.PASSWORD, STRANGER).status_code == 200
    assert login(client, "name-0", "wrong password", HOME).status_code == 401


def test_what_is_right_is_not_counted(
    client: FlaskClient, database: Database, turned: Clock
) -> None:
    user = factories.make_user(database)
    for _ in range(60):
        assert login(client, user.username, factories.PASSWORD).status_code == 200


def test_the_present_password_is_not_guessed_with_a_stolen_token(
    app: Flask, client: FlaskClient, database: Database
) -> None:
    user = factories.make_user(database)
    header = factories.sign_in(app, user)
    body = {"currentPassword": "wrong password", "newPassword": "another long one"}
    codes = [
        client.post("/api/auth/password", json=body, headers=header).status_code for _ in range(20)
    ]
    assert codes == [401] * 3 + [429] * 17


@pytest.mark.parametrize("database_url", [None], ids=["sqlite"])
@pytest.mark.parametrize("known_to", ["nobody", "himself"])
def test_of_10000_guesses_in_an_hour_at_most_30_are_evaluated(
    app: Flask,
    database: Database,
    turned: Clock,
    evaluated: list[str],
    known_to: str,
) -> None:
    """They come from everywhere, one each third of a second, half from where the user is known."""
    user = factories.make_user(database)
    attempts = app.extensions["yumen_throttle"]
    networks = [f"198.51.{number}.0/24" for number in range(100)]
    if known_to == "himself":
        with app.app_context():
            assert (
                login(app.test_client(), user.username, factories.PASSWORD, HOME).status_code == 200
            )
        networks += ["203.0.113.0/24"] * 100
    evaluated.clear()
    refused: list[int] = []
    for number in range(10_000):
        try:
            sign_in.check_password(
                database, attempts, user.username, "wrong", networks[number % len(networks)]
            )
        except sign_in.throttle.TooManyAttempts as error:
            refused.append(int(error.headers["Retry-After"]))
        except sign_in.Unauthorized:
            pass
        turned.turn(0.36)
    assert len(evaluated) + len(refused) == 10_000
    assert 10 <= len(evaluated) <= 30
