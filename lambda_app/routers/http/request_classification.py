"""Telling who opens a link without meaning to: robots that make previews, and browsers that fetch ahead."""

import re
from collections.abc import Mapping

# A word that ends in "bot" is one, but for the telephones named Cubot. Signal and iMessage call themselves as the others do.
_ROBOT = re.compile(
    r"(?<!cu)bot\b|crawl|spider|slurp|preview|facebookexternalhit|facebookcatalog|meta-externalagent|whatsapp|viber|skypeuri|embedly"
    r"|iframely|pinterest/0|vkshare|outbrain|mediapartners|google-read-aloud|google-pagerenderer|google-safety|feedfetcher",
    re.IGNORECASE,
)
_FETCHING_AHEAD = {"sec-purpose": "prefetch", "purpose": "pre", "x-purpose": "pre", "x-moz": "prefetch"}
"""Headers, and what their values then contain: the last three are older spellings of the first."""


def is_robot(user_agent: str) -> bool:
    """Whether a program that makes previews or an index says that it is one."""
    return _ROBOT.search(user_agent) is not None


def is_prefetch(headers: Mapping[str, str]) -> bool:
    """Whether a browser fetches what nobody has asked for yet."""
    return any(mark in headers.get(name, "").lower() for name, mark in _FETCHING_AHEAD.items())


def is_range_resume(range_header: str | None) -> bool:
    """Whether a Range asks for a later part only (RFC 9110, section 14.2), as one who goes on with a download does."""
    match = re.fullmatch(r"bytes=\s*(\d*)-(\d*)\s*", range_header or "")
    # "-500" is the end of the file, and "0-" is all of it; of several parts one may be the beginning.
    return match is not None and match[1].lstrip("0") != ""


def prefers_html(accept: str) -> bool:
    """Whether an Accept header asks for HTML by name and for nothing more than that; `*/*` is what programs send."""
    weights = {"text/html": 0.0, "application/json": 0.0}
    for choice in accept.split(","):
        name, *parameters = (part.strip().lower() for part in choice.split(";"))
        if name in weights:
            weight = next((parameter[2:] for parameter in parameters if parameter.startswith("q=")), "1")
            weights[name] = float(weight) if re.fullmatch(r"[01](\.\d{0,3})?", weight) else 0.0
    return weights["text/html"] > 0 and weights["text/html"] >= weights["application/json"]
