"""Detects when the first bytes of an object contradict its declared content type."""

SNIFFED_BYTES = 4096
"""Bytes that are read from the start of an object. All signatures that we rely on lie within them."""

CONFIDENCE_MIN = 0.3
"""puremagic's confidence is 0.1 per byte of the signature. Many texts start with the bytes of a two-byte signature."""

_GENERIC_TYPES = frozenset({"application/octet-stream", "binary/octet-stream"})
_SYNONYMS = {"heic": "heif", "heic-sequence": "heif", "heif-sequence": "heif"}
"""HEIC is HEIF with one codec. The same bytes match signatures of both."""
_CONTAINERS = frozenset({"audio", "video"})
"""Families whose formats share their first bytes."""


def can_be_contradicted(content_type: str) -> bool:
    """Whether bytes can contradict the declared `content_type`: not if it stands for any bytes."""
    return _essence(content_type) not in _GENERIC_TYPES


def contradicting_type(content_type: str, start: bytes) -> str | None:
    """Return the type detected in `start` when it contradicts the declared `content_type`; None when it matches or none is detected.

    A signature can belong to several formats (every office document is a ZIP); one match is enough.
    """
    if not start or not can_be_contradicted(content_type):
        return None
    declared = _essence(content_type)
    found = _detect_types(start)
    if not found or any(_is_same(declared, candidate) for candidate in found):
        return None
    return found[0]


def _detect_types(start: bytes) -> list[str]:
    # The import takes 30 ms and is needed only when an upload is completed.
    from puremagic import PureError, magic_string

    try:
        matches = magic_string(start)
    except (PureError, ValueError):
        return []
    return [_essence(match.mime_type) for match in matches if match.confidence >= CONFIDENCE_MIN and match.mime_type]


def _is_same(declared: str, found: str) -> bool:
    family, _, subtype = declared.partition("/")
    found_family, _, found_subtype = found.partition("/")
    if family == found_family and family in _CONTAINERS:
        return True
    return _plain(subtype) == _plain(found_subtype)


def _plain(subtype: str) -> str:
    plain = subtype.removeprefix("x-").removeprefix("vnd.").partition("+")[0]
    return _SYNONYMS.get(plain, plain)


def _essence(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()[:100]
