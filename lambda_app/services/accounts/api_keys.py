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
    """The user has as many keys as one may have."""

    code = "too_many_api_keys"
    message = f"An account has at most {KEYS_PER_USER} API keys; revoke one first"


@dataclass(frozen=True, slots=True)
class CreatedApiKey:
    """A key's row, and the key itself, which is never seen again."""

    row: ApiKey
    key: str = field(repr=False)


class ApiKeyService:
    """What may be done with API keys."""

    def __init__(self, *, api_keys: ApiKeyRepository) -> None:
        self._api_keys = api_keys

    def create(self, user: User, wanted: ApiKeyCreate) -> CreatedApiKey:
        """Make a key. Raises TooManyKeysError."""
        if len(self._api_keys.list_of(user)) >= KEYS_PER_USER:
            raise TooManyKeysError
        key = new_api_key()
        row = ApiKey(
            id=uuid4(),
            user_id=user.id,
            token_epoch=user.token_epoch,
            name=wanted.name,
            hint=key[:HINT_LENGTH],
            key_hash=hash_secret(key),
            scopes=" ".join(sorted(set(wanted.scopes))),
            created_at=clock.now(),
            expires_at=expiry_in(wanted.expires_in_days),
        )
        self._api_keys.add(row)
        return CreatedApiKey(row, key)

    def list_keys(self, user: User) -> list[ApiKey]:
        """Return the user's keys, newest first."""
        return self._api_keys.list_of(user)

    def revoke(self, user: User, key_id: UUID) -> None:
        """End a key of the user's. Raises NotFoundError."""
        self._api_keys.revoke(key_id, user_id=user.id)
