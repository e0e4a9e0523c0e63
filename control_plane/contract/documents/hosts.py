"""Section `hosts`."""

from control_plane.contract.documents.document import Document, uuid


class HostDocument(Document):
    """hosts/<host name>: whose requests arrive at this name.

    `*.example.com` is all names of one more label that have no document of their own.
    """

    tenant = uuid("The tenant that owns the verified domain.")
