"""What the control plane and the gateway say to each other, and nothing else.

Everything here is data: document schemas, Redis key names, the journal's record layout and the
node status. `python -m control_plane.contract.export` writes the same facts for Lua to
`openresty/contract/`.
"""

from typing import Any

from control_plane.contract.documents import SECTIONS, camel_case
from control_plane.contract.node_status import NodeStatusSchema

CONTRACT_VERSION = 1

__all__ = ["CONTRACT_VERSION", "SECTIONS", "NodeStatusSchema", "camel_case", "check"]


def check(section: str, document: dict[str, Any]) -> dict[str, list[str]]:
    """Return what is wrong with *document* for *section*: field path to messages, empty if sound.

    Raises:
        KeyError: the section is not part of the contract.
    """
    return SECTIONS[section]().validate(document)
