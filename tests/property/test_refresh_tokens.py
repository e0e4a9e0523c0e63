"""Refresh tokens under any order of uses: each has one successor, and a replay ends the sign-in."""

import dataclasses
import datetime
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine

from control_plane.core import clock
from control_plane.core.database import Database
from control_plane.identity.service import sessions
from tests import factories

PARALLEL = 20


@dataclasses.dataclass
class Family:
    """What is known of a sign-in's tokens, the oldest first."""

    tokens: list[str]
    used_at: list[datetime.datetime] = dataclasses.field(default_factory=list)
    """When each token but the newest was used first."""
    access: str = ""
    ended: bool = False


class RefreshTokens(RuleBasedStateMachine):
    """One user's sign-ins, renewed in turn, in parallel, late, again, and by a thief."""

    app: Flask
    database: Database
    monkeypatch: pytest.MonkeyPatch

    def __init__(self) -> None:
        super().__init__()
        self.now = clock.now()
        self.monkeypatch.setattr(clock, "now", lambda: self.now)
        self.user = factories.make_user(self.database)
        self.families: list[Family] = []

    def refresh(self, token: str) -> tuple[int, Any]:
        answer = self.app.test_client().post(
            "/api/auth/refresh-token", json={"refreshToken": token}
        )
        return answer.status_code, answer.json

    def family(self, number: int) -> Family:
        return self.families[number % len(self.families)]

    @rule()
    def sign_in(self) -> None:
        body = {"username": self.user.username, "password": factories.PASSWORD}
        answer = self.app.test_client().post("/api/auth/login", json=body)
        assert answer.status_code == 200
        found = answer.json
        self.families.append(Family([found["refreshToken"]], access=found["accessToken"]))

    @rule(seconds=st.integers(1, 15))
    def wait(self, seconds: int) -> None:
        self.now += datetime.timedelta(seconds=seconds)

    @precondition(lambda self: self.families)
    @rule(number=st.integers(0, 9), parallel=st.sampled_from([1, 2, PARALLEL]))
    def use_the_newest(self, number: int, parallel: int) -> None:
        family = self.family(number)
        with ThreadPoolExecutor(parallel) as pool:
            answers = list(pool.map(self.refresh, [family.tokens[-1]] * parallel))
        if family.ended:
            assert {status for status, _ in answers} == {401}
            return
        assert {status for status, _ in answers} == {200}
        (successor,) = {body["refreshToken"] for _, body in answers}
        assert successor not in family.tokens
        family.used_at.append(self.now)
        family.tokens.append(successor)

    @precondition(lambda self: any(len(family.tokens) > 1 for family in self.families))
    @rule(number=st.integers(0, 9), generation=st.integers(0, 9))
    def use_an_old_one_again(self, number: int, generation: int) -> None:
        family = self.family(number)
        if not family.used_at:
            return
        index = generation % len(family.used_at)
        status, body = self.refresh(family.tokens[index])
        is_predecessor = index == len(family.tokens) - 2
        in_grace = self.now - family.used_at[index] < sessions.GRACE
        if family.ended:
            assert (status, body["code"]) == (401, "invalid_refresh_token")
        elif is_predecessor and in_grace:
            assert (status, body["refreshToken"]) == (200, family.tokens[-1])
        else:
            assert (status, body["code"]) == (401, "refresh_token_reused")
            family.ended = True

    @precondition(lambda self: self.families)
    @rule(number=st.integers(0, 9))
    def sign_out(self, number: int) -> None:
        family = self.family(number)
        header = {"Authorization": f"Bearer {family.access}"}
        answer = self.app.test_client().post("/api/auth/logout", headers=header)
        assert answer.status_code == (401 if family.ended else 204)
        family.ended = True

    @rule(token=st.text(min_size=1, max_size=50))
    def guess(self, token: str) -> None:
        assert self.refresh(token)[0] in {401, 422}

    @invariant()
    def a_sign_in_is_good_until_it_ended(self) -> None:
        for family in self.families:
            header = {"Authorization": f"Bearer {family.access}"}
            answer = self.app.test_client().get("/api/auth/me", headers=header)
            assert answer.status_code == (401 if family.ended else 200)


def test_each_token_has_one_successor_and_a_replay_ends_the_sign_in(
    app: Flask, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"app": app, "database": database, "monkeypatch": monkeypatch}
    machine = type("Machine", (RefreshTokens,), given)
    run_machine(
        machine,
        settings=settings(
            max_examples=25,
            stateful_step_count=15,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
