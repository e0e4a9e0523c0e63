"""Networks as they stand in JSON bodies."""

import ipaddress
import re
from typing import Any

from marshmallow import ValidationError, fields

AnyNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

_NETWORK = re.compile(r"[0-9A-Fa-f:.]{2,45}(/[0-9]{1,3})?")
_MAPPED_IPV4 = ipaddress.IPv6Network("::ffff:0:0/96")


class Network(fields.String):
    """An IP address or a network (CIDR); loaded as a network in its shortest form."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, *args, **kwargs)
        network = _parse(text)
        if network is None:
            message = "Must be an address or a network such as 203.0.113.7 or 2001:db8::/32."
            raise ValidationError(message)
        if "/" in text and ipaddress.ip_interface(text).ip != network.network_address:
            raise ValidationError(f"Has bits beyond its prefix: {network} would be right.")
        return str(_as_ipv4(network))


def _parse(text: str) -> AnyNetwork | None:
    if not _NETWORK.fullmatch(text):
        return None
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def _as_ipv4(network: AnyNetwork) -> AnyNetwork:
    """Return an IPv4 network that is written as an IPv6 one as what it is."""
    if isinstance(network, ipaddress.IPv4Network) or not network.subnet_of(_MAPPED_IPV4):
        return network
    address = int(network.network_address) & 0xFFFFFFFF
    return ipaddress.IPv4Network((address, network.prefixlen - 96))
