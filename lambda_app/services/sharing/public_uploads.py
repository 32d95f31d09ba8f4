"""What somebody without an account does with the link of a file request: look at it, and send files. Nothing is ever read back."""

import math
from dataclasses import dataclass, field
from uuid import UUID

from lambda_app.core import clock
from lambda_app.core.errors import ConflictError, NotFoundError, TooLargeError, TooManyRequestsError
from lambda_app.core.request_context import request_context
from lambda_app.core.security.random_tokens import hash_secret, new_secret
from lambda_app.models import File, FileRequest
from lambda_app.repositories.files.transitions import FileTransitionRepository
from lambda_app.repositories.sharing.file_requests import FileRequestRepository
from lambda_app.schemas.files.files import DeclaredFile
from lambda_app.schemas.sharing.file_requests import matching_rules
from lambda_app.services.accounts.login_throttle import network_of
from lambda_app.services.files.quota import Quota
from lambda_app.services.files.upload_completion import UploadCompletion
from lambda_app.services.files.uploads import abandoned_at, new_file
from lambda_app.storage.object_store import ObjectStore, PresignedRequest


class NoOpenRequestError(NotFoundError):
    """The link leads nowhere, or no more, or not with this token; which of it is nobody's business."""


class FileTooLargeError(TooLargeError):
    """The request takes smaller files only."""

    code = "file_too_large"
    message = "The file is larger than this request takes"


class ContentTypeRefusedError(ConflictError):
    """The request takes other types only."""

    code = "content_type_refused"
    message = "This request does not take files of this type"


class FileRequestFullError(ConflictError):
    """As many files as asked for have come, or are on their way."""

    code = "file_request_full"
    message = "This request takes no more files"


class NoRoomError(ConflictError):
    """The owner has no room for the file; how much there is, is not for guests."""

    code = "no_room"
    message = "There is no room for this file; tell whoever sent you the link"


class TooManyGuestTriesError(TooManyRequestsError):
    """Too many uploads were started, or tried, from one network at one request."""

    code = "too_many_uploads"
    message = "Too many uploads from here; wait before the next one"


@dataclass(frozen=True, slots=True)
class StartedPublicUpload:
    """A pending file, the one request that may fill it, and the token that completes it."""

    file: File
    request: PresignedRequest
    guest_token: str = field(repr=False)


class PublicUploadService:
    """What a guest may do."""

    def __init__(
        self,
        *,
        requests: FileRequestRepository,
        transitions: FileTransitionRepository,
        completion: UploadCompletion,
        store: ObjectStore,
        default_quota: Quota,
    ) -> None:
        self._requests = requests
        self._transitions = transitions
        self._completion = completion
        self._store = store
        self._default_quota = default_quota

    def look(self, token: str) -> FileRequest:
        """Return the request of a link. Raises NoOpenRequestError."""
        request = self._requests.get_open(hash_secret(token))
        if request is None:
            raise NoOpenRequestError
        return request

    def start(self, token: str, declared: DeclaredFile) -> StartedPublicUpload:
        """Create a pending file of the request's owner, reserve its room, and sign the one request that may fill it.

        Raises NoOpenRequestError, TooManyGuestTriesError, FileTooLargeError, ContentTypeRefusedError, FileRequestFullError, NoRoomError,
        TooLargeError, UnavailableError.
        """
        file, guest_token = new_file(None, declared), new_secret()
        request = self._store.presign_upload(
            key=file.s3_key, size_bytes=file.size_bytes, content_type=file.content_type, sha256=file.sha256
        )
        file.upload_expires_at = abandoned_at(file, request)
        file.guest_token_hash = hash_secret(guest_token)
        default, token_hash = self._default_quota, hash_secret(token)
        # Of each link its own: whoever was slowed down at one can use the others, and nobody at the same office a sign-in less.
        source = hash_secret(f"guest|{token_hash}|{network_of(request_context().source_address)}")
        tried = self._transitions.reserve_for_guest(
            file, token_hash=token_hash, source=source, default_bytes=default.bytes, default_files=default.files
        )
        if not tried.is_open:
            raise NoOpenRequestError
        if not tried.is_admitted:
            wait = (tried.blocked_until - clock.now()).total_seconds() if tried.blocked_until else 1
            raise TooManyGuestTriesError(headers={"Retry-After": str(max(1, math.ceil(wait)))})
        if not tried.is_started:
            raise _refusal(self.look(token), declared)
        return StartedPublicUpload(file, request, guest_token)

    def complete(self, token: str, file_id: UUID, guest_token: str) -> File:
        """Make the file available if S3 holds what was declared. Raises NoOpenRequestError, and as `UploadService.complete_upload`."""
        return self._completion.complete(lambda: self._require_sent(token, file_id, guest_token))

    def _require_sent(self, token: str, file_id: UUID, guest_token: str) -> File:
        file = self._requests.get_sent(hash_secret(token), file_id=file_id, guest_token_hash=hash_secret(guest_token))
        if file is None:
            raise NoOpenRequestError
        return file


def _refusal(request: FileRequest, declared: DeclaredFile) -> Exception:
    """Return why an open request did not take a file."""
    if declared.size_bytes > request.max_size_bytes:
        return FileTooLargeError(extra={"max_size_bytes": request.max_size_bytes})
    allowed = request.allowed_content_types
    if allowed is not None and not set(matching_rules(declared.content_type)) & set(allowed):
        return ContentTypeRefusedError(extra={"allowed_content_types": allowed})
    if request.file_count >= request.max_files:
        return FileRequestFullError()
    return NoRoomError()
