"""Media types (RFC 9110, section 8.3.1) as clients declare them."""

import re

FALLBACK_MEDIA_TYPE = "application/octet-stream"
"""The type of a file whose client knows none."""

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_ESSENCE = re.compile(rf"({_WORD})/({_WORD})")
_PARAMETER = re.compile(rf'{_WORD}=(?:{_WORD}|"[ !#-\[\]-~]*")')
# Semicolons outside quoted values separate the parameters.
_SEPARATOR = re.compile(r';(?=(?:[^"]*"[^"]*")*[^"]*$)')


def normalize_media_type(value: str) -> str:
    """Return the media type without optional white space and without empty parameters, as it is signed and stored.

    An empty text becomes application/octet-stream, as browsers mean it. Raises ValueError for anything that is not one media type.
    """
    if not value.strip():
        return FALLBACK_MEDIA_TYPE
    essence, *parameters = (part.strip(" \t") for part in _SEPARATOR.split(value))
    found = _ESSENCE.fullmatch(essence)
    if found is None:
        raise ValueError("must be a media type such as image/png")
    if "*" in found.groups():
        raise ValueError("must be one media type such as image/png, not a range of types")
    parameters = [parameter for parameter in parameters if parameter]
    if not all(_PARAMETER.fullmatch(parameter) for parameter in parameters):
        raise ValueError("must have parameters of the form name=value, as in text/plain; charset=utf-8")
    return "; ".join((essence, *parameters))


def normalize_media_range(value: str) -> str:
    """Return a media type without parameters, or all types of a family (`image/*`), in lower case; `image/` means `image/*`.

    Raises ValueError for anything else.
    """
    text = f"{value}*" if value.endswith("/") else value
    found = _ESSENCE.fullmatch(text)
    if found is None or "*" in found[1] or ("*" in found[2] and found[2] != "*"):
        raise ValueError("must be a media type such as application/pdf, or a family such as image/*")
    return text.lower()
