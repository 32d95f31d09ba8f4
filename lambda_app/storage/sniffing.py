"""What the first bytes of an object look like, against what was said of it."""

SNIFFED_BYTES = 4096
"""How much of an object is looked at: the signatures that we trust all lie in the first kilobytes."""

CONFIDENCE_MIN = 0.3
"""puremagic gives a tenth for each byte of a signature; of two letters too many texts begin with some."""

_SAYS_NOTHING = frozenset({"application/octet-stream", "binary/octet-stream"})
_CONTAINERS = frozenset({"audio", "video"})
"""Families whose formats share their first bytes."""


def contradicting_type(content_type: str, start: bytes) -> str | None:
    """Return the type that `start` has a signature of, if that cannot be the declared `content_type`; None if it can, or has none.

    A signature may belong to several formats (every office document is a ZIP): one that fits is enough.
    """
    declared = _essence(content_type)
    if not start or declared in _SAYS_NOTHING:
        return None
    found = _signatures(start)
    if not found or any(_is_same(declared, candidate) for candidate in found):
        return None
    return found[0]


def _signatures(start: bytes) -> list[str]:
    # 30 ms to import, which only the end of an upload pays.
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
    return subtype.removeprefix("x-").removeprefix("vnd.").partition("+")[0]


def _essence(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()[:100]
