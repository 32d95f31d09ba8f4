"""Rules of the operator's name and logo, which the settings and the deployment check."""

import unicodedata
from pathlib import Path

BRAND_NAME_MAX_LENGTH = 40
LOGO_MAX_BYTES = 64 * 1024
"""Largest logo: it is kept in memory and loaded with the first page."""
LOGO_STARTS = {".svg": b"<svg", ".png": b"\x89PNG\r\n\x1a\n"}
"""What the content of a logo contains, by the ending of its name."""


def require_brand_name(value: str) -> str:
    """Return the name. Raises ValueError unless it is one short line that shows as it is written."""
    if not 0 < len(value) <= BRAND_NAME_MAX_LENGTH:
        raise ValueError(f"must have 1 to {BRAND_NAME_MAX_LENGTH} characters")
    # Direction marks could make the name, and text beside it, read as something else.
    if value != value.strip() or any(unicodedata.category(letter) in ("Cc", "Cf", "Zl", "Zp") for letter in value):
        raise ValueError("must be one line without white space at its ends and without invisible characters")
    return value


def require_logo(path: Path) -> Path:
    """Return the path of the logo's file. Raises ValueError unless it is a small SVG or PNG file."""
    start = LOGO_STARTS.get(path.suffix.lower())
    if start is None:
        raise ValueError("must be a file whose name ends in .svg or .png")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error
    if len(content) > LOGO_MAX_BYTES:
        raise ValueError(f"has {len(content):,} bytes; a logo has at most {LOGO_MAX_BYTES:,}")
    if start not in content:
        raise ValueError(f"is not a valid {path.suffix[1:].upper()} file")
    return path
