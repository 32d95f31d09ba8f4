"""Rules of the operator's name for the service, which the settings and the deployment check."""

import unicodedata

BRAND_NAME_MAX_LENGTH = 40


def require_brand_name(value: str) -> str:
    """Return the name. Raises ValueError unless it is one short line that shows as it is written."""
    if not 0 < len(value) <= BRAND_NAME_MAX_LENGTH:
        raise ValueError(f"must have 1 to {BRAND_NAME_MAX_LENGTH} characters")
    # Direction marks could make the name, and text beside it, read as something else.
    if value != value.strip() or any(unicodedata.category(letter) in ("Cc", "Cf", "Zl", "Zp") for letter in value):
        raise ValueError("must be one line without white space at its ends and without invisible characters")
    return value
