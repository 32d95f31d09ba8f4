"""Which network addresses a request to a user's URL may reach: public ones only, so that it cannot reach our own network (SSRF)."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

# The IANA registries of special-purpose addresses (RFC 6890), all entries that are not globally reachable, and those that relay to
# another address.
_REFUSED_V4 = [
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local, with the metadata services of clouds
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, with the broadcast address
    )
]
_GLOBAL_V6 = IPv6Network("2000::/3")
"""All others are refused: loopback, mapped IPv4, NAT64 (64:ff9b::/96, 64:ff9b:1::/48), unique local, link-local, multicast."""
_REFUSED_V6 = [
    IPv6Network(network)
    for network in (
        "2001::/23",  # IETF protocols, with Teredo and ORCHID
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "2620:4f:8000::/48",
        "3fff::/20",  # documentation
    )
]


def is_permitted(text: str, *, allow_loopback: bool) -> bool:
    """Whether a request may connect to the address: a public one, or with `allow_loopback` the own host."""
    try:
        address = ip_address(text)
    except ValueError:
        return False
    if allow_loopback and address.is_loopback and _is_plain_loopback(address):
        return True
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _REFUSED_V4)
    return address.scope_id is None and address in _GLOBAL_V6 and not any(address in network for network in _REFUSED_V6)


def _is_plain_loopback(address: IPv4Address | IPv6Address) -> bool:
    # Newer versions of Python also count mapped addresses (::ffff:127.0.0.1).
    return isinstance(address, IPv4Address) or address == IPv6Address("::1")
