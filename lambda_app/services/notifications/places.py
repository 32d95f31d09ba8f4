"""The network and the browser of a sign-in, as far as they tell two places apart."""

import re
from ipaddress import IPv6Address, ip_address, ip_network

NETWORK_BITS = {4: 24, 6: 48}
"""Bits of an address that name its network."""
BROWSER_LENGTH = 40

# The first match counts: most browsers also name those that they resemble.
_BROWSERS = (
    (re.compile(r"Edg(e|A|iOS)?/"), "Edge"),
    (re.compile(r"OPR/|Opera"), "Opera"),
    (re.compile(r"SamsungBrowser/"), "Samsung Internet"),
    (re.compile(r"Firefox/|FxiOS/"), "Firefox"),
    (re.compile(r"HeadlessChrome/|Chrome/|CriOS/"), "Chrome"),
    (re.compile(r"Safari/"), "Safari"),
)


def network_of(source_address: str | None) -> str:
    """Return the /24 or /48 of an address; "" without a valid one."""
    try:
        address = ip_address(source_address or "")
    except ValueError:
        return ""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return str(ip_network((address, NETWORK_BITS[address.version]), strict=False))


def browser_of(user_agent: str | None) -> str:
    """Return the family of a browser, or the first name in the User-Agent of another program; "" without one."""
    text = user_agent or ""
    known = next((name for pattern, name in _BROWSERS if pattern.search(text)), None)
    return known or re.split(r"[/\s(]", text, maxsplit=1)[0][:BROWSER_LENGTH]
