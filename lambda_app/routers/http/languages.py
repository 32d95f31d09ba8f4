"""The language that a browser prefers, of those in which pages exist."""

import re

LANGUAGES = ("en", "de")
HEADER_MAX_LENGTH = 500
"""What follows in the header is not read."""

_RANGE = re.compile(r"\s*([A-Za-z]{1,8})(?:-[A-Za-z0-9-]{1,32})?\s*(?:;\s*q\s*=\s*([01](?:\.[0-9]{0,3})?)\s*)?")


def preferred_language(header: str | None) -> str | None:
    """Return the language of `Accept-Language` (RFC 9110, section 12.5.4) with the highest weight; None if it names none of them."""
    best, highest = None, 0.0
    for part in (header or "")[:HEADER_MAX_LENGTH].split(","):
        found = _RANGE.fullmatch(part)
        if found is None or found[1].lower() not in LANGUAGES:
            continue
        weight = 1.0 if found[2] is None else float(found[2])
        # Of equal weights the first: browsers name the preferred language first.
        if weight > highest:
            best, highest = found[1].lower(), weight
    return best
