"""File requests, on their owner's side."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from lambda_app.core import clock
from lambda_app.core.errors import ConflictError, GoneError, MalformedRequestError, NotFoundError
from lambda_app.core.security.keys import SigningKeys
from lambda_app.core.security.random_tokens import derived_secret, hash_secret, new_secret
from lambda_app.models import FileRequest, User
from lambda_app.repositories.sharing.file_requests import REQUESTS_PER_USER, FileRequestRepository
from lambda_app.schemas.files.file_lists import FileOrder, Order
from lambda_app.schemas.page import Cursor
from lambda_app.schemas.sharing.file_requests import FileRequestCreate, FileRequestUpdate
from lambda_app.services.files.idempotency import IdempotencyService, KeyedRequest, RequestUnderWayError

LIFETIME_DEFAULT = timedelta(days=30)
LIFETIME_MAX = timedelta(days=366)
TOKEN_PURPOSE = "file request"  # noqa: S105 - what it is for
NEWEST_FIRST = FileOrder.of(Order.NEWEST_FIRST)


class FileRequestNotFoundError(NotFoundError):
    """The user has no such request, or has revoked it."""

    code = "file_request_not_found"
    message = "File request not found"


class TooManyFileRequestsError(ConflictError):
    """The user has as many requests as one may have."""

    code = "too_many_file_requests"
    message = f"An account has at most {REQUESTS_PER_USER} file requests; delete one first"


@dataclass(frozen=True, slots=True)
class CreatedFileRequest:
    """A request's row, and the token of its link, which is never seen again."""

    row: FileRequest
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class FileRequestPage:
    """One page of requests, and the cursor of the next if there is one."""

    requests: list[FileRequest]
    next_cursor: Cursor | None


class FileRequestService:
    """What may be done with file requests."""

    def __init__(self, *, requests: FileRequestRepository, idempotency: IdempotencyService, keys: SigningKeys) -> None:
        self._requests = requests
        self._idempotency = idempotency
        self._keys = keys

    def create(self, owner: User, wanted: FileRequestCreate, *, keyed: KeyedRequest | None = None) -> CreatedFileRequest:
        """Make a request and its link.

        Raises TooManyFileRequestsError, MalformedRequestError, UnavailableError, and with a key what `IdempotencyService.claim` raises.
        """
        now, request_id = clock.now(), uuid4()
        expires_at = wanted.expires_at or now + LIFETIME_DEFAULT
        _refuse_expiry(expires_at, now=now)
        # With an idempotency key the token is one that can be made again: it must be the same in a repeated answer, and is not kept.
        token = new_secret() if keyed is None else self._derived(request_id)[0]
        made = None if keyed is None else self._idempotency.claim(keyed, request_id)
        if made is not None:
            return self._made_before(owner, made)
        request = FileRequest(
            **wanted.model_dump(exclude={"expires_at"}),
            id=request_id,
            owner_id=owner.id,
            token_hash=hash_secret(token),
            expires_at=expires_at,
            file_count=0,
            created_at=now,
            updated_at=now,
        )
        with self._idempotency.held(keyed, request_id):
            row = self._requests.add(request, with_key=keyed is not None)
            if row is None:
                if keyed is None or self._requests.count(owner_id=owner.id) >= REQUESTS_PER_USER:
                    raise TooManyFileRequestsError
                raise RequestUnderWayError
        return CreatedFileRequest(row, token)

    def page(self, owner: User, *, limit: int, after: Cursor | None) -> FileRequestPage:
        """Return one page of the user's requests, newest first."""
        rows = self._requests.page(owner_id=owner.id, order=NEWEST_FIRST, limit=limit + 1, after=after)
        requests = rows[:limit]
        next_cursor = Cursor(NEWEST_FIRST, requests[-1].created_at, requests[-1].id) if len(rows) > limit else None
        return FileRequestPage(requests, next_cursor)

    def require(self, owner: User, request_id: UUID) -> FileRequest:
        """Return one of the user's requests. Raises FileRequestNotFoundError."""
        return _found(self._requests.get(request_id, owner_id=owner.id))

    def update(self, owner: User, request_id: UUID, update: FileRequestUpdate) -> FileRequest:
        """Change what the caller named; guests meet the new rules at once. Raises FileRequestNotFoundError, MalformedRequestError."""
        changes = update.model_dump(exclude_unset=True)
        if not changes:
            return self.require(owner, request_id)
        if update.expires_at is not None:
            _refuse_expiry(update.expires_at, now=clock.now())
        return _found(self._requests.update(request_id, owner_id=owner.id, changes=changes, action="file_request.updated"))

    def revoke(self, owner: User, request_id: UUID) -> None:
        """End a request; what guests have sent stays. Raises FileRequestNotFoundError."""
        changes = {"revoked_at": clock.now()}
        _found(self._requests.update(request_id, owner_id=owner.id, changes=changes, action="file_request.revoked"))

    def _made_before(self, owner: User, request_id: UUID) -> CreatedFileRequest:
        row = self._requests.get(request_id, owner_id=owner.id)
        token = next((token for token in self._derived(request_id) if row is not None and hash_secret(token) == row.token_hash), None)
        if row is None or token is None:
            raise GoneError("The request of this Idempotency-Key cannot be shown again; use a new key", code="idempotent_request_gone")
        return CreatedFileRequest(row, token)

    def _derived(self, request_id: UUID) -> list[str]:
        return [derived_secret(key.secret, purpose=TOKEN_PURPOSE, name=str(request_id)) for key in self._keys.verification_keys()]


def _refuse_expiry(expires_at: datetime, *, now: datetime) -> None:
    if not now < expires_at <= now + LIFETIME_MAX:
        raise MalformedRequestError(f"The expiry must lie ahead, within {LIFETIME_MAX.days} days", code="bad_expiry")


def _found(request: FileRequest | None) -> FileRequest:
    if request is None:
        raise FileRequestNotFoundError
    return request
