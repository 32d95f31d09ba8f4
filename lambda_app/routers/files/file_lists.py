"""The query parameters of the list of files."""

from typing import Annotated, Literal, get_args
from uuid import UUID

from fastapi import Depends, Query
from pydantic import AfterValidator, StringConstraints, WithJsonSchema

from lambda_app.core.errors import MalformedRequestError
from lambda_app.models import FileStatus
from lambda_app.routers.http.paging import CursorQuery, LimitQuery, SkipQuery
from lambda_app.schemas.files.batches import BATCH_MAX_FILES
from lambda_app.schemas.files.file_lists import FileFilter, FileOrder, Order, Shared
from lambda_app.schemas.files.files import CONTENT_TYPE_MAX_LENGTH, FILENAME_MAX_LENGTH
from lambda_app.schemas.page import Cursor, RequestedPage
from lambda_app.schemas.text import ONE_LINE, ONLY_DIGITS, Instant

SIZE_MAX = 2**63 - 1


def _media_type_prefix(value: str | None) -> str | None:
    if value is None:
        return None
    if not value.isascii():
        raise ValueError("must be the beginning of a media type, such as image/")
    return value.removesuffix("*")


NameQuery = Annotated[
    str | None,
    StringConstraints(min_length=1, max_length=FILENAME_MAX_LENGTH),
    ONE_LINE,
    Query(description="Only files whose name contains this text. Case is ignored."),
]
TypeQuery = Annotated[
    str | None,
    StringConstraints(min_length=1, max_length=CONTENT_TYPE_MAX_LENGTH),
    ONE_LINE,
    AfterValidator(_media_type_prefix),
    Query(description="Only files whose content type starts with this text, for example `image/` or `image/*`."),
]
MinSizeQuery = Annotated[int | None, Query(ge=0, le=SIZE_MAX, description="Only files of at least this size, in bytes."), ONLY_DIGITS]
MaxSizeQuery = Annotated[int | None, Query(ge=0, le=SIZE_MAX, description="Only files of at most this size, in bytes."), ONLY_DIGITS]
# DELETING is absent because such files are never listed.
ListedStatus = Literal[FileStatus.PENDING, FileStatus.AVAILABLE, FileStatus.REJECTED, FileStatus.EXPIRED, FileStatus.TRASHED]
_STATUS_SCHEMA = {"type": "string", "enum": [status.value for status in get_args(ListedStatus)]}
StatusQuery = Annotated[
    list[ListedStatus],
    WithJsonSchema({"anyOf": [_STATUS_SCHEMA, {"type": "array", "items": _STATUS_SCHEMA, "maxItems": len(get_args(ListedStatus))}]}),
    Query(
        max_length=len(get_args(ListedStatus)),
        description="Only files with this status, or with one of several: `status=pending&status=available`. "
        "By default all files outside the trash.",
    ),
]
IdsQuery = Annotated[
    list[UUID], Query(max_length=BATCH_MAX_FILES, description="Only the files with these ids, up to 100: `ids=…&ids=…`. Not with `shared`.")
]
UpdatedAfterQuery = Annotated[
    Instant | None,
    Query(description="Only files changed at or after this time, with time zone. Send `sort=-updated` or `sort=updated` with it."),
]
CreatedAfterQuery = Annotated[
    Instant | None, Query(description="Only files created at or after this time, with time zone: `2026-01-31T12:00:00Z`.")
]
CreatedBeforeQuery = Annotated[
    Instant | None, Query(description="Only files created before this time, with time zone: `2026-01-31T12:00:00Z`.")
]
SharedQuery = Annotated[
    Shared | None,
    Query(description="`with_me`: files of other users that are shared with the caller. `by_me`: the caller's files that are shared."),
]
OwnerQuery = Annotated[UUID | None, Query(description="The files of this user instead of the caller's own. Superusers only.")]
AllQuery = Annotated[bool, Query(alias="all", description="The files of all users instead of the caller's own. Superusers only.")]
FileRequestQuery = Annotated[UUID | None, Query(description="Only files that were uploaded to this file request.")]


async def get_filter(  # noqa: PLR0913, PLR0917 - a parameter for each filter
    status: StatusQuery = [],  # noqa: B006  # FastAPI copies it
    ids: IdsQuery = [],  # noqa: B006  # FastAPI copies it
    q: NameQuery = None,
    content_type: TypeQuery = None,
    created_after: CreatedAfterQuery = None,
    created_before: CreatedBeforeQuery = None,
    updated_after: UpdatedAfterQuery = None,
    size_min: MinSizeQuery = None,
    size_max: MaxSizeQuery = None,
    shared: SharedQuery = None,
    file_request_id: FileRequestQuery = None,
    owner_id: OwnerQuery = None,
    of_all_owners: AllQuery = False,
) -> FileFilter:
    """Return the filter of the query parameters. Raises MalformedRequestError."""
    if sum((owner_id is not None, of_all_owners, shared is not None)) > 1:
        raise MalformedRequestError("owner_id, all and shared cannot be combined; send one of them", code="conflicting_filters")
    if ids and shared is not None:
        raise MalformedRequestError("ids and shared cannot be combined; send one of them", code="conflicting_filters")
    return FileFilter(
        statuses=tuple(dict.fromkeys(status)),
        ids=tuple(dict.fromkeys(ids)) or None,
        updated_after=updated_after,
        name=q,
        content_type=content_type,
        created_after=created_after,
        created_before=created_before,
        size_min=size_min,
        size_max=size_max,
        shared=shared,
        file_request_id=file_request_id,
        owner_id=owner_id,
        of_all_owners=of_all_owners,
    )


async def get_page(
    sort: Annotated[Order, Query(description="The order. A leading minus means descending.")] = Order.NEWEST_FIRST,
    skip: SkipQuery = 0,
    limit: LimitQuery = 100,
    cursor: CursorQuery = None,
    count: Annotated[
        bool,
        Query(
            description="Return the number of matching files in `X-Total-Count`, up to 1,000. `X-Total-Count-Relation` is `eq`, or `gt` if "
            "there are more."
        ),
    ] = False,
) -> RequestedPage:
    """Return the page of the query parameters. Raises MalformedRequestError."""
    if cursor is not None and skip:
        raise MalformedRequestError("skip and cursor cannot be combined; send one of them", code="skip_with_cursor")
    after = None if cursor is None else Cursor.decode(cursor)
    return RequestedPage(FileOrder.of(sort), skip, limit, after, count)


FileFilterDep = Annotated[FileFilter, Depends(get_filter)]
PageDep = Annotated[RequestedPage, Depends(get_page)]
