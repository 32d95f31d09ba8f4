"""Upload tokens: secrets in the path, with which an uploader without other credentials uploads for a user. ADR 0029."""

from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID, uuid4

from lambda_app.core import clock
from lambda_app.core.errors import AppError, ConflictError, NotAuthenticatedError, NotFoundError, TooLargeError
from lambda_app.core.request_context import request_context
from lambda_app.core.security.random_tokens import hash_secret, new_secret
from lambda_app.models import File, FileStatus, UploadToken, User
from lambda_app.repositories.files.upload_tokens import UploadTokenRepository
from lambda_app.schemas.accounts.api_keys import Scope
from lambda_app.schemas.files.upload_tokens import UploadTokenCreate, UppyFile
from lambda_app.schemas.files.uploads import MultipartCreate, PartRequest
from lambda_app.schemas.sharing.file_requests import matching_rules
from lambda_app.services.accounts.authentication import current_api_key_id
from lambda_app.services.files.files import FileService
from lambda_app.services.files.parts import SignedPart
from lambda_app.services.files.quota import Quota
from lambda_app.services.files.upload_completion import NoPartsError
from lambda_app.services.files.uploads import UploadService
from lambda_app.storage.content import declared_or_known_type
from lambda_app.storage.object_store import StoredPart

TOKENS_PER_USER = 100


class UploadTokenClosedError(NotFoundError):
    """The token does not exist, has expired or was revoked, or did not start this upload. The error does not reveal which."""


class UploadTokenNotFoundError(NotFoundError):
    """The caller has no valid upload token with this id."""

    code = "upload_token_not_found"
    message = "Upload token not found"


class TooManyUploadTokensError(ConflictError):
    """The user has reached the limit of valid upload tokens."""

    code = "too_many_upload_tokens"
    message = f"An account can have at most {TOKENS_PER_USER} valid upload tokens; revoke one first"


class TokenFileTooLargeError(TooLargeError):
    """The file exceeds the size limit of the token."""

    code = "file_too_large"
    message = "The file is larger than this upload allows"


class TokenTypeRefusedError(ConflictError):
    """The token does not accept this content type."""

    code = "content_type_refused"
    message = "Files of this type are not accepted here"


class TokenQuotaExceededError(TooLargeError):
    """The upload exceeds the quota of the token."""

    code = "token_quota_exceeded"
    message = "The file exceeds what can still be uploaded here; request a new upload token"


@dataclass(frozen=True, slots=True)
class CreatedUploadToken:
    """The row of a new token, and the token itself, of which only a hash is stored."""

    row: UploadToken
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class UploadAllowance:
    """What can still be uploaded with a token, as the model `UppyRestrictions` reads it."""

    max_file_size: int
    max_total_file_size: int
    max_number_of_files: int
    allowed_file_types: list[str] | None


class UploadTokenService:
    """Creates, lists and revokes upload tokens, for their owners."""

    def __init__(self, *, tokens: UploadTokenRepository) -> None:
        self._tokens = tokens

    def create(self, owner: User, parameters: UploadTokenCreate) -> CreatedUploadToken:
        """Create a token with which files can be uploaded for the user.

        The token ends with the credentials of its creator: with the API key, and with all sessions of the user. Raises
        TooManyUploadTokensError, NotAuthenticatedError if the credentials of the request have just ended.
        """
        now, token = clock.now(), new_secret()
        row = UploadToken(
            id=uuid4(),
            owner_id=owner.id,
            api_key_id=current_api_key_id(),
            token_epoch=owner.token_epoch,
            token_hash=hash_secret(token),
            max_bytes=parameters.max_bytes,
            max_files=parameters.max_files,
            max_size_bytes=min(parameters.max_size_bytes or parameters.max_bytes, parameters.max_bytes),
            allowed_content_types=parameters.allowed_content_types,
            bytes_started=0,
            files_started=0,
            created_at=now,
            expires_at=now + timedelta(hours=parameters.expires_in_hours),
        )
        if not self._tokens.add(row, tokens_max=TOKENS_PER_USER):
            if len(self._tokens.list_for_user(owner.id)) >= TOKENS_PER_USER:
                raise TooManyUploadTokensError
            raise NotAuthenticatedError
        return CreatedUploadToken(row, token)

    def list_tokens(self, owner: User) -> list[UploadToken]:
        """Return the user's valid tokens, newest first."""
        return self._tokens.list_for_user(owner.id)

    def revoke(self, owner: User, token_id: UUID) -> None:
        """Revoke one of the user's tokens: it is refused from the next request on. Raises UploadTokenNotFoundError."""
        if not self._tokens.revoke(token_id, user_id=owner.id):
            raise UploadTokenNotFoundError


class TokenUploadService:
    """Multipart uploads with an upload token. Each method raises UploadTokenClosedError for a token or upload that is not valid."""

    def __init__(self, *, tokens: UploadTokenRepository, uploads: UploadService, files: FileService, default_quota: Quota) -> None:
        self._tokens = tokens
        self._default_quota = default_quota
        self._uploads = uploads
        self._files = files

    def get_allowance(self, secret: str) -> UploadAllowance:
        """Return what can still be uploaded: the limits of the token, and what is left of its owner's quota."""
        token, owner = self._authenticate(secret)
        quota = self._default_quota.of(owner)
        total = max(0, min(token.max_bytes - token.bytes_started, quota.bytes - owner.bytes_used))
        return UploadAllowance(
            max_file_size=min(token.max_size_bytes, total),
            max_total_file_size=total,
            max_number_of_files=max(0, min(token.max_files - token.files_started, quota.files - owner.files_count)),
            allowed_file_types=token.allowed_content_types,
        )

    def start(self, secret: str, declared: UppyFile) -> File:
        """Start a multipart upload within the limits of the token and the quota of its owner.

        Raises TokenFileTooLargeError, TokenTypeRefusedError, TokenQuotaExceededError, and the errors of `UploadService.start_multipart`.
        """
        token, owner = self._authenticate(secret)
        content_type = declared_or_known_type(declared.content_type, declared.filename)
        _require_allowed(token, size_bytes=declared.size_bytes, content_types=(declared.content_type, content_type))
        # Read before the statements below, which commit.
        token_id = token.id
        if not self._tokens.reserve(token_id, size_bytes=declared.size_bytes):
            raise self._refusal(secret)
        try:
            file = self._uploads.start_multipart(
                owner, MultipartCreate(filename=declared.filename, content_type=content_type, size_bytes=declared.size_bytes)
            )
        except AppError:
            self._tokens.release(token_id, size_bytes=declared.size_bytes)
            raise
        self._tokens.link(token_id, file.id)
        return file

    def list_parts(self, secret: str, file_id: str) -> list[StoredPart]:
        """Return the parts that were uploaded. Raises the errors of `UploadService.list_parts`."""
        _, owner, file = self._require_upload(secret, file_id)
        return self._uploads.list_parts(owner, file.id)[1]

    def sign_part(self, secret: str, file_id: str, number: int) -> SignedPart:
        """Sign the request that uploads a part of the planned size. Raises the errors of `UploadService.sign_parts`."""
        _, owner, file = self._require_upload(secret, file_id)
        return self._uploads.sign_parts(owner, file.id, [PartRequest(number=number)])[0]

    def complete(self, secret: str, file_id: str) -> File:
        """Complete an upload. Idempotent. Raises the errors of `UploadService.complete_upload`."""
        _, owner, file = self._require_upload(secret, file_id)
        return self._uploads.complete_upload(owner, file.id)

    def cancel(self, secret: str, file_id: str) -> None:
        """Cancel an upload in progress, and give its bytes back to the token. A completed file stays: raises NoPartsError."""
        token, owner, file = self._require_upload(secret, file_id)
        if file.status in (FileStatus.AVAILABLE, FileStatus.TRASHED):
            raise NoPartsError(extra={"file_status": file.status})
        token_id, size_bytes, id_, revision = token.id, file.size_bytes, file.id, file.revision
        # First, so that of several concurrent requests only one gives the bytes back.
        if not self._tokens.unlink(token_id, id_):
            raise UploadTokenClosedError
        # The revision keeps a file that a concurrent request completes.
        self._files.delete_file(owner, id_, is_permanent=True, revisions=frozenset({revision}))
        self._tokens.release(token_id, size_bytes=size_bytes)

    def _authenticate(self, secret: str) -> tuple[UploadToken, User]:
        found = self._tokens.get_with_owner(hash_secret(secret))
        if found is None:
            raise UploadTokenClosedError
        token, owner = found
        context = request_context()
        context.actor_id, context.credential, context.scopes = owner.id, f"upload_token:{token.id}", frozenset({Scope.FILES_WRITE})
        return token, owner

    def _require_upload(self, secret: str, file_id: str) -> tuple[UploadToken, User, File]:
        token, owner = self._authenticate(secret)
        try:
            file = self._tokens.get_file(token.id, UUID(file_id), owner_id=owner.id)
        except ValueError as error:
            raise UploadTokenClosedError from error
        if file is None or file.status == FileStatus.DELETING:
            raise UploadTokenClosedError
        return token, owner, file

    def _refusal(self, secret: str) -> AppError:
        token, _ = self._authenticate(secret)
        left = {"bytes_left": token.max_bytes - token.bytes_started, "files_left": token.max_files - token.files_started}
        return TokenQuotaExceededError(extra=left)


def _require_allowed(token: UploadToken, *, size_bytes: int, content_types: tuple[str, ...]) -> None:
    if size_bytes > token.max_size_bytes:
        raise TokenFileTooLargeError(extra={"max_size_bytes": token.max_size_bytes})
    allowed = token.allowed_content_types
    if allowed is not None and not set(matching_rules(*content_types)) & set(allowed):
        raise TokenTypeRefusedError(extra={"allowed_content_types": allowed})
