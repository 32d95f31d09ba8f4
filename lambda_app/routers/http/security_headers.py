"""What every answer tells a browser, whatever it is: an API's answers are data, for nobody's cache, frame or referrer."""

from starlette.datastructures import MutableHeaders
from starlette.types import Message

DEFAULTS = (
    # Nothing may be shown or run from here; a page of ours brings a policy of its own.
    ("content-security-policy", "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    ("x-content-type-options", "nosniff"),
    ("strict-transport-security", "max-age=63072000; includeSubDomains"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cache-control", "no-store"),
)
"""Two years is what the preload lists ask for."""

_RAW = tuple((name.encode(), value.encode()) for name, value in DEFAULTS)


def set_defaults(message: Message) -> MutableHeaders:
    """Add what the answer does not say itself to the message that starts it; return its headers."""
    headers = MutableHeaders(raw=message["headers"])
    given = {name for name, _ in message["headers"]}
    message["headers"].extend(pair for pair in _RAW if pair[0] not in given)
    return headers
