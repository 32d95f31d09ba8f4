"""Classifies requests by their headers: robots, prefetches, resumed downloads, and clients that prefer HTML."""

import re
from collections.abc import Mapping

# Any word that ends in "bot" matches, except Cubot, a phone brand. The previews of Signal and iMessage use names of other robots.
_ROBOT = re.compile(
    r"(?<!cu)bot\b|crawl|spider|slurp|preview|facebookexternalhit|facebookcatalog|meta-externalagent|whatsapp|viber|skypeuri|embedly"
    r"|iframely|pinterest/0|vkshare|outbrain|mediapartners|google-read-aloud|google-pagerenderer|google-safety|feedfetcher",
    re.IGNORECASE,
)
_PREFETCH_HEADERS = {"sec-purpose": "prefetch", "purpose": "pre", "x-purpose": "pre", "x-moz": "prefetch"}
"""Headers of prefetch requests, and a part of their values. The last three are older forms of the first."""


def is_robot(user_agent: str) -> bool:
    """Whether the User-Agent names a robot that builds previews or a search index."""
    return _ROBOT.search(user_agent) is not None


def is_prefetch(headers: Mapping[str, str]) -> bool:
    """Whether a browser sent the request ahead of a possible navigation."""
    return any(value in headers.get(name, "").lower() for name, value in _PREFETCH_HEADERS.items())


def is_range_resume(range_header: str | None) -> bool:
    """Whether a Range header (RFC 9110, section 14.2) requests only a part after the start, as a resumed download does."""
    match = re.fullmatch(r"bytes=\s*(\d*)-(\d*)\s*", range_header or "")
    # "-500" may be the whole file, "0-" is the whole file, and one of several ranges may start at 0.
    return match is not None and match[1].lstrip("0") != ""


def prefers_html(accept: str) -> bool:
    """Whether an Accept header names HTML and prefers it to JSON. `*/*` does not count: programs send it by default."""
    weights = _weights(accept)
    return weights["text/html"] > 0 and weights["text/html"] >= weights["application/json"]


def prefers_json(accept: str) -> bool:
    """Whether an Accept header names JSON and prefers it to HTML and to `*/*`. Some programs add JSON to every request by default."""
    weights = _weights(accept)
    return weights["application/json"] > max(weights["text/html"], weights["*/*"])


def _weights(accept: str) -> dict[str, float]:
    weights = {"text/html": 0.0, "application/json": 0.0, "*/*": 0.0}
    for choice in accept.split(","):
        name, *parameters = (part.strip().lower() for part in choice.split(";"))
        if name in weights:
            weight = next((parameter[2:] for parameter in parameters if parameter.startswith("q=")), "1")
            weights[name] = float(weight) if re.fullmatch(r"[01](\.\d{0,3})?", weight) else 0.0
    return weights
