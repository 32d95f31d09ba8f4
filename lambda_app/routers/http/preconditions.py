"""The `If-Match` header (RFC 9110, section 13.1.1) of requests that change a resource with a revision."""

import re
from typing import Annotated

from fastapi import Depends, Header, Request

IfMatchHeader = Annotated[
    str | None,
    Header(
        alias="If-Match",
        description="The `ETag` of the version to change, several in a list, or `*` for any. If the resource has another version: 412.",
    ),
]

_ENTITY_TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_LIST = re.compile(rf"[ \t,]*{_ENTITY_TAG}(?:[ \t]*,[ \t,]*{_ENTITY_TAG})*[ \t,]*")
# Weak tags never match: If-Match compares strongly.
_REVISION_TAG = re.compile(r'(?<!W/)"([1-9][0-9]{0,8})"')


def revisions_of(if_match: str) -> frozenset[int] | None:
    """Return the revisions that the header names, or None for `*`. Tags that this API cannot have issued match no revision."""
    if if_match.strip() == "*":
        return None
    if not _LIST.fullmatch(if_match):
        return frozenset()
    return frozenset(int(tag[1]) for tag in map(_REVISION_TAG.fullmatch, re.findall(_ENTITY_TAG, if_match)) if tag)


async def _if_match(request: Request, if_match: IfMatchHeader = None) -> frozenset[int] | None:
    # A list can be spread over several header lines.
    return None if if_match is None else revisions_of(",".join(request.headers.getlist("If-Match")))


IfMatchDep = Annotated[frozenset[int] | None, Depends(_if_match)]
"""The revisions of which the resource must have one; None: any."""
