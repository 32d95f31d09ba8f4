"""File requests, for their owners. `services/sharing/public_uploads` serves the guests."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from lambda_app.core import clock
from lambda_app.core.errors import (
    ConflictError,
    GoneError,
    MalformedRequestError,
    NotAuthenticatedError,
    NotFoundError,
    PermissionDeniedError,
)
from lambda_app.core.security.keys import SigningKeys
from lambda_app.core.security.link_tokens import LinkTokenCipher
from lambda_app.core.security.random_tokens import derive_secret, hash_secret, new_secret
from lambda_app.models import FileRequest, User
from lambda_app.repositories.sharing.file_requests import REQUESTS_PER_USER, FileRequestRepository
from lambda_app.schemas.files.file_lists import FileOrder, Order
from lambda_app.schemas.page import Cursor
from lambda_app.schemas.sharing.file_requests import FileRequestCreate, FileRequestUpdate
from lambda_app.schemas.sharing.states import LinkState
from lambda_app.services.files.idempotency import IdempotencyService, KeyedRequest, RequestInProgressError

LIFETIME_DEFAULT = timedelta(days=30)
LIFETIME_MAX = timedelta(days=366)
TOKEN_PURPOSE = "file request"  # noqa: S105 - a label for key derivation, not a secret
NEWEST_FIRST = FileOrder.of(Order.NEWEST_FIRST)


class FileRequestNotFoundError(NotFoundError):
    """The request does not exist, belongs to another user, or was revoked."""

    code = "file_request_not_found"
    message = "File request not found"


class TooManyFileRequestsError(ConflictError):
    """The user has reached the limit of file requests."""

    code = "too_many_file_requests"
    message = f"An account can have at most {REQUESTS_PER_USER} file requests; delete one first"


@dataclass(frozen=True, slots=True)
class OwnedFileRequest:
    """The row of a request, and the token of its link, if it can be decrypted."""

    row: FileRequest
    token: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class AddressedFileRequest(OwnedFileRequest):
    """A request with a new token."""

    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class FileRequestPage:
    """One page of requests, and the cursor of the next page if there is one."""

    requests: list[OwnedFileRequest]
    next_cursor: Cursor | None


class FileRequestService:
    """Creates, reads, changes and revokes file requests."""

    def __init__(
        self, *, requests: FileRequestRepository, idempotency: IdempotencyService, keys: SigningKeys, cipher: LinkTokenCipher
    ) -> None:
        self._requests = requests
        self._idempotency = idempotency
        self._keys = keys
        self._cipher = cipher

    def create(self, owner: User, parameters: FileRequestCreate, *, keyed: KeyedRequest | None = None) -> AddressedFileRequest:
        """Create a file request and its link.

        Raises TooManyFileRequestsError, MalformedRequestError, UnavailableError and, with an idempotency key, the errors of
        `IdempotencyService.claim`.
        """
        now, request_id = clock.now(), uuid4()
        expires_at = parameters.expires_at or now + LIFETIME_DEFAULT
        _require_valid_expiry(expires_at, now=now)
        token = new_secret()
        existing_id = None if keyed is None else self._idempotency.claim(keyed, request_id)
        if existing_id is not None:
            return self._get_created(owner, existing_id)
        request = FileRequest(
            **parameters.model_dump(exclude={"expires_at"}),
            id=request_id,
            owner_id=owner.id,
            token_hash=hash_secret(token),
            encrypted_token=self._cipher.encrypt(token, row_id=request_id),
            expires_at=expires_at,
            file_count=0,
            created_at=now,
            updated_at=now,
        )
        with self._idempotency.release_on_error(keyed, request_id):
            row = self._requests.add(request, owner_epoch=owner.token_epoch, with_key=keyed is not None)
            if row is None:
                if self._requests.count(owner_id=owner.id) >= REQUESTS_PER_USER:
                    raise TooManyFileRequestsError
                raise NotAuthenticatedError if keyed is None else RequestInProgressError
        return AddressedFileRequest(row, token)

    def page(self, owner: User, *, state: LinkState | None, limit: int, after: Cursor | None) -> FileRequestPage:
        """Return one page of the user's requests in this state, newest first. None: those that are not revoked."""
        rows = self._requests.page(owner_id=owner.id, state=state, order=NEWEST_FIRST, limit=limit + 1, after=after)
        requests = rows[:limit]
        next_cursor = Cursor(NEWEST_FIRST, requests[-1].created_at, requests[-1].id) if len(rows) > limit else None
        return FileRequestPage([self._with_token(row) for row in requests], next_cursor)

    def page_of_user(self, viewer: User, owner_id: UUID, *, state: LinkState | None, limit: int, after: Cursor | None) -> FileRequestPage:
        """Return one page of any user's requests, without their addresses; superusers only. Raises PermissionDeniedError."""
        if not viewer.is_superuser:
            raise PermissionDeniedError
        rows = self._requests.page(owner_id=owner_id, state=state, order=NEWEST_FIRST, limit=limit + 1, after=after)
        requests = rows[:limit]
        next_cursor = Cursor(NEWEST_FIRST, requests[-1].created_at, requests[-1].id) if len(rows) > limit else None
        return FileRequestPage([OwnedFileRequest(row, None) for row in requests], next_cursor)

    def revoke_of_user(self, editor: User, owner_id: UUID, request_id: UUID) -> None:
        """Revoke a request of any user; superusers only. Raises PermissionDeniedError, FileRequestNotFoundError."""
        if not editor.is_superuser:
            raise PermissionDeniedError
        changes = {"revoked_at": clock.now(), "encrypted_token": None}
        _require_found(self._requests.update(request_id, owner_id=owner_id, changes=changes, action="file_request.revoked"))

    def require(self, owner: User, request_id: UUID) -> OwnedFileRequest:
        """Return one of the user's requests. Raises FileRequestNotFoundError."""
        return self._with_token(_require_found(self._requests.get(request_id, owner_id=owner.id)))

    def update(self, owner: User, request_id: UUID, update: FileRequestUpdate) -> OwnedFileRequest:
        """Change the fields that are set in `update`. The new rules apply to guests immediately.

        Raises FileRequestNotFoundError, MalformedRequestError.
        """
        changes = update.model_dump(exclude_unset=True)
        if not changes:
            return self.require(owner, request_id)
        if update.expires_at is not None:
            _require_valid_expiry(update.expires_at, now=clock.now())
        row = self._requests.update(request_id, owner_id=owner.id, changes=changes, action="file_request.updated")
        return self._with_token(_require_found(row))

    def replace_address(self, owner: User, request_id: UUID) -> AddressedFileRequest:
        """Give a request a new token. The previous address is unknown from the next request on. Raises FileRequestNotFoundError."""
        token = new_secret()
        changes = {"token_hash": hash_secret(token), "encrypted_token": self._cipher.encrypt(token, row_id=request_id)}
        row = self._requests.update(request_id, owner_id=owner.id, changes=changes, action="file_request.address_replaced")
        return AddressedFileRequest(_require_found(row), token)

    def revoke(self, owner: User, request_id: UUID) -> None:
        """Revoke a request; the files that guests have sent are not deleted. Raises FileRequestNotFoundError."""
        changes = {"revoked_at": clock.now(), "encrypted_token": None}
        _require_found(self._requests.update(request_id, owner_id=owner.id, changes=changes, action="file_request.revoked"))

    def _with_token(self, row: FileRequest) -> OwnedFileRequest:
        return OwnedFileRequest(row, self._cipher.decrypt(row.encrypted_token, row_id=row.id))

    def _get_created(self, owner: User, request_id: UUID) -> AddressedFileRequest:
        row = self._requests.get(request_id, owner_id=owner.id)
        # The token is derived if a version created the request that did not store tokens.
        tokens = [] if row is None else [self._with_token(row).token, *self._derived_tokens(request_id)]
        token = next((token for token in tokens if row is not None and token and hash_secret(token) == row.token_hash), None)
        if row is None or token is None:
            raise GoneError("The request of this Idempotency-Key cannot be shown again; use a new key", code="idempotent_request_gone")
        return AddressedFileRequest(row, token)

    def _derived_tokens(self, request_id: UUID) -> list[str]:
        return [derive_secret(key.secret, purpose=TOKEN_PURPOSE, name=str(request_id)) for key in self._keys.verification_keys()]


def _require_valid_expiry(expires_at: datetime, *, now: datetime) -> None:
    if not now < expires_at <= now + LIFETIME_MAX:
        raise MalformedRequestError(f"expires_at must be in the future and at most {LIFETIME_MAX.days} days from now", code="bad_expiry")


def _require_found(request: FileRequest | None) -> FileRequest:
    if request is None:
        raise FileRequestNotFoundError
    return request
