"""Files that a caller requests, each in one statement that authenticates the caller, decides, and reads.

The permission rule is that of `file_access`, with the columns of the authenticated caller in place of a user.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, case, select

from lambda_app.core import clock
from lambda_app.core.errors import NotAuthenticatedError
from lambda_app.db.compiled import CompiledStatement, Read, Rows, StatementRunner, Steps, parameter
from lambda_app.models import File, FileStatus
from lambda_app.repositories.accounts.callers import CALLER_COLUMNS, Caller, Credential, CredentialKind, caller_of, select_caller
from lambda_app.repositories.files.file_access import readable_by
from lambda_app.repositories.files.file_json import file_json
from lambda_app.repositories.files.files import FileForbiddenError, NoSuchFileError


class ShownFile(NamedTuple):
    """A file as the API shows it, and its revision."""

    json: str
    revision: int


class DownloadableFile(NamedTuple):
    """What a download of a file needs."""

    s3_key: str
    filename: str
    content_type: str
    detected_content_type: str | None
    status: str
    owner_id: UUID
    scan_status: str
    is_withheld: bool


class FoundFile(NamedTuple):
    """What the statement returned: the caller, whether the caller may read the file (None: there is no such file), and its columns."""

    caller: Caller | None
    is_permitted: bool | None
    columns: Sequence[Any]

    def require(self) -> Sequence[Any]:
        """Return the columns of the file. Raises NoSuchFileError, FileForbiddenError."""
        if self.is_permitted is None:
            raise NoSuchFileError
        if not self.is_permitted:
            raise FileForbiddenError
        return self.columns


def read_by_caller(kind: CredentialKind, *columns: Any) -> Select[Any]:
    """Return the query for the caller, the permission and the columns of the file with the id `file_id`."""
    caller = select_caller(kind).subquery("caller")
    # Without a row of the file, the permission is NULL.
    is_permitted = case((File.id.is_not(None), readable_by(caller.c)))
    return select(*caller.c, is_permitted, *columns).select_from(caller).outerjoin(File, _is_requested())


def read_by_anyone(*columns: Any) -> Select[Any]:
    """Return the same query for an anonymous caller. It returns no row if the file is not public."""
    return select(*columns).where(_is_requested(), readable_by(None))


def _is_requested() -> ColumnElement[bool]:
    return and_(File.id == parameter("file_id", File.id.type), File.status != FileStatus.DELETING)


def _get(kind: CredentialKind) -> Select[Any]:
    return read_by_caller(kind, file_json(), File.revision)


def _download(kind: CredentialKind) -> Select[Any]:
    return read_by_caller(kind, *_downloadable())


def _downloadable() -> tuple[Any, ...]:
    return tuple(getattr(File, name) for name in DownloadableFile._fields)


_GET = {kind: CompiledStatement(partial(_get, kind)) for kind in CredentialKind}
_DOWNLOAD = {kind: CompiledStatement(partial(_download, kind)) for kind in CredentialKind}
_DOWNLOAD_ANONYMOUSLY = CompiledStatement(lambda: read_by_anyone(*_downloadable()))


def file_statements() -> list[CompiledStatement]:
    """Return all statements, to compile them before they are needed."""
    return [*_GET.values(), *_DOWNLOAD.values(), _DOWNLOAD_ANONYMOUSLY]


class CallerFileRepository:
    """Reads files for callers that are authenticated by the same statement."""

    def __init__(self, runner: StatementRunner) -> None:
        self._runner = runner

    def find(self, credential: Credential, file_id: UUID) -> Steps[FoundFile]:
        """Return the file as JSON, and its revision."""
        (rows,) = yield Read([_GET[credential.kind]], _parameters(credential, file_id))
        return _found(rows)

    def find_downloadable(self, credential: Credential, file_id: UUID) -> FoundFile:
        """Return the columns of `DownloadableFile`."""
        return _found(self._runner.run(_DOWNLOAD[credential.kind], _parameters(credential, file_id)))

    def require_public(self, file_id: UUID) -> DownloadableFile:
        """Return a file for an anonymous caller. Raises NotAuthenticatedError if it is not public, or does not exist."""
        rows = self._runner.run(_DOWNLOAD_ANONYMOUSLY, {"file_id": file_id})
        if not rows:
            raise NotAuthenticatedError("Not authenticated")
        return DownloadableFile(*rows[0])


def _parameters(credential: Credential, file_id: UUID) -> dict[str, Any]:
    return {**credential.parameters, "now": clock.now(), "file_id": file_id}


def _found(rows: Rows) -> FoundFile:
    if not rows:
        return FoundFile(None, None, ())
    return FoundFile(caller_of(rows), rows[0][CALLER_COLUMNS], rows[0][CALLER_COLUMNS + 1 :])
