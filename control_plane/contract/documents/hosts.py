"""Section `hosts`."""

from control_plane.contract.documents.document import Document, uuid


class HostDocument(Document):
    """hosts/<host name>: whose requests arrive at this name."""

    tenant = uuid("The tenant that owns the verified domain.")
