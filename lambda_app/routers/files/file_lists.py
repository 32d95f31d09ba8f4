"""The query parameters of a list of files."""

from dataclasses import dataclass
from typing import Annotated, Literal
from uuid import UUID

from fastapi import Depends, Query
from pydantic import StringConstraints

from lambda_app.core.errors import MalformedRequestError
from lambda_app.models import FileStatus
from lambda_app.routers.http.paging import CursorQuery, LimitQuery, SkipQuery
from lambda_app.schemas.files.file_lists import FileFilter, FileOrder, Order, Shared
from lambda_app.schemas.files.files import CONTENT_TYPE_MAX_LENGTH, FILENAME_MAX_LENGTH
from lambda_app.schemas.page import Cursor
from lambda_app.schemas.text import ONE_LINE, ONLY_DIGITS, Instant

SIZE_MAX = 2**63 - 1

NameQuery = Annotated[
    str | None,
    StringConstraints(min_length=1, max_length=FILENAME_MAX_LENGTH),
    ONE_LINE,
    Query(description="A piece of the name, from anywhere in it, in upper or lower case."),
]
TypeQuery = Annotated[
    str | None,
    StringConstraints(min_length=1, max_length=CONTENT_TYPE_MAX_LENGTH, pattern="^[ -~]+$"),
    Query(description="What the content type begins with, as `image/`."),
]
SizeQuery = Annotated[int | None, Query(ge=0, le=SIZE_MAX), ONLY_DIGITS]
# All but DELETING: such files are not listed.
ListedStatus = Literal[FileStatus.PENDING, FileStatus.AVAILABLE, FileStatus.REJECTED, FileStatus.EXPIRED, FileStatus.TRASHED]
StatusQuery = Annotated[ListedStatus | None, Query(description="Only this status. Without it, all but the trash.")]
SinceQuery = Annotated[Instant | None, Query(description="Not created before this time, with its time zone.")]
UntilQuery = Annotated[Instant | None, Query(description="Created before this time, with its time zone.")]

SharedQuery = Annotated[Shared | None, Query(description="Files that others share with one, or one's own that one shares.")]
RequestQuery = Annotated[UUID | None, Query(description="Only what came by this file request.")]


def get_filter(  # noqa: PLR0913, PLR0917 - a parameter for each filter
    status: StatusQuery = None,
    q: NameQuery = None,
    content_type: TypeQuery = None,
    created_after: SinceQuery = None,
    created_before: UntilQuery = None,
    size_min: SizeQuery = None,
    size_max: SizeQuery = None,
    shared: SharedQuery = None,
    file_request_id: RequestQuery = None,
) -> FileFilter:
    """Return what the list is narrowed to."""
    return FileFilter(
        status=status,
        name=q,
        content_type=content_type,
        created_after=created_after,
        created_before=created_before,
        size_min=size_min,
        size_max=size_max,
        shared=shared,
        file_request_id=file_request_id,
    )


@dataclass(frozen=True, slots=True)
class Page:
    """Which page of the list, in which order."""

    order: FileOrder
    skip: int
    limit: int
    after: Cursor | None
    with_total: bool


def get_page(
    sort: Annotated[Order, Query(description="A minus turns the order round.")] = Order.NEWEST_FIRST,
    skip: SkipQuery = 0,
    limit: LimitQuery = 100,
    cursor: CursorQuery = None,
    count: Annotated[bool, Query(description="Also say in `X-Total-Count` how many there are in all.")] = False,
) -> Page:
    """Return which page is asked for. Raises MalformedRequestError."""
    if cursor is not None and skip:
        raise MalformedRequestError("skip and cursor exclude each other", code="skip_with_cursor")
    after = None if cursor is None else Cursor.decode(cursor)
    return Page(FileOrder.of(sort), skip, limit, after, count)


FileFilterDep = Annotated[FileFilter, Depends(get_filter)]
PageDep = Annotated[Page, Depends(get_page)]
