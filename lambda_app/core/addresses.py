"""Network addresses."""

import ipaddress
from ipaddress import IPv4Address, IPv6Address


def parse_address(text: str | None) -> IPv4Address | IPv6Address | None:
    """Return the address of the text, an IPv4 one for an IPv4-mapped IPv6 address (RFC 4291); None if there is no valid address."""
    try:
        address = ipaddress.ip_address(text or "")
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address
