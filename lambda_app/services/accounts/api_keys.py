"""API keys: credentials for scripts, with scopes."""

from dataclasses import dataclass, field
from uuid import UUID, uuid4

from lambda_app.core import clock
from lambda_app.core.errors import ConflictError
from lambda_app.core.security.random_tokens import HINT_LENGTH, hash_secret, new_api_key
from lambda_app.models import ApiKey, User
from lambda_app.repositories.accounts.api_keys import ApiKeyRepository, expiry_in
from lambda_app.schemas.accounts.api_keys import ApiKeyCreate

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
        """Create an API key for the user. Raises TooManyKeysError."""
        if len(self._api_keys.list_for_user(user)) >= KEYS_PER_USER:
            raise TooManyKeysError
        key = new_api_key()
        row = ApiKey(
            id=uuid4(),
            user_id=user.id,
            token_epoch=user.token_epoch,
            name=parameters.name,
            hint=key[:HINT_LENGTH],
            key_hash=hash_secret(key),
            scopes=" ".join(sorted(set(parameters.scopes))),
            created_at=clock.now(),
            expires_at=expiry_in(parameters.expires_in_days),
        )
        self._api_keys.add(row)
        return CreatedApiKey(row, key)

    def list_keys(self, user: User) -> list[ApiKey]:
        """Return the user's keys, newest first."""
        return self._api_keys.list_for_user(user)

    def revoke(self, user: User, key_id: UUID) -> None:
        """Revoke one of the user's keys. Raises NotFoundError."""
        self._api_keys.revoke(key_id, user_id=user.id)
