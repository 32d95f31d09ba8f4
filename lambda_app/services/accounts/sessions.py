"""Sessions: signing in, staying signed in, and ending it."""

from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID, uuid4

from lambda_app.core import clock
from lambda_app.core.errors import NotAuthenticatedError, NotFoundError, PermissionDeniedError
from lambda_app.core.request_context import request_context
from lambda_app.core.security.passwords import PasswordHasher
from lambda_app.core.security.random_tokens import hash_secret, new_secret
from lambda_app.core.security.tokens import AccessToken, AccessTokens
from lambda_app.models import User, UserSession
from lambda_app.repositories.accounts.sessions import SessionRepository
from lambda_app.repositories.accounts.users import UserRepository
from lambda_app.services.accounts.login_throttle import LoginThrottle, Proof


class BadCredentialsError(NotAuthenticatedError):
    """The sign-in failed; the caller is not told whether the user exists, is disabled, or typed wrongly."""

    code = "bad_credentials"
    message = "Incorrect e-mail or password"


class EmailNotVerifiedError(PermissionDeniedError):
    """The password was right, but nobody has answered our mail to the address yet."""

    code = "email_not_verified"
    message = "The e-mail address has not been confirmed yet"


class BadRefreshTokenError(NotAuthenticatedError):
    """The refresh token is not good, or not any more."""

    code = "bad_refresh_token"
    message = "The refresh token is not valid"


@dataclass(frozen=True, slots=True)
class SignedIn:
    """An access token, and the refresh token for the next pair."""

    access_token: AccessToken
    refresh_token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SessionPolicy:
    """How long a session lives unused, and who gets one."""

    lifetime: timedelta
    requires_verified_email: bool


class SessionService:
    """What may be done with sessions."""

    def __init__(
        self,
        *,
        users: UserRepository,
        sessions: SessionRepository,
        login_throttle: LoginThrottle,
        passwords: PasswordHasher,
        tokens: AccessTokens,
        policy: SessionPolicy,
    ) -> None:
        self._users = users
        self._sessions = sessions
        self._login_throttle = login_throttle
        self._passwords = passwords
        self._tokens = tokens
        self._policy = policy

    def sign_in(self, *, email: str, password: str) -> SignedIn:
        """Exchange e-mail and password for a session. Raises as `verify_credentials`."""
        return self._open(self.verify_credentials(email=email, password=password), email)

    def verify_credentials(self, *, email: str, password: str) -> User:
        """Return whose e-mail and password these are; the attempt counts as a failed one until the caller releases it.

        Raises:
            BadCredentialsError: unknown, wrong or disabled, after the same work in each case.
            EmailNotVerifiedError: right, but the address was never confirmed and must be.
            ThrottledError: too many wrong passwords from here.
        """
        user = self._login_throttle.try_password(email=email, password=password, proof=Proof.SIGN_IN)
        if user is None:
            raise BadCredentialsError
        if self._policy.requires_verified_email and user.email_verified_at is None:
            self._login_throttle.refuse(user, email, reason="email_not_verified")
            raise EmailNotVerifiedError
        if self._passwords.needs_rehash(user.hashed_password):
            self._users.replace_hash(user, self._passwords.hash(password))
        return user

    def refresh(self, refresh_token: str) -> SignedIn:
        """Exchange a refresh token, once, for the next pair.

        Raises BadRefreshTokenError. A token that was used before has been stolen, or its successor has: the session ends.
        """
        token_hash, successor = hash_secret(refresh_token), new_secret()
        rotated = self._sessions.rotate(token_hash, new_hash=hash_secret(successor), lifetime=self._policy.lifetime)
        if rotated is None:
            self._sessions.revoke_reused(token_hash)
            raise BadRefreshTokenError
        session, user = rotated
        return SignedIn(self._tokens.issue(user.id, session_id=session.id, token_epoch=session.token_epoch), successor)

    def sign_out(self, refresh_token: str) -> None:
        """End the session of a refresh token; one that is not good has nothing to end (RFC 7009, section 2.2)."""
        self._sessions.end_by_refresh_token(hash_secret(refresh_token))

    def sign_out_current(self, user: User) -> None:
        """End the session that the request was signed in by; an API key has none."""
        session_id = current_session_id()
        if session_id is not None:
            self._sessions.end(session_id, user_id=user.id, action="session.signed_out")

    def sign_out_everywhere(self, user: User) -> None:
        """End every session, access token and API key of the user."""
        self._users.update(user.id, {"token_epoch": User.token_epoch + 1}, action="user.signed_out_everywhere")

    def revoke_all(self, administrator: User, user_id: UUID) -> None:
        """End everything of a user's; for superusers. Raises PermissionDeniedError, NotFoundError."""
        if not administrator.is_superuser:
            raise PermissionDeniedError
        self._users.update(user_id, {"token_epoch": User.token_epoch + 1}, action="user.sessions_revoked")

    def list_sessions(self, user: User) -> list[UserSession]:
        """Return the user's live sessions, newest first."""
        return self._sessions.list_live(user)

    def revoke(self, user: User, session_id: UUID) -> None:
        """End one of the user's sessions. Raises NotFoundError."""
        if self._sessions.end(session_id, user_id=user.id, action="session.revoked") is None:
            raise NotFoundError("Session not found", code="session_not_found")

    def _open(self, user: User, email: str) -> SignedIn:
        now, origin, refresh_token = clock.now(), request_context(), new_secret()
        session = UserSession(
            id=uuid4(),
            user_id=user.id,
            token_epoch=user.token_epoch,
            created_at=now,
            last_used_at=now,
            expires_at=now + self._policy.lifetime,
            source_address=origin.source_address,
            user_agent=origin.user_agent,
        )
        access_token = self._tokens.issue(user.id, session_id=session.id, token_epoch=user.token_epoch)
        self._sessions.open(session, hash_secret(refresh_token), self._login_throttle.release(email))
        return SignedIn(access_token, refresh_token)


def current_session_id() -> UUID | None:
    """Return the session that the request being served was signed in by; None for an API key."""
    kind, _, identity = (request_context().credential or "").partition(":")
    return UUID(identity) if kind == "session" else None
