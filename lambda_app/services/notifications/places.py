"""The network and the browser of a sign-in, as far as they tell two places apart."""

import re

from lambda_app.core import devices

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
    """Return the network of an address as `devices.network_of` does; "" without a valid one."""
    return devices.network_of(source_address) or ""


def browser_of(user_agent: str | None) -> str:
    """Return the family of a browser, or the first name in the User-Agent of another program; "" without one."""
    text = user_agent or ""
    known = next((name for pattern, name in _BROWSERS if pattern.search(text)), None)
    return known or re.split(r"[/\s(]", text, maxsplit=1)[0][:BROWSER_LENGTH]
