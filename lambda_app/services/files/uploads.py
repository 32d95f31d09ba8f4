"""Uploads: start, sign and list parts, complete. `upload_completion` has the rules of completion, `parts` those of parts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from lambda_app.core import clock
from lambda_app.core.errors import AppError, GoneError, NotAuthenticatedError, TooLargeError, UnavailableError
from lambda_app.models import File, FileStatus, User
from lambda_app.models.files.files import SLOWEST_UPLOAD_BYTES_PER_SECOND
from lambda_app.repositories.accounts.callers import Caller
from lambda_app.repositories.accounts.users import UserRepository
from lambda_app.repositories.files.files import FileRepository
from lambda_app.repositories.files.tombstones import TombstoneRepository
from lambda_app.repositories.files.transitions import FileTransitionRepository
from lambda_app.schemas.accounts.api_keys import Scope
from lambda_app.schemas.files.files import DeclaredFile, FileCreate
from lambda_app.schemas.files.uploads import DeclaredMultipart, MultipartCreate, PartRequest
from lambda_app.services.accounts.authentication import require_scope
from lambda_app.services.files.idempotency import IdempotencyService, KeyedRequest, RequestInProgressError
from lambda_app.services.files.parts import PartUploads, SignedPart
from lambda_app.services.files.quota import DeletionAllowance, DeletionAllowanceUsedError, Quota, QuotaExceededError
from lambda_app.services.files.upload_completion import UploadCompletion
from lambda_app.storage.keys import object_key
from lambda_app.storage.object_store import SINGLE_PUT_MAX_BYTES, ObjectStore, PresignedRequest, StoredPart
from lambda_app.storage.parts import MULTIPART_MAX_BYTES, PartPlan, plan_parts

MULTIPART_LIFETIME = timedelta(days=7)
"""Lifetime of a multipart upload, plus the time that the file takes at the speed below."""
SLOWEST_MULTIPART_BYTES_PER_SECOND = 10 * 1024**2
_NO_COLUMN = {"has_part_digests"}


class IdempotentFileGoneError(GoneError):
    """The file that the first request with this idempotency key created was deleted, rejected or expired."""

    code = "idempotent_file_gone"
    message = "The file of this Idempotency-Key no longer exists; use a new key"


@dataclass(frozen=True, slots=True)
class StartedUpload:
    """A pending file and the presigned request that uploads its bytes."""

    file: File
    request: PresignedRequest


class UploadService:
    """Starts uploads, signs and lists parts, and completes uploads."""

    def __init__(  # noqa: PLR0913 - a parameter for each of its parts
        self,
        *,
        files: FileRepository,
        transitions: FileTransitionRepository,
        tombstones: TombstoneRepository,
        users: UserRepository,
        idempotency: IdempotencyService,
        store: ObjectStore,
        default_quota: Quota,
        deletion_allowance: DeletionAllowance,
        completion: UploadCompletion,
    ) -> None:
        self._files = files
        self._transitions = transitions
        self._tombstones = tombstones
        self._users = users
        self._idempotency = idempotency
        self._store = store
        self._default_quota = default_quota
        self._deletion_allowance = deletion_allowance
        self._parts = PartUploads(store)
        self._completion = completion

    def start_upload(self, owner: User | Caller, declared: FileCreate, *, keyed: KeyedRequest | None = None) -> StartedUpload:
        """Create a pending file, reserve its size in the owner's quota, and sign the request that uploads its bytes.

        Raises ScopeMissingError for a public file and an API key without the scope `shares`, TooLargeError, QuotaExceededError,
        DeletionAllowanceUsedError, UnavailableError and, with an idempotency key, the errors of `IdempotencyService.claim`.
        """
        require_single_upload(declared)
        file = new_file(owner.id, declared)
        existing_id = None if keyed is None else self._idempotency.claim(keyed, file.id)
        if existing_id is not None:
            return self._restart_upload(owner, existing_id)
        with self._idempotency.release_on_error(keyed, file.id):
            request = self._sign_upload(file)
            file.upload_expires_at = abandoned_at(file, request)
            self._reserve(owner, file, with_key=keyed is not None)
        return StartedUpload(file, request)

    def start_multipart(self, owner: User, declared: MultipartCreate, *, keyed: KeyedRequest | None = None) -> File:
        """Create a pending file whose bytes are uploaded in parts. Raises the errors of `start_upload`."""
        require_scopes(declared)
        require_multipart_size(declared.size_bytes)
        file = new_file(owner.id, declared)
        existing_id = None if keyed is None else self._idempotency.claim(keyed, file.id)
        if existing_id is not None:
            return self._require_existing(owner, existing_id)
        file.part_size_bytes = plan_parts(declared.size_bytes).part_size_bytes
        file.has_part_digests = declared.has_part_digests
        file.upload_expires_at = file.created_at + MULTIPART_LIFETIME + slowest_multipart_transfer(file.size_bytes)
        with self._idempotency.release_on_error(keyed, file.id):
            if not self._has_room(owner, file) or self._deletion_allowance.seconds_left(owner, clock.now()):
                # Avoids starting an upload in S3 that the reservation below would refuse. The counters may be out of date.
                self._require_room(file, owner.token_epoch)
            # S3 first: after a crash between the two calls, the sweep aborts the upload, because no row names it.
            file.upload_id = self._store.start_multipart(
                key=file.s3_key, content_type=file.content_type, with_digests=declared.has_part_digests
            )
            try:
                self._reserve(owner, file, with_key=keyed is not None)
            except AppError:
                self._store.abort_multipart(file.s3_key, file.upload_id)
                raise
        return file

    def sign_parts(self, user: User, file_id: UUID, requested: Sequence[PartRequest]) -> list[SignedPart]:
        """Sign the requests that upload these parts. Raises NoSuchFileError, FileForbiddenError and the errors of `PartUploads.sign`."""
        return self._parts.sign(self._files.require_manageable(file_id, user), requested)

    def list_parts(self, user: User, file_id: UUID) -> tuple[PartPlan, list[StoredPart]]:
        """Return the part plan and the uploaded parts. Raises NoSuchFileError, FileForbiddenError and the errors of `PartUploads.list`."""
        return self._parts.list(self._files.require_manageable(file_id, user))

    def complete_upload(self, user: User, file_id: UUID, *, crc64nvme: str | None = None) -> File:
        """Make the file available if its object in S3 matches the declared file; idempotent.

        `crc64nvme` (base64) is the checksum of the whole file: S3 compares it when it completes a multipart upload, and the
        verification compares it with the checksum that S3 returns.

        Raises:
            UploadMissingError, PartsMissingError: the upload is incomplete and can continue.
            UploadLostError: S3 has lost the parts.
            UploadWithheldError: the object is being scanned; the S3 event completes the upload later.
            UploadRejectedError: the object did not match, in this call or an earlier one.
            FileNotAvailableError: the upload has expired.
            NoSuchFileError, FileForbiddenError, UnavailableError.
        """
        return self._completion.complete(lambda: self._files.require_manageable(file_id, user), crc64nvme=crc64nvme)

    def _restart_upload(self, owner: User | Caller, file_id: UUID) -> StartedUpload:
        file = self._require_existing(owner, file_id)
        request = self._sign_upload(file)
        # An available file too: after its deletion, the new URL could store the object again.
        if not self._transitions.extend(file.id, until=abandoned_at(file, request)):
            raise IdempotentFileGoneError
        return StartedUpload(file, request)

    def _require_existing(self, owner: User | Caller, file_id: UUID) -> File:
        file = self._files.get(file_id)
        if file is None or file.owner_id != owner.id or file.status not in (FileStatus.PENDING, FileStatus.AVAILABLE):
            raise IdempotentFileGoneError
        return file

    def _reserve(self, owner: User | Caller, file: File, *, with_key: bool) -> None:
        default, epoch = self._default_quota, owner.token_epoch
        for _ in range(2):
            if self._transitions.reserve(
                file, owner_epoch=epoch, default_bytes=default.bytes, default_files=default.files, with_key=with_key
            ):
                return
            self._require_room(file, epoch)
            # The quota suffices now: space was freed meanwhile, or another request took over the key while this one was suspended.
        if with_key:
            raise RequestInProgressError
        raise UnavailableError

    def _require_room(self, file: File, owner_epoch: int) -> None:
        """Release charges whose upload URL has expired.

        Raises QuotaExceededError or DeletionAllowanceUsedError if there is still no room, NotAuthenticatedError if the credentials ended.
        """
        self._tombstones.release_ended_charges(file.owner_id, clock.now())
        owner = self._users.require_current(file.owner_id)
        if owner.token_epoch != owner_epoch:
            raise NotAuthenticatedError
        if not self._has_room(owner, file):
            raise QuotaExceededError.of(self._default_quota.of(owner), owner)
        seconds = self._deletion_allowance.seconds_left(owner, clock.now())
        if seconds:
            raise DeletionAllowanceUsedError(headers={"Retry-After": str(seconds)})

    def _has_room(self, owner: User, file: File) -> bool:
        quota = self._default_quota.of(owner)
        return owner.bytes_used + file.size_bytes <= quota.bytes and owner.files_count < quota.files

    def _sign_upload(self, file: File) -> PresignedRequest:
        return self._store.presign_upload(key=file.s3_key, size_bytes=file.size_bytes, content_type=file.content_type, sha256=file.sha256)


def require_scopes(declared: FileCreate | MultipartCreate) -> None:
    """Raise ScopeMissingError for a public file, if an API key without the scope `shares` authenticated the request."""
    if declared.is_public:
        # Visibility is a form of sharing.
        require_scope(Scope.SHARES)


def require_single_upload(declared: FileCreate) -> None:
    """Raise ScopeMissingError or TooLargeError if the caller may not declare this file, or one request cannot send it."""
    require_scopes(declared)
    if declared.size_bytes > SINGLE_PUT_MAX_BYTES:
        raise TooLargeError(
            f"A single upload request can send at most {SINGLE_PUT_MAX_BYTES} bytes; upload the file in parts",
            code="single_upload_too_large",
            extra={"max_bytes": SINGLE_PUT_MAX_BYTES},
        )


def new_file(owner_id: UUID | None, declared: DeclaredFile | DeclaredMultipart) -> File:
    """Return a pending file that is not stored yet. `owner_id` is None where the inserting statement determines the owner."""
    return File(**pending_columns(declared), owner_id=owner_id)


def pending_columns(declared: DeclaredFile | DeclaredMultipart) -> dict[str, Any]:
    """Return the columns of a new pending file, without its owner and the end of its upload."""
    file_id, now = uuid4(), clock.now()
    return {
        **declared.model_dump(exclude=_NO_COLUMN),
        "id": file_id,
        "s3_key": object_key(file_id),
        "status": FileStatus.PENDING.value,
        "has_part_digests": False,
        "revision": 1,
        "created_at": now,
        "updated_at": now,
    }


def abandoned_at(file: File | DeclaredFile, request: PresignedRequest) -> datetime:
    """Return when an upload counts as abandoned: the URL's expiry plus the transfer time at the slowest speed."""
    return request.expires_at + timedelta(seconds=file.size_bytes / SLOWEST_UPLOAD_BYTES_PER_SECOND)


def require_multipart_size(size_bytes: int) -> None:
    """Raise TooLargeError if a file of this size cannot be uploaded in parts."""
    if size_bytes > MULTIPART_MAX_BYTES:
        raise TooLargeError(f"A file can have at most {MULTIPART_MAX_BYTES} bytes", extra={"max_bytes": MULTIPART_MAX_BYTES})


def slowest_multipart_transfer(size_bytes: int) -> timedelta:
    """Return how long the parts of a file may take at the slowest speed."""
    return timedelta(seconds=size_bytes / SLOWEST_MULTIPART_BYTES_PER_SECOND)
