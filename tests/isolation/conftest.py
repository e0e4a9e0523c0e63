"""What the tests of isolation share: the world, and where its tenants keep their business data."""

import pytest
from flask import Flask

from control_plane.tenants.models import Isolation
from tests.isolation.world import World


@pytest.fixture
def isolations() -> tuple[Isolation, Isolation]:
    """Mine and theirs: both in the shared tables, unless `in_each_place` says otherwise."""
    return Isolation.ROW, Isolation.ROW


@pytest.fixture
def world(app: Flask, operator: dict[str, str], isolations: tuple[Isolation, Isolation]) -> World:
    return World(app, operator, isolations)
