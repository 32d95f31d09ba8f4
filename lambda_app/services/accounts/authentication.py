"""Authentication of a request by its access token or API key."""

from uuid import UUID

from lambda_app.core.errors import NotAuthenticatedError, PermissionDeniedError
from lambda_app.core.request_context import request_context
from lambda_app.core.security.random_tokens import has_valid_checksum, hash_secret, is_api_key
from lambda_app.core.security.tokens import AccessTokens
from lambda_app.models import User
from lambda_app.repositories.accounts.api_keys import ApiKeyRepository
from lambda_app.repositories.accounts.sessions import SessionRepository
from lambda_app.schemas.accounts.api_keys import Scope
from lambda_app.services.accounts.factor_policy import EnrolmentRequiredError


class ScopeMissingError(PermissionDeniedError):
    """The API key lacks the scope that the request needs."""

    code = "insufficient_scope"
    message = "This API key does not have the scope that this request needs"


class AuthenticationService:
    """Authenticates callers; each call needs one round trip to the database."""

    def __init__(self, *, sessions: SessionRepository, api_keys: ApiKeyRepository, tokens: AccessTokens) -> None:
        self._sessions = sessions
        self._api_keys = api_keys
        self._tokens = tokens

    def authenticate(self, credential: str, *, scope: Scope | None, is_enrolment: bool = False) -> User:
        """Return the active user to whom the credential belongs.

        `scope` is the scope that an API key must have; with None, any API key is accepted. Access tokens have no scopes.
        `is_enrolment`: the request is open to users who must set up a second factor first.

        Raises NotAuthenticatedError, ScopeMissingError, EnrolmentRequiredError, UnavailableError.
        """
        return self._by_api_key(credential, scope) if is_api_key(credential) else self._by_access_token(credential, is_enrolment)

    def _by_access_token(self, token: str, is_enrolment: bool) -> User:
        claims = self._tokens.read(token)
        user = self._sessions.get_user_of(claims.session_id, claims.user_id, claims.token_epoch)
        if user is None:
            raise NotAuthenticatedError
        if claims.must_enrol and not is_enrolment:
            raise EnrolmentRequiredError
        _set_actor(user, f"session:{claims.session_id}")
        return user

    def _by_api_key(self, text: str, scope: Scope | None) -> User:
        found = self._api_keys.get_with_owner(hash_secret(text)) if has_valid_checksum(text) else None
        if found is None:
            raise NotAuthenticatedError
        key, user = found
        scopes = frozenset(key.scopes.split())
        _set_actor(user, f"api_key:{key.id}", scopes)
        if scope is not None:
            require_scope(scope)
        self._api_keys.record_use(key)
        if user.is_superuser and Scope.ADMIN not in scopes:
            # Without the admin scope, a superuser's key reaches only the superuser's own files, not those of all users.
            self._api_keys.drop_superuser(user)
        return user


def require_scope(scope: Scope) -> None:
    """Raise ScopeMissingError if an API key without this scope and without `admin` authenticated the current request.

    For what a request asks for beyond its route, for example a field that needs a scope of its own.
    """
    scopes = request_context().scopes
    if scopes is not None and scope not in scopes and Scope.ADMIN not in scopes:
        raise ScopeMissingError(extra={"required_scope": scope})


def current_api_key_id() -> UUID | None:
    """Return the id of the API key that authenticated the current request; None for a session."""
    kind, _, identity = (request_context().credential or "").partition(":")
    return UUID(identity) if kind == "api_key" else None


def _set_actor(user: User, credential: str, scopes: frozenset[str] | None = None) -> None:
    context = request_context()
    context.actor_id, context.credential, context.scopes = user.id, credential, scopes
