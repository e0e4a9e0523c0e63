"""The documents that the control plane publishes and the gateway obeys, one schema a section."""

from control_plane.contract.documents.breakers import BreakersDocument
from control_plane.contract.documents.credentials import CredentialDocument
from control_plane.contract.documents.degradations import (
    DEGRADATION_ACTIONS,
    FEATURES,
    MOST_FACTOR,
    DegradationsDocument,
)
from control_plane.contract.documents.document import Document, camel_case
from control_plane.contract.documents.hosts import HostDocument
from control_plane.contract.documents.issuers import ALGORITHMS, IssuersDocument
from control_plane.contract.documents.limits import (
    METERS,
    ON_OUTAGE,
    SCOPES,
    WINDOWS,
    LimitsDocument,
)
from control_plane.contract.documents.models import ModelDocument
from control_plane.contract.documents.routes import AUTHENTICATION, PATH_KINDS, RoutesDocument
from control_plane.contract.documents.tenants import ProfileDocument, TenantDocument
from control_plane.contract.documents.upstreams import (
    BALANCING,
    HASH_SOURCES,
    PASS_HOST,
    RETRY_STATUSES,
    UpstreamDocument,
)

__all__ = [
    "ALGORITHMS",
    "AUTHENTICATION",
    "BALANCING",
    "DEGRADATION_ACTIONS",
    "FEATURES",
    "HASH_SOURCES",
    "METERS",
    "MOST_FACTOR",
    "ON_OUTAGE",
    "PASS_HOST",
    "PATH_KINDS",
    "RETRY_STATUSES",
    "SCOPES",
    "SECTIONS",
    "WINDOWS",
    "CredentialDocument",
    "DegradationsDocument",
    "Document",
    "HostDocument",
    "IssuersDocument",
    "LimitsDocument",
    "ModelDocument",
    "ProfileDocument",
    "RoutesDocument",
    "TenantDocument",
    "UpstreamDocument",
    "camel_case",
]

SECTIONS: dict[str, type[Document]] = {
    "hosts": HostDocument,
    "tenants": TenantDocument,
    "profiles": ProfileDocument,
    "credentials": CredentialDocument,
    "issuers": IssuersDocument,
    "limits": LimitsDocument,
    "models": ModelDocument,
    "breakers": BreakersDocument,
    "degradations": DegradationsDocument,
    "routes": RoutesDocument,
    "upstreams": UpstreamDocument,
}
"""Section name to the schema of its documents."""
