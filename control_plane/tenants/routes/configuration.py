"""HTTP of a tenant's configuration."""

import uuid
from collections.abc import Mapping
from typing import Any

from flask.views import MethodView

from control_plane.core.api import Blueprint, session
from control_plane.core.auth import current_actor
from control_plane.core.conditions import matched
from control_plane.core.errors import Forbidden
from control_plane.core.merge_patch import merged
from control_plane.tenants import permissions
from control_plane.tenants.models import TenantConfiguration
from control_plane.tenants.schemas import ConfigurationSchema, ConfigurationUpdateSchema
from control_plane.tenants.service import configurations

blueprint = Blueprint("tenants_configuration", __name__, url_prefix="/tenants/<uuid:tenant_id>")


@blueprint.route("/configuration")
class Configuration(MethodView):
    """What a tenant may use, and how its applications look and behave."""

    @blueprint.require(permissions.READ)
    @blueprint.response(200, ConfigurationSchema)
    def get(self, tenant_id: uuid.UUID) -> TenantConfiguration:
        """Show a tenant's configuration."""
        return configurations.get_configuration(session(), tenant_id)

    @blueprint.require(permissions.THEME)
    @blueprint.arguments(ConfigurationUpdateSchema)
    @blueprint.response(200, ConfigurationSchema)
    def put(self, values: dict[str, Any], tenant_id: uuid.UUID) -> TenantConfiguration:
        """Replace a tenant's configuration; to change more than `uiTheme` needs `tenants:write`."""
        configuration = matched(configurations.get_configuration(session(), tenant_id))
        return _update(configuration, values)

    @blueprint.require(permissions.THEME)
    @blueprint.merge_patch(ConfigurationUpdateSchema)
    @blueprint.response(200, ConfigurationSchema)
    def patch(self, patch: dict[str, Any], tenant_id: uuid.UUID) -> TenantConfiguration:
        """Change a tenant's configuration; to change more than `uiTheme` needs `tenants:write`."""
        configuration = matched(configurations.get_configuration(session(), tenant_id))
        return _update(configuration, merged(ConfigurationUpdateSchema, configuration, patch))


def _update(configuration: TenantConfiguration, values: Mapping[str, Any]) -> TenantConfiguration:
    """Change a configuration as far as the actor may.

    Raises:
        Forbidden: a field would change that is the platform's.
    """
    if not current_actor().may(permissions.WRITE):
        for name, field in ConfigurationUpdateSchema().fields.items():
            if name != "ui_theme" and values.get(name, getattr(configuration, name)) != getattr(
                configuration, name
            ):
                needed = permissions.WRITE.name
                raise Forbidden(f"To change {field.data_key} needs the permission {needed}.")
    return configurations.update_configuration(session(), configuration, values)
