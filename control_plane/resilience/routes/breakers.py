"""HTTP of circuit breakers."""

import uuid
from typing import Any

from flask.views import MethodView

from control_plane.core.api import Blueprint, session, settings
from control_plane.core.conditions import matched
from control_plane.core.merge_patch import merged, replaced
from control_plane.core.pagination import Page
from control_plane.resilience import permissions, states
from control_plane.resilience.models import CircuitBreaker
from control_plane.resilience.schemas.breakers import (
    CircuitBreakerCreateSchema,
    CircuitBreakerQuerySchema,
    CircuitBreakerSchema,
    CircuitBreakerUpdateSchema,
)
from control_plane.resilience.service import breakers, rules

blueprint = Blueprint(
    "circuit-breakers",
    __name__,
    url_prefix="/circuit-breakers",
    description="When a service is no longer called, and when it is tried again.",
)


@blueprint.route("")
class CircuitBreakers(MethodView):
    """All circuit breakers."""

    @blueprint.require(permissions.READ)
    @blueprint.response(200, CircuitBreakerSchema(many=True))
    @blueprint.paged(CircuitBreakerQuerySchema)
    def get(self, **query: Any) -> Page[CircuitBreaker]:
        """List circuit breakers; a tenant's user sees those of his tenant."""
        found = rules.list_rules(session(), CircuitBreaker, **query)
        return Page(states.with_states(settings(), found.items), found.total)

    @blueprint.require(permissions.WRITE)
    @blueprint.arguments(CircuitBreakerCreateSchema)
    @blueprint.response(201, CircuitBreakerSchema)
    def post(self, values: dict[str, Any]) -> CircuitBreaker:
        """Add a circuit breaker."""
        return states.with_state(settings(), breakers.create_breaker(session(), **values))


@blueprint.route("/<uuid:breaker_id>")
class CircuitBreakerById(MethodView):
    """One circuit breaker."""

    @blueprint.require(permissions.READ)
    @blueprint.response(200, CircuitBreakerSchema)
    def get(self, breaker_id: uuid.UUID) -> CircuitBreaker:
        """Show a circuit breaker."""
        breaker = breakers.get_breaker(session(), breaker_id)
        return states.with_state(settings(), breaker)

    @blueprint.require(permissions.WRITE)
    @blueprint.arguments(CircuitBreakerUpdateSchema)
    @blueprint.response(200, CircuitBreakerSchema)
    def put(self, values: dict[str, Any], breaker_id: uuid.UUID) -> CircuitBreaker:
        """Replace a circuit breaker."""
        breaker = matched(breakers.get_breaker(session(), breaker_id))
        values = replaced(CircuitBreakerUpdateSchema, breaker, values)
        breaker = breakers.update_breaker(session(), breaker, **values)
        return states.with_state(settings(), breaker)

    @blueprint.require(permissions.WRITE)
    @blueprint.merge_patch(CircuitBreakerUpdateSchema)
    @blueprint.response(200, CircuitBreakerSchema)
    def patch(self, patch: dict[str, Any], breaker_id: uuid.UUID) -> CircuitBreaker:
        """Change some of a circuit breaker, such as its `mode`."""
        breaker = matched(breakers.get_breaker(session(), breaker_id))
        values = merged(CircuitBreakerUpdateSchema, breaker, patch)
        breaker = breakers.update_breaker(session(), breaker, **values)
        return states.with_state(settings(), breaker)

    @blueprint.require(permissions.WRITE)
    @blueprint.response(204)
    def delete(self, breaker_id: uuid.UUID) -> None:
        """Delete a circuit breaker; calls that it held back are made again."""
        breakers.delete_breaker(session(), matched(breakers.get_breaker(session(), breaker_id)))
