"""Names for people: browser and system of a User-Agent, and the network of an address."""

import ipaddress
import re
from typing import Final, NamedTuple

from lambda_app.core.addresses import parse_address

IPV4_PREFIX_BITS = 24
IPV6_PREFIX_BITS = 48
"""What a provider assigns to one site at most (RFC 6177)."""

# The first match counts: most browsers also name those that they resemble. `web/src/core/browser-name.ts` has the same lists.
_BROWSERS: Final = (
    ("Edge", re.compile("Edg(?:e|A|iOS)?/")),
    ("Opera", re.compile("OPR/|Opera")),
    ("Samsung Internet", re.compile("SamsungBrowser/")),
    ("Firefox", re.compile("Firefox/|FxiOS/")),
    ("Chrome", re.compile("HeadlessChrome/|Chrome/|CriOS/")),
    ("Safari", re.compile("Safari/")),
    ("curl", re.compile("curl/")),
    ("we-upload", re.compile("we-upload", re.IGNORECASE)),
    ("Python", re.compile("python|httpx|urllib", re.IGNORECASE)),
)
_SYSTEMS: Final = (
    ("iPhone", re.compile("iPhone")),
    ("iPad", re.compile("iPad")),
    ("Android", re.compile("Android")),
    ("Windows", re.compile("Windows")),
    ("ChromeOS", re.compile("CrOS")),
    ("macOS", re.compile("Mac OS X|Macintosh")),
    ("Linux", re.compile("Linux")),
)


class Device(NamedTuple):
    """The browser and the system of a User-Agent; None for what is not known. The client chooses the text, so it proves nothing."""

    browser: str | None
    system: str | None


def device_of(user_agent: str | None) -> Device:
    """Return the browser and the system that a User-Agent names."""
    text = user_agent or ""
    browser = next((name for name, pattern in _BROWSERS if pattern.search(text)), None)
    system = next((name for name, pattern in _SYSTEMS if pattern.search(text)), None)
    return Device(browser, system)


def network_of(address: str | None) -> str | None:
    """Return the network of an address as a prefix, such as `203.0.113.0/24`; None if there is no valid address.

    It shows from where a request came without naming the connection.
    """
    parsed = parse_address(address)
    if parsed is None:
        return None
    # From the packed bytes, which have no zone, as a link-local address may.
    bits = IPV6_PREFIX_BITS if isinstance(parsed, ipaddress.IPv6Address) else IPV4_PREFIX_BITS
    return str(ipaddress.ip_network((parsed.packed, bits), strict=False))
