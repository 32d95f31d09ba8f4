"""The list of a caller's files, as the JSON of the response."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from pydantic import TypeAdapter

from lambda_app.db.compiled import Steps
from lambda_app.repositories.files.caller_lists import CallerListRepository
from lambda_app.schemas.files.file_lists import FileFilter, FileOrder, OrderField
from lambda_app.schemas.files.files import File
from lambda_app.schemas.page import Cursor, RequestedPage
from lambda_app.services.accounts.callers import CallerService, SubmittedCredential
from lambda_app.services.files.files import FileService, Total, count_limit, unindexed

_FILES = TypeAdapter(list[File])


@dataclass(frozen=True, slots=True)
class JsonPage:
    """The files of a page as a JSON array, the cursor of the next page if there is one, and the total number if requested."""

    json: str | bytes
    next_cursor: Cursor | None
    total: Total | None


class CallerListService:
    """Lists files for callers that are authenticated in the same flush."""

    def __init__(
        self, *, lists: CallerListRepository, callers: CallerService, in_steps: Callable[[], AbstractContextManager[FileService]]
    ) -> None:
        self._lists = lists
        self._callers = callers
        self._in_steps = in_steps

    @staticmethod
    def is_one_flush(filters: FileFilter, order: FileOrder) -> bool:
        """Whether `page_files` serves this list. For `page_files_in_steps`, who the caller is, or how long the list is, decides first."""
        return not filters.of_all_owners and filters.owner_id is None and unindexed(filters, order) is None

    def page_files_in_steps(self, submitted: SubmittedCredential, filters: FileFilter, page: RequestedPage) -> JsonPage:
        """Return one page of the files that the caller can list.

        Raises NotAuthenticatedError and the errors of `FileService.page_files`.
        """
        caller = self._callers.authenticate(submitted)
        with self._in_steps() as files:
            found = files.page_files(
                caller, filters, order=page.order, skip=page.skip, limit=page.limit, after=page.after, with_total=page.with_total
            )
            return JsonPage(_FILES.dump_json(_FILES.validate_python(found.files)), found.next_cursor, found.total)

    def page_files(self, submitted: SubmittedCredential, filters: FileFilter, page: RequestedPage) -> Steps[JsonPage]:
        """Return one page of the caller's own files, or of those shared with or by the caller.

        Raises NotAuthenticatedError, ScopeMissingError, MalformedRequestError.
        """
        credential = self._callers.read(submitted)
        up_to = count_limit() if page.with_total else None
        found = yield from self._lists.page(
            credential, filters, order=page.order, skip=page.skip, limit=page.limit + 1, after=page.after, count_up_to=up_to
        )
        self._callers.accept(submitted, credential, found.caller)
        text = f"[{','.join(found.files[: page.limit])}]"
        next_cursor = _cursor_after(found.files[page.limit - 1], page.order) if len(found.files) > page.limit else None
        return JsonPage(text, next_cursor, None if found.total is None else Total.of(found.total))


def _cursor_after(file_json: str, order: FileOrder) -> Cursor:
    file = json.loads(file_json)
    values = {
        OrderField.CREATED: datetime.fromisoformat(file["created_at"]),
        OrderField.UPDATED: datetime.fromisoformat(file["updated_at"]),
        OrderField.NAME: file["filename"],
        OrderField.SIZE: file["size_bytes"],
    }
    return Cursor(order, values[order.field], UUID(file["id"]))
