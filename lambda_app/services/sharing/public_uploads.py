"""Uploads by guests through the link of a file request. Guests have no account and cannot read any file."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Self
from uuid import UUID

from lambda_app.core import clock
from lambda_app.core.errors import AppError, ConflictError, LinkNotFoundError, TooLargeError, TooManyRequestsError
from lambda_app.core.request_context import request_context
from lambda_app.core.security.random_tokens import hash_secret, new_secret
from lambda_app.models import File, FileRequest, OpenFileRequest
from lambda_app.repositories.files.tombstones import TombstoneRepository
from lambda_app.repositories.files.transitions import FileTransitionRepository
from lambda_app.repositories.sharing.file_requests import FileRequestRepository
from lambda_app.schemas.files.files import DeclaredFile
from lambda_app.schemas.files.uploads import DeclaredMultipart, PartRequest
from lambda_app.schemas.sharing.file_requests import matching_rules
from lambda_app.services.accounts.login_throttle import networks_of
from lambda_app.services.files.parts import PartUploads, SignedPart
from lambda_app.services.files.quota import Quota
from lambda_app.services.files.upload_completion import NoPartsError, UploadCompletion
from lambda_app.services.files.uploads import abandoned_at, new_file, require_multipart_size, slowest_multipart_transfer
from lambda_app.storage.content import declared_or_known_type
from lambda_app.storage.object_store import ObjectStore, PresignedRequest, StoredPart
from lambda_app.storage.parts import PartPlan, plan_parts

GUEST_MULTIPART_LIFETIME = timedelta(days=1)
"""Lifetime of a guest's multipart upload, plus the time that the file takes at the slowest speed. Shorter than for users, because a guest
reserves the quota of another person."""


class FileRequestClosedError(LinkNotFoundError):
    """The file request does not exist, is closed, or the guest token is wrong. The error does not reveal which."""


class FileTooLargeError(TooLargeError):
    """The file exceeds the size limit of the file request."""

    code = "file_too_large"
    message = "The file is larger than this file request allows"


class ContentTypeRefusedError(ConflictError):
    """The file request does not accept this content type."""

    code = "content_type_refused"
    message = "This file request does not accept files of this type"


class FileRequestFullError(ConflictError):
    """The file request has reached its number of files, including uploads in progress."""

    code = "file_request_full"
    message = "This file request accepts no more files"


class NoRoomError(ConflictError):
    """The owner's quota does not suffice for the file. Guests do not learn how much is left."""

    code = "no_room"
    message = "There is not enough storage for this file; contact the person who sent you the link"


class TooManyGuestUploadsError(TooManyRequestsError):
    """Too many uploads to one file request were attempted from one network."""

    code = "too_many_uploads"
    message = "Too many uploads from your network; wait before you try again"


@dataclass(frozen=True, slots=True)
class StartedPublicUpload:
    """A pending file, the presigned request that uploads its bytes, and the token that completes it."""

    file: File
    request: PresignedRequest
    guest_token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class StartedPublicMultipart:
    """A pending file whose bytes are uploaded in parts, and the token that signs and completes them."""

    file: File
    guest_token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class _GuestUpload:
    """A file that a guest declares, before it is reserved."""

    token: str = field(repr=False)
    file: File
    guest_token: str = field(repr=False)
    content_types: Sequence[str]
    sources: Sequence[str]
    """The keys of the guest's networks at this link, for the throttle: a delay blocks neither other links nor sign-ins."""

    @classmethod
    def of(cls, token: str, declared: DeclaredFile | DeclaredMultipart) -> Self:
        file, guest_token = new_file(None, declared), new_secret()
        file.content_type = declared_or_known_type(declared.content_type, declared.filename)
        file.guest_token_hash = hash_secret(guest_token)
        networks = networks_of(request_context().source_address)
        sources = [hash_secret(f"guest|{hash_secret(token)}|{network}") for network in networks]
        return cls(token, file, guest_token, (declared.content_type, file.content_type), sources)


class PublicUploadService:
    """Shows file requests to guests, and starts and completes their uploads."""

    def __init__(
        self,
        *,
        requests: FileRequestRepository,
        transitions: FileTransitionRepository,
        tombstones: TombstoneRepository,
        completion: UploadCompletion,
        store: ObjectStore,
        default_quota: Quota,
    ) -> None:
        self._requests = requests
        self._transitions = transitions
        self._tombstones = tombstones
        self._completion = completion
        self._store = store
        self._default_quota = default_quota
        self._parts = PartUploads(store)

    def get_request(self, token: str) -> OpenFileRequest:
        """Return the open file request with this token. Raises FileRequestClosedError."""
        request = self._requests.get_open(hash_secret(token))
        if request is None:
            raise FileRequestClosedError
        return request

    def start(self, token: str, declared: DeclaredFile) -> StartedPublicUpload:
        """Create a pending file for the request's owner, reserve its size in the owner's quota, and sign the upload.

        Raises FileRequestClosedError, TooManyGuestUploadsError, FileTooLargeError, ContentTypeRefusedError, FileRequestFullError,
        NoRoomError, TooLargeError, UnavailableError.
        """
        upload = _GuestUpload.of(token, declared)
        file = upload.file
        request = self._store.presign_upload(
            key=file.s3_key, size_bytes=file.size_bytes, content_type=file.content_type, sha256=file.sha256
        )
        file.upload_expires_at = abandoned_at(file, request)
        self._reserve(upload)
        return StartedPublicUpload(file, request, upload.guest_token)

    def start_multipart(self, token: str, declared: DeclaredMultipart) -> StartedPublicMultipart:
        """Create a pending file whose bytes are uploaded in parts, and reserve its size in the owner's quota.

        Raises FileRequestClosedError, TooManyGuestUploadsError, FileTooLargeError, ContentTypeRefusedError, FileRequestFullError,
        NoRoomError, TooLargeError, UnavailableError.
        """
        require_multipart_size(declared.size_bytes)
        upload = _GuestUpload.of(token, declared)
        file = upload.file
        # Checked before an upload is started in S3. The owner's quota is not: its refusals count against the throttle, in the reservation.
        blocked_until = self._transitions.guests_blocked_until(upload.sources)
        if blocked_until is not None:
            raise TooManyGuestUploadsError.until(blocked_until)
        refusal = _refusal(self.get_request(token).request, file.size_bytes, upload.content_types)
        if not isinstance(refusal, NoRoomError):
            raise refusal
        file.part_size_bytes = plan_parts(file.size_bytes).part_size_bytes
        file.has_part_digests = declared.has_part_digests
        file.upload_expires_at = file.created_at + GUEST_MULTIPART_LIFETIME + slowest_multipart_transfer(file.size_bytes)
        # S3 first: after a crash between the two calls, the sweep aborts the upload, because no row names it.
        file.upload_id = self._store.start_multipart(
            key=file.s3_key, content_type=file.content_type, with_digests=declared.has_part_digests
        )
        try:
            self._reserve(upload)
        except AppError:
            self._store.abort_multipart(file.s3_key, file.upload_id)
            raise
        return StartedPublicMultipart(file, upload.guest_token)

    def sign_parts(self, token: str, file_id: UUID, guest_token: str, requested: Sequence[PartRequest]) -> list[SignedPart]:
        """Sign the requests that upload these parts. Raises FileRequestClosedError and the errors of `PartUploads.sign`."""
        return self._parts.sign(self._require_guest_file(token, file_id, guest_token), requested)

    def list_parts(self, token: str, file_id: UUID, guest_token: str) -> tuple[PartPlan, list[StoredPart]]:
        """Return the part plan and the uploaded parts. Raises FileRequestClosedError and the errors of `PartUploads.list`."""
        return self._parts.list(self._require_guest_file(token, file_id, guest_token))

    def abort(self, token: str, file_id: UUID, guest_token: str) -> None:
        """End a multipart upload in progress and delete its parts. Raises FileRequestClosedError, NoPartsError, UnavailableError."""
        found = self._require_guest_file(token, file_id, guest_token)
        file = self._transitions.abort_guest_upload(file_id, guest_token_hash=hash_secret(guest_token))
        if file is None:
            raise NoPartsError(extra={"file_status": found.status})
        if file.upload_id is not None:
            self._store.abort_multipart(file.s3_key, file.upload_id)
        # A concurrent completion may have joined the parts.
        self._store.delete(file.s3_key)
        self._transitions.remove(file.id)

    def complete(self, token: str, file_id: UUID, guest_token: str) -> File:
        """Make the file available if its object in S3 matches the declared file; idempotent.

        Raises FileRequestClosedError and the errors of `UploadService.complete_upload`.
        """
        return self._completion.complete(lambda: self._require_guest_file(token, file_id, guest_token))

    def get_file(self, token: str, file_id: UUID, guest_token: str) -> File:
        """Return the file that the guest has uploaded. Raises FileRequestClosedError."""
        return self._require_guest_file(token, file_id, guest_token)

    def _reserve(self, upload: "_GuestUpload") -> None:
        """Insert the file and charge the owner of the request. Raises the errors of `start`."""
        while True:
            reservation = self._transitions.reserve_for_guest(
                upload.file,
                content_types=upload.content_types,
                token_hash=hash_secret(upload.token),
                sources=upload.sources,
                default_bytes=self._default_quota.bytes,
                default_files=self._default_quota.files,
            )
            if not reservation.is_open:
                raise FileRequestClosedError
            if not reservation.is_admitted:
                raise TooManyGuestUploadsError.until(reservation.blocked_until)
            if reservation.is_started:
                return
            open_request = self.get_request(upload.token).request
            refusal = _refusal(open_request, upload.file.size_bytes, upload.content_types)
            if not isinstance(refusal, NoRoomError) or not self._tombstones.release_ended_charges(open_request.owner_id, clock.now()):
                raise refusal
            # Ended uploads have given back some of the quota, so the next attempt may succeed. A charge is released once.

    def _require_guest_file(self, token: str, file_id: UUID, guest_token: str) -> File:
        file = self._requests.get_guest_file(hash_secret(token), file_id=file_id, guest_token_hash=hash_secret(guest_token))
        if file is None:
            raise FileRequestClosedError
        return file


def _refusal(request: FileRequest, size_bytes: int, content_types: Sequence[str]) -> Exception:
    """Return the error for a file that an open request did not accept."""
    if size_bytes > request.max_size_bytes:
        return FileTooLargeError(extra={"max_size_bytes": request.max_size_bytes})
    allowed = request.allowed_content_types
    if allowed is not None and not set(matching_rules(*content_types)) & set(allowed):
        return ContentTypeRefusedError(extra={"allowed_content_types": allowed})
    if request.file_count >= request.max_files:
        return FileRequestFullError()
    return NoRoomError()
