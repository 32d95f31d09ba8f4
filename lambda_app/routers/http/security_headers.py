"""Default security headers of all responses: responses are data that browsers must not render, cache, frame or refer from."""

from starlette.types import Message

DEFAULTS = (
    # Browsers load and run nothing. The HTML pages set a policy of their own.
    ("content-security-policy", "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    ("x-content-type-options", "nosniff"),
    ("strict-transport-security", "max-age=63072000; includeSubDomains"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cache-control", "no-store"),
)
"""Headers that are added where the response does not set them. An HSTS max-age of two years is what the preload lists recommend."""

_RAW = tuple((name.encode(), value.encode()) for name, value in DEFAULTS)


def set_defaults(message: Message) -> None:
    """Add the missing default headers to a message of type `http.response.start`."""
    present = {name for name, _ in message["headers"]}
    message["headers"].extend(pair for pair in _RAW if pair[0] not in present)
