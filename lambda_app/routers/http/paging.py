"""The query parameters and headers of paged lists."""

from collections.abc import Iterator
from typing import Annotated
from urllib.parse import urlencode

from fastapi import Query, Request, Response
from fastapi.dependencies.models import Dependant

from lambda_app.schemas.page import CURSOR_MAX_LENGTH, Cursor
from lambda_app.schemas.text import ONLY_DIGITS

PAGE_MAX_ROWS = 100
SKIP_MAX_ROWS = 2**31 - 1

SkipQuery = Annotated[int, Query(ge=0, le=SKIP_MAX_ROWS, description="Rows to leave out; use `cursor` for deep pages."), ONLY_DIGITS]
LimitQuery = Annotated[int, Query(ge=1, le=PAGE_MAX_ROWS, description="Rows of a page."), ONLY_DIGITS]
CursorQuery = Annotated[
    str | None, Query(min_length=1, max_length=CURSOR_MAX_LENGTH, description="The `X-Next-Cursor` of the page before.")
]


def set_page_headers(request: Request, response: Response, *, limit: int, next_cursor: Cursor | None) -> None:
    """Say where the next page is, in `X-Next-Cursor` and in a `Link` (RFC 8288) relative to this address.

    Relative, because Host and X-Forwarded-* are the caller's words and must not end up in a link.
    """
    if next_cursor is None:
        return
    text = next_cursor.encode()
    # Only what the route knows: whatever else the caller sent would come back in a header, at any length.
    known = set(_query_names(request.scope["route"].dependant)) - {"skip", "limit", "cursor"}
    query = [(name, value) for name, value in request.query_params.multi_items() if name in known]
    response.headers["X-Next-Cursor"] = text
    response.headers["Link"] = f'<?{urlencode([*query, ("limit", str(limit)), ("cursor", text)])}>; rel="next"'


def _query_names(dependant: Dependant) -> Iterator[str]:
    """Yield the query parameters of a route and of all that it depends on: filter and order of a list are a dependency of their own."""
    yield from (parameter.alias for parameter in dependant.query_params)
    for dependency in dependant.dependencies:
        yield from _query_names(dependency)
