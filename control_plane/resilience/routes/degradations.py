"""HTTP of degradation rules."""

import uuid
from typing import Any

from flask.views import MethodView

from control_plane.core.api import Blueprint, session, settings
from control_plane.core.conditions import matched
from control_plane.core.merge_patch import merged, replaced
from control_plane.core.pagination import Page
from control_plane.resilience import permissions, reports
from control_plane.resilience.models import DegradationRule
from control_plane.resilience.schemas.degradations import (
    DegradationRuleCreateSchema,
    DegradationRuleQuerySchema,
    DegradationRuleSchema,
    DegradationRuleUpdateSchema,
)
from control_plane.resilience.service import degradations, rules

blueprint = Blueprint(
    "degradation-rules",
    __name__,
    url_prefix="/degradation-rules",
    description="What is done with the calls of a service that ails.",
)


@blueprint.route("")
class DegradationRules(MethodView):
    """All degradation rules."""

    @blueprint.require(permissions.READ)
    @blueprint.response(200, DegradationRuleSchema(many=True))
    @blueprint.paged(DegradationRuleQuerySchema)
    def get(self, **query: Any) -> Page[DegradationRule]:
        """List degradation rules; a tenant's user sees those of his tenant."""
        found = rules.list_rules(session(), DegradationRule, **query)
        return Page(reports.with_reports(settings(), found.items), found.total)

    @blueprint.require(permissions.WRITE)
    @blueprint.arguments(DegradationRuleCreateSchema)
    @blueprint.response(201, DegradationRuleSchema)
    def post(self, values: dict[str, Any]) -> DegradationRule:
        """Add a degradation rule."""
        return reports.with_report(settings(), degradations.create_degradation(session(), **values))


@blueprint.route("/<uuid:rule_id>")
class DegradationRuleById(MethodView):
    """One degradation rule."""

    @blueprint.require(permissions.READ)
    @blueprint.response(200, DegradationRuleSchema)
    def get(self, rule_id: uuid.UUID) -> DegradationRule:
        """Show a degradation rule."""
        rule = degradations.get_degradation(session(), rule_id)
        return reports.with_report(settings(), rule)

    @blueprint.require(permissions.WRITE)
    @blueprint.arguments(DegradationRuleUpdateSchema)
    @blueprint.response(200, DegradationRuleSchema)
    def put(self, values: dict[str, Any], rule_id: uuid.UUID) -> DegradationRule:
        """Replace a degradation rule."""
        rule = matched(degradations.get_degradation(session(), rule_id))
        values = replaced(DegradationRuleUpdateSchema, rule, values)
        rule = degradations.update_degradation(session(), rule, **values)
        return reports.with_report(settings(), rule)

    @blueprint.require(permissions.WRITE)
    @blueprint.merge_patch(DegradationRuleUpdateSchema)
    @blueprint.response(200, DegradationRuleSchema)
    def patch(self, patch: dict[str, Any], rule_id: uuid.UUID) -> DegradationRule:
        """Change some of a degradation rule, such as `enabled`."""
        rule = matched(degradations.get_degradation(session(), rule_id))
        values = merged(DegradationRuleUpdateSchema, rule, patch)
        rule = degradations.update_degradation(session(), rule, **values)
        return reports.with_report(settings(), rule)

    @blueprint.require(permissions.WRITE)
    @blueprint.response(204)
    def delete(self, rule_id: uuid.UUID) -> None:
        """Delete a degradation rule; what it does ends with it."""
        degradations.delete_degradation(
            session(), matched(degradations.get_degradation(session(), rule_id))
        )
