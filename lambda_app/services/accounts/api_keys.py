"""API keys: credentials for scripts, with scopes."""

from dataclasses import dataclass, field
from uuid import UUID, uuid4

from lambda_app.core import clock
from lambda_app.core.errors import ConflictError, NotAuthenticatedError
from lambda_app.core.security.random_tokens import HINT_LENGTH, hash_secret, new_api_key
from lambda_app.models import ApiKey, User
from lambda_app.repositories.accounts.api_keys import ApiKeyRepository, expiry_in
from lambda_app.schemas.accounts.api_keys import ApiKeyCreate
from lambda_app.services.accounts.authentication import current_api_key_id, require_scope

KEYS_PER_USER = 50


class TooManyKeysError(ConflictError):
    """The user has reached the limit of API keys."""

    code = "too_many_api_keys"
    message = f"An account can have at most {KEYS_PER_USER} API keys; revoke one first"


@dataclass(frozen=True, slots=True)
class CreatedApiKey:
    """The row of a new key, and the key itself, of which only a hash is stored."""

    row: ApiKey
    key: str = field(repr=False)


class ApiKeyService:
    """Creates, lists and revokes API keys."""

    def __init__(self, *, api_keys: ApiKeyRepository) -> None:
        self._api_keys = api_keys

    def create(self, user: User, parameters: ApiKeyCreate) -> CreatedApiKey:
        """Create an API key for the user.

        A key that creates a key cannot give it more power than it has itself: no scope that it lacks, and no longer life. Its expiry
        limits that of the new key, and its revocation revokes the new key.

        Raises TooManyKeysError, ScopeMissingError, NotAuthenticatedError if the credentials of the request have just ended.
        """
        for scope in parameters.scopes:
            require_scope(scope)
        expires_at = expiry_in(parameters.expires_in_days)
        creator_id = current_api_key_id()
        self._api_keys.lock_owner(user)
        if creator_id is not None:
            creator = self._api_keys.get_valid(creator_id, user)
            if creator is None:
                raise NotAuthenticatedError
            expires_at = min((time for time in (expires_at, creator.expires_at) if time is not None), default=None)
        key = new_api_key()
        row = ApiKey(
            id=uuid4(),
            user_id=user.id,
            created_by_id=creator_id,
            token_epoch=user.token_epoch,
            name=parameters.name,
            hint=key[:HINT_LENGTH],
            key_hash=hash_secret(key),
            scopes=" ".join(sorted(set(parameters.scopes))),
            created_at=clock.now(),
            expires_at=expires_at,
        )
        if not self._api_keys.add(row, keys_max=KEYS_PER_USER):
            raise TooManyKeysError
        return CreatedApiKey(row, key)

    def list_keys(self, user: User) -> list[ApiKey]:
        """Return the user's keys, newest first."""
        return self._api_keys.list_for_user(user)

    def revoke(self, user: User, key_id: UUID) -> None:
        """Revoke one of the user's keys, and the keys that were created with it. Raises NotFoundError."""
        self._api_keys.revoke(key_id, user_id=user.id)
