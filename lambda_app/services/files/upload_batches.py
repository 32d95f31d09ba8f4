"""Starts many uploads at once, with the rules of a single start (`services/files/uploads`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4, uuid5

from lambda_app.core import clock
from lambda_app.core.errors import AppError, NotAuthenticatedError, UnavailableError
from lambda_app.models import User
from lambda_app.repositories.accounts.users import UserRepository
from lambda_app.repositories.files.tombstones import TombstoneRepository
from lambda_app.repositories.files.upload_batches import BatchKey, Reservation, UploadBatchRepository
from lambda_app.schemas.files.files import FileCreate
from lambda_app.services.files.idempotency import KEY_LIFETIME, IdempotencyService, KeyedRequest, RequestInProgressError
from lambda_app.services.files.quota import DeletionAllowance, DeletionAllowanceUsedError, Quota, QuotaExceededError
from lambda_app.services.files.uploads import IdempotentFileGoneError, abandoned_at, require_single_upload
from lambda_app.storage.keys import object_key
from lambda_app.storage.object_store import ObjectStore, PresignedRequest


@dataclass(frozen=True, slots=True)
class StartedBatchUpload:
    """A pending file and the presigned request that uploads its bytes."""

    file_id: UUID
    request: PresignedRequest


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A declared file that no rule refuses, and its signed request."""

    position: int
    file_id: UUID
    declared: FileCreate
    request: PresignedRequest

    @property
    def upload_expires_at(self) -> datetime:
        return abandoned_at(self.declared, self.request)

    def columns(self) -> dict[str, Any]:
        """Return the columns of the file that differ from those of the others."""
        own = {"id": self.file_id, "s3_key": object_key(self.file_id), "upload_expires_at": self.upload_expires_at}
        return {**self.declared.model_dump(), **own}


class UploadBatchService:
    """Starts many uploads in one statement."""

    def __init__(
        self,
        *,
        batches: UploadBatchRepository,
        tombstones: TombstoneRepository,
        users: UserRepository,
        idempotency: IdempotencyService,
        store: ObjectStore,
        default_quota: Quota,
        deletion_allowance: DeletionAllowance,
    ) -> None:
        self._batches = batches
        self._tombstones = tombstones
        self._users = users
        self._idempotency = idempotency
        self._store = store
        self._default_quota = default_quota
        self._deletion_allowance = deletion_allowance

    def start_uploads(
        self, owner: User, declared: Sequence[FileCreate], *, all_or_nothing: bool = False, keyed: KeyedRequest | None = None
    ) -> list[StartedBatchUpload | AppError]:
        """Create pending files, reserve their sizes in the owner's quota, and sign the requests that upload their bytes.

        Return for each file its upload, or the error for which `UploadService.start_upload` would refuse it. With `all_or_nothing`, the
        first such error is raised, and nothing is started. The files of a repeated request are those of the first one: the ids of the
        files derive from the id that the idempotency key holds.

        Raises DeletionAllowanceUsedError, UnavailableError, the errors of `IdempotencyService.get_done`, and with `all_or_nothing`
        ScopeMissingError, TooLargeError, QuotaExceededError.
        """
        batch_id = uuid4()
        results: list[StartedBatchUpload | AppError | None] = [None] * len(declared)
        candidates = self._candidates(batch_id, declared, results, all_or_nothing=all_or_nothing)
        left = candidates
        key = None if keyed is None else BatchKey(keyed.route, keyed.key, keyed.fingerprint, batch_id, clock.now() - KEY_LIFETIME)
        reservation = None
        for attempt in range(2):
            if not left:
                break
            reservation = self._reserve(owner, left, all_or_nothing=all_or_nothing, key=key)
            if keyed is not None and key is not None and not reservation.started:
                # Without room, the statement does not try to take the key: an earlier request with it may have used the quota.
                existing_id = self._idempotency.get_done(keyed)
                if existing_id is not None:
                    return self._restart(owner, declared, existing_id)
                if reservation.is_key_taken:
                    raise RequestInProgressError
            for started in left:
                if started.file_id in reservation.started:
                    results[started.position] = StartedBatchUpload(started.file_id, started.request)
                    # The key holds the id of this batch now.
                    key = None
            left = [candidate for candidate in left if candidate.file_id not in reservation.started]
            if left and attempt == 0 and not self._tombstones.release_ended_charges(owner.id, clock.now()):
                break
        if left and reservation is not None:
            self._refuse(owner, left, reservation, results, all_or_nothing=all_or_nothing)
        return _complete(results)

    def _candidates(
        self,
        batch_id: UUID,
        declared: Sequence[FileCreate],
        results: list[StartedBatchUpload | AppError | None],
        *,
        all_or_nothing: bool,
    ) -> list[_Candidate]:
        """Sign the requests of all files that may be uploaded, and set the results of the others."""
        candidates = []
        for position, file in enumerate(declared):
            try:
                require_single_upload(file)
            except AppError as error:
                if all_or_nothing:
                    raise
                results[position] = error
                continue
            file_id = _file_id(batch_id, position)
            request = self._store.presign_upload(
                key=object_key(file_id), size_bytes=file.size_bytes, content_type=file.content_type, sha256=file.sha256
            )
            candidates.append(_Candidate(position, file_id, file, request))
        return candidates

    def _reserve(self, owner: User, candidates: Sequence[_Candidate], *, all_or_nothing: bool, key: BatchKey | None) -> Reservation:
        epoch = owner.token_epoch
        reservation = self._batches.reserve(
            owner.id,
            [candidate.columns() for candidate in candidates],
            owner_epoch=epoch,
            default_bytes=self._default_quota.bytes,
            default_files=self._default_quota.files,
            all_or_nothing=all_or_nothing,
            key=key,
        )
        if reservation is None:
            # Raises NotFoundError.
            if self._users.require_current(owner.id).token_epoch != epoch:
                raise NotAuthenticatedError
            raise UnavailableError
        return reservation

    def _refuse(
        self,
        owner: User,
        refused: Sequence[_Candidate],
        reservation: Reservation,
        results: list[StartedBatchUpload | AppError | None],
        *,
        all_or_nothing: bool,
    ) -> None:
        """Set the results of the files for which there is no room. Raises the error if it concerns all files."""
        error: AppError
        if reservation.can_upload:
            error = QuotaExceededError(bytes_left=reservation.bytes_left, files_left=reservation.files_left)
        else:
            seconds = self._deletion_allowance.seconds_left(self._users.require_current(owner.id), clock.now())
            error = DeletionAllowanceUsedError(headers={"Retry-After": str(max(1, seconds))})
        is_of_all = not any(isinstance(result, StartedBatchUpload) for result in results)
        if all_or_nothing or (is_of_all and not reservation.can_upload):
            raise error
        for candidate in refused:
            results[candidate.position] = error

    def _restart(
        self,
        owner: User,
        declared: Sequence[FileCreate],
        batch_id: UUID,
    ) -> list[StartedBatchUpload | AppError]:
        """Return the uploads of the first request with this key, with new URLs.

        A file that was refused then has neither a row nor a tombstone; a tombstone outlives the key.
        """
        results: list[StartedBatchUpload | AppError | None] = [None] * len(declared)
        candidates = self._candidates(batch_id, declared, results, all_or_nothing=False)
        extended = self._batches.extend(owner.id, {candidate.file_id: candidate.upload_expires_at for candidate in candidates})
        missing = [candidate.file_id for candidate in candidates if candidate.file_id not in extended]
        ended = self._batches.list_ended(missing) if missing else set()
        quota: QuotaExceededError | None = None
        for candidate in candidates:
            if candidate.file_id in extended:
                results[candidate.position] = StartedBatchUpload(candidate.file_id, candidate.request)
            elif candidate.file_id in ended:
                results[candidate.position] = IdempotentFileGoneError()
            else:
                quota = quota or self._quota_error(owner.id)
                results[candidate.position] = quota
        return _complete(results)

    def _quota_error(self, owner_id: UUID) -> QuotaExceededError:
        owner = self._users.require_current(owner_id)
        return QuotaExceededError.of(self._default_quota.of(owner), owner)


def _file_id(batch_id: UUID, position: int) -> UUID:
    """Return the id of a file of the batch. Its first eight bytes are those of the batch, so that one listing finds all objects.

    The others cannot be guessed from the ids of other files, which do not show the rest of the batch's id.
    """
    return UUID(bytes=batch_id.bytes[:8] + uuid5(batch_id, str(position)).bytes[8:])


def _complete(results: Sequence[StartedBatchUpload | AppError | None]) -> list[StartedBatchUpload | AppError]:
    return [result if result is not None else UnavailableError() for result in results]
