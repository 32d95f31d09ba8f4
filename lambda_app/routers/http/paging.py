"""The query parameters and headers of paged lists."""

from typing import Annotated
from urllib.parse import urlencode

from fastapi import Query, Request, Response
from pydantic import AfterValidator

from lambda_app.schemas.page import CURSOR_MAX_LENGTH, AuditCursor, Cursor
from lambda_app.schemas.text import ONLY_DIGITS

PAGE_MAX_ROWS = 100
SKIP_MAX_ROWS = 10_000
"""PostgreSQL reads the rows that it skips: a million of them took 300 ms."""


def _refuse_deep_pages(value: int) -> int:
    if value > SKIP_MAX_ROWS:
        raise ValueError(f"must be at most {SKIP_MAX_ROWS}; to read further, send the X-Next-Cursor of a page as cursor")
    return value


SkipQuery = Annotated[
    int,
    Query(ge=0, json_schema_extra={"maximum": SKIP_MAX_ROWS}, description="Number of items to skip. For deep pages use `cursor`."),
    ONLY_DIGITS,
    AfterValidator(_refuse_deep_pages),
]
LimitQuery = Annotated[int, Query(ge=1, le=PAGE_MAX_ROWS, description="Maximum number of items on the page."), ONLY_DIGITS]
CursorQuery = Annotated[
    str | None, Query(min_length=1, max_length=CURSOR_MAX_LENGTH, description="The `X-Next-Cursor` of the previous page.")
]


def set_page_headers(request: Request, response: Response, *, limit: int, next_cursor: Cursor | AuditCursor | None) -> None:
    """Set `X-Next-Cursor`, and `Link` (RFC 8288) to the next page, if there is one.

    The link is relative, because the caller controls Host and X-Forwarded-*.
    """
    if next_cursor is None:
        return
    text = next_cursor.encode()
    # Only parameters of the route: other parameters would be echoed in a header, at any length.
    known = request.scope["route"].query_names - {"skip", "before", "limit", "cursor"}
    query = [(name, value) for name, value in request.query_params.multi_items() if name in known]
    response.headers["X-Next-Cursor"] = text
    response.headers["Link"] = f'<?{urlencode([*query, ("limit", str(limit)), ("cursor", text)])}>; rel="next"'
