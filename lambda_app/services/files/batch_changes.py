"""Changes of many files at once: delete, restore, visibility. Each file is decided as by the request about it alone."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from time import monotonic
from uuid import UUID

from lambda_app.core import clock
from lambda_app.core.errors import AppError, StoreUnavailableError, UnavailableError
from lambda_app.models import FileStatus, User
from lambda_app.repositories.files.batch_transitions import FileBatchTransitionRepository, MovedFile
from lambda_app.repositories.files.files import FileChangedError, FileForbiddenError, FileRepository, FileState, NoSuchFileError
from lambda_app.schemas.accounts.api_keys import Scope
from lambda_app.services.accounts.authentication import require_scope
from lambda_app.services.files.files import NotInTrashError
from lambda_app.storage.keys import preview_keys
from lambda_app.storage.object_store import ObjectStore

TRASH_BATCH_FILES = 100
"""Files that one statement deletes from the trash."""
BUDGET_SECONDS = 4.0
"""When a request starts no further batch and aborts no further multipart upload. A call of S3 takes at most 15 s, the function 20 s."""

DELETED = "deleted"
ChangeResult = FileStatus | str | AppError
"""The status of a file after the change (`deleted` if it is gone), or the error for which it was not changed."""


class FileBatchChangeService:
    """Deletes, restores and publishes many files."""

    def __init__(
        self, *, files: FileRepository, transitions: FileBatchTransitionRepository, store: ObjectStore, trash_retention: timedelta
    ) -> None:
        self._files = files
        self._transitions = transitions
        self._store = store
        self._trash_retention = trash_retention

    def delete_files(self, user: User, file_ids: Sequence[UUID], *, is_permanent: bool = False) -> list[ChangeResult]:
        """Move available files to the trash, if the trash is enabled; delete files in other states, with their bytes.

        The results have NoSuchFileError, FileForbiddenError, FileChangedError after a concurrent change, and StoreUnavailableError: the
        file is hidden from every list, and the sweep deletes its bytes if the caller does not repeat the request.
        """
        has_trash = bool(self._trash_retention) and not is_permanent
        purge_at = clock.now() + self._trash_retention if has_trash else None
        moved = self._transitions.start_deleting(file_ids, user, purge_at=purge_at)
        results = self._finish(moved, monotonic() + BUDGET_SECONDS)

        def explain(state: FileState) -> ChangeResult:
            return FileStatus.TRASHED if has_trash and state.status == FileStatus.TRASHED else FileChangedError()

        return self._with_refusals(user, file_ids, results, explain)

    def restore_files(self, user: User, file_ids: Sequence[UUID]) -> list[ChangeResult]:
        """Restore files from the trash. The results have NoSuchFileError, FileForbiddenError, NotInTrashError."""
        results: dict[UUID, ChangeResult] = dict.fromkeys(self._transitions.restore(file_ids, user), FileStatus.AVAILABLE)

        def explain(state: FileState) -> ChangeResult:
            is_available = state.status == FileStatus.AVAILABLE
            return FileStatus.AVAILABLE if is_available else NotInTrashError(extra={"file_status": state.status})

        return self._with_refusals(user, file_ids, results, explain)

    def set_visibility(self, user: User, file_ids: Sequence[UUID], *, is_public: bool) -> list[ChangeResult]:
        """Change who can read the files. The results have NoSuchFileError, FileForbiddenError. Raises ScopeMissingError."""
        require_scope(Scope.SHARES)
        changed = self._transitions.set_visibility(file_ids, user, is_public=is_public)
        results: dict[UUID, ChangeResult] = {file_id: FileStatus(status) for file_id, status in changed.items()}
        return self._with_refusals(user, file_ids, results, lambda _state: FileChangedError())

    def empty_trash(self, user: User) -> tuple[int, bool]:
        """Delete the files in the user's trash until it is empty or the time is over. Return how many, and whether there are more.

        Raises StoreUnavailableError: the files of the current batch are gone, and the sweep deletes their bytes.
        """
        deadline = monotonic() + BUDGET_SECONDS
        count = 0
        while file_ids := self._transitions.list_trashed(user.id, limit=TRASH_BATCH_FILES):
            if monotonic() >= deadline:
                return count, True
            # A file that was restored meanwhile stays.
            moved = self._transitions.start_deleting(file_ids, user, only=FileStatus.TRASHED)
            for result in self._finish(moved, deadline).values():
                if isinstance(result, AppError):
                    raise result
            count += len(moved)
        return count, False

    def _finish(self, moved: Sequence[MovedFile], deadline: float) -> dict[UUID, ChangeResult]:
        """Delete the bytes and the rows of the files that are being deleted, and return the results of all."""
        results: dict[UUID, ChangeResult] = {file.id: FileStatus.TRASHED for file in moved if file.status == FileStatus.TRASHED}
        ended = {file.s3_key: file.id for file in moved if file.id not in results}
        if not ended:
            return results
        left: set[str] = set()
        try:
            for file in moved:
                if file.upload_id is not None and file.s3_key in ended:
                    if monotonic() >= deadline:
                        left.add(file.s3_key)
                        continue
                    self._store.abort_multipart(file.s3_key, file.upload_id)
            deleted = [key for key in ended if key not in left]
            # In the same request. The sweep deletes the previews that are left.
            previews = [preview for key in deleted for preview in preview_keys(ended[key])]
            left |= self._store.delete_many([*deleted, *previews])
        except UnavailableError:
            left = set(ended)
        gone = [file_id for key, file_id in ended.items() if key not in left]
        if gone:
            self._transitions.remove(gone)
        for key, file_id in ended.items():
            results[file_id] = StoreUnavailableError() if key in left else DELETED
        return results

    def _with_refusals(
        self, user: User, file_ids: Sequence[UUID], results: dict[UUID, ChangeResult], explain: Callable[[FileState], ChangeResult]
    ) -> list[ChangeResult]:
        """Return the results of all files, in order; `explain` returns those of files that the user may manage and were not changed."""
        refused = [file_id for file_id in file_ids if file_id not in results]
        states = {state.id: state for state in self._files.list_states(refused, user)} if refused else {}
        for file_id in refused:
            state = states.get(file_id)
            if state is None:
                results[file_id] = NoSuchFileError()
            else:
                results[file_id] = explain(state) if state.is_manageable else FileForbiddenError()
        return [results[file_id] for file_id in file_ids]
