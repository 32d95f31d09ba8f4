"""Whose credential it is that comes with a request: an access token's or an API key's."""

from sqlalchemy.orm import make_transient

from lambda_app.core.errors import NotAuthenticatedError, PermissionDeniedError
from lambda_app.core.request_context import request_context
from lambda_app.core.security.random_tokens import has_valid_checksum, hash_secret, is_api_key
from lambda_app.core.security.tokens import AccessTokens
from lambda_app.models import User
from lambda_app.repositories.accounts.api_keys import ApiKeyRepository
from lambda_app.repositories.accounts.sessions import SessionRepository
from lambda_app.schemas.accounts.api_keys import Scope


class ScopeMissingError(PermissionDeniedError):
    """The API key is not for this."""

    code = "insufficient_scope"
    message = "This API key does not have the scope for this"


class AuthenticationService:
    """Tells who calls, in one round trip."""

    def __init__(self, *, sessions: SessionRepository, api_keys: ApiKeyRepository, tokens: AccessTokens) -> None:
        self._sessions = sessions
        self._api_keys = api_keys
        self._tokens = tokens

    def authenticate(self, credential: str, *, scope: Scope | None) -> User:
        """Return the active user to whom the credential belongs; `scope` is what an API key needs here, None is any.

        Raises NotAuthenticatedError, ScopeMissingError, UnavailableError.
        """
        return self._by_api_key(credential, scope) if is_api_key(credential) else self._by_access_token(credential)

    def _by_access_token(self, token: str) -> User:
        claims = self._tokens.read(token)
        user = self._sessions.get_user_of(claims.session_id, claims.user_id, claims.token_epoch)
        if user is None:
            raise NotAuthenticatedError
        _note(user, f"session:{claims.session_id}")
        return user

    def _by_api_key(self, text: str, scope: Scope | None) -> User:
        found = self._api_keys.get_owner_of(hash_secret(text)) if has_valid_checksum(text) else None
        if found is None:
            raise NotAuthenticatedError
        key, user = found
        scopes = key.scopes.split()
        _note(user, f"api_key:{key.id}")
        if scope is not None and scope not in scopes and Scope.ADMIN not in scopes:
            raise ScopeMissingError(extra={"required_scope": scope})
        self._api_keys.record_use(key)
        if user.is_superuser and Scope.ADMIN not in scopes:
            # A key for files opens its owner's files, not everybody's. Cut off from the session first: this must never be written.
            make_transient(user)
            user.is_superuser = False
        return user


def _note(user: User, credential: str) -> None:
    origin = request_context()
    origin.actor_id, origin.credential = user.id, credential
