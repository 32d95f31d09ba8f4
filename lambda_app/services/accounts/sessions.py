"""Sessions: sign-in, refresh, sign-out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from lambda_app.core import clock
from lambda_app.core.errors import NotAuthenticatedError, NotFoundError, PermissionDeniedError, TooManyRequestsError
from lambda_app.core.request_context import current_session_id, request_context
from lambda_app.core.security.keys import SigningKey, SigningKeys
from lambda_app.core.security.passwords import PasswordHasher
from lambda_app.core.security.random_tokens import derive_secret, hash_secret, new_secret
from lambda_app.core.security.tokens import AccessToken, AccessTokens
from lambda_app.models import User, UserSession
from lambda_app.repositories.accounts.deletions import AccountDeletionRepository
from lambda_app.repositories.accounts.sessions import SessionRepository, Successor
from lambda_app.repositories.accounts.sign_in_attempts import AttemptKeys
from lambda_app.repositories.accounts.users import UserRepository
from lambda_app.schemas.files.file_lists import FileOrder, Order
from lambda_app.schemas.page import Cursor
from lambda_app.services.accounts.factor_policy import EnrolmentRequiredError, FactorPolicy
from lambda_app.services.accounts.login_throttle import LoginThrottle, PasswordPurpose, attempt_keys
from lambda_app.services.accounts.second_factor import SecondFactorVerifier

_NEWEST_FIRST = FileOrder.of(Order.NEWEST_FIRST)

REFRESH_GRACE = timedelta(seconds=30)
"""How long after an exchange the same refresh token leads to the same successor."""


class BadCredentialsError(NotAuthenticatedError):
    """The sign-in failed. The error does not reveal whether the account exists, is disabled, or has another password."""

    code = "bad_credentials"
    message = "Incorrect e-mail or password"


class EmailNotVerifiedError(PermissionDeniedError):
    """The password is correct, but the e-mail address has not been verified yet."""

    code = "email_not_verified"
    message = "The e-mail address has not been confirmed yet; open the link in the mail that we sent, or request a new mail"


class AccountDeletionPendingError(PermissionDeniedError):
    """The credentials are correct, but the user asked to delete the account."""

    code = "account_deletion_pending"
    message = "This account is going to be deleted; to keep it, sign in with keep_account set to true"


class PasswordSignInClosedError(PermissionDeniedError):
    """The operator has closed the sign-in with passwords of this service."""

    code = "password_sign_in_closed"
    message = "This service accepts no passwords; sign in with one of its sign-in providers"


class BadRefreshTokenError(NotAuthenticatedError):
    """The refresh token is unknown, or its session has ended."""

    code = "bad_refresh_token"
    message = "The refresh token is not valid; sign in again"


class RefreshTokenReusedError(NotAuthenticatedError):
    """The refresh token was exchanged before the grace period. The reuse has ended the session."""

    code = "refresh_token_reused"
    message = "This refresh token was used before, so the session has ended; sign in again"


class RefreshTokenSupersededError(NotAuthenticatedError):
    """The successor of the refresh token has been used. The reuse has ended the session."""

    code = "refresh_token_superseded"
    message = "A newer refresh token of this session was used before this one, so the session has ended; sign in again"


class TooManyRefreshesError(TooManyRequestsError):
    """The session has been refreshed too often. Its tokens stay valid."""

    code = "too_many_refreshes"
    message = "This session was refreshed too often; use the access token until it expires, and wait before you refresh again"


@dataclass(frozen=True, slots=True)
class SignedIn:
    """An access token, and the refresh token that is exchanged for the next pair."""

    access_token: AccessToken
    refresh_token: str = field(repr=False)
    session_expires_at: datetime
    """When the session ends if it is not refreshed."""


@dataclass(frozen=True, slots=True)
class SessionPage:
    """One page of sessions, and the cursor of the next if there is one."""

    sessions: list[UserSession]
    next_cursor: Cursor | None


@dataclass(frozen=True, slots=True)
class SessionPolicy:
    """How long an unused session lasts, whether sign-in needs a verified e-mail address, and whether passwords are accepted."""

    lifetime: timedelta
    requires_verified_email: bool
    accepts_passwords: bool
    factor: FactorPolicy


class SessionService:
    """Opens, refreshes, lists and ends sessions."""

    def __init__(  # noqa: PLR0913 - a parameter for each of its parts
        self,
        *,
        users: UserRepository,
        sessions: SessionRepository,
        login_throttle: LoginThrottle,
        second_factor: SecondFactorVerifier,
        deletions: AccountDeletionRepository,
        passwords: PasswordHasher,
        tokens: AccessTokens,
        keys: SigningKeys,
        policy: SessionPolicy,
    ) -> None:
        self._users = users
        self._sessions = sessions
        self._login_throttle = login_throttle
        self._second_factor = second_factor
        self._deletions = deletions
        self._passwords = passwords
        self._tokens = tokens
        self._keys = keys
        self._policy = policy

    def sign_in(self, *, email: str, password: str, otp: str | None = None, keeps_account: bool = False) -> SignedIn:
        """Exchange e-mail, password and, if the account has a second factor, a one-time code for a session.

        Raises the errors of `verify_credentials`.
        """
        user = self.verify_credentials(email=email, password=password, otp=otp, keeps_account=keeps_account)
        return self.open(user, attempt=attempt_keys(email))

    def verify_credentials(self, *, email: str, password: str, otp: str | None, keeps_account: bool = False) -> User:
        """Return the user with this e-mail and password, and this one-time code if the account has a second factor.

        The attempt counts as failed until the caller resets the counters of `attempt_keys`.

        Raises:
            BadCredentialsError: unknown address, wrong password or disabled account; the time taken does not differ.
            EmailNotVerifiedError: the credentials are correct, but the address must be verified first.
            AccountDeletionPendingError: the user asked to delete the account, and `keeps_account` does not cancel that.
            SecondFactorRequiredError, BadSecondFactorError: the password is correct, but the code is missing or wrong.
            PasswordSignInClosedError: no password is accepted.
            ThrottledError: too many failed attempts.
        """
        if not self._policy.accepts_passwords:
            raise PasswordSignInClosedError
        user = self._login_throttle.verify_password(email=email, password=password, purpose=PasswordPurpose.SIGN_IN)
        if user is None:
            raise BadCredentialsError
        user = self.require_admitted(user, otp=otp, keeps_account=keeps_account)
        if user.hashed_password is not None and self._passwords.needs_rehash(user.hashed_password):
            self._users.replace_hash(user, self._passwords.hash(password))
        return user

    def require_admitted(self, user: User, *, otp: str | None, keeps_account: bool) -> User:
        """Return the user, who has proven who they are, if the account may be used now.

        Raises EmailNotVerifiedError, SecondFactorRequiredError, BadSecondFactorError, AccountDeletionPendingError, ThrottledError.
        """
        if self._policy.requires_verified_email and user.email_verified_at is None:
            self._login_throttle.record_refused_sign_in(user, reason="email_not_verified")
            raise EmailNotVerifiedError
        self._second_factor.require(user, otp)
        if user.deletion_at is not None:
            user = self._keep(user, keeps_account=keeps_account)
        return user

    def verify_visitor(self, *, email: str, password: str, otp: str | None) -> User:
        """Return the user with these credentials, who opens no session and so cannot set up a second factor.

        Raises EnrolmentRequiredError, and the errors of `verify_credentials`.
        """
        return self._require_enrolled(self.verify_credentials(email=email, password=password, otp=otp))

    def require_admitted_visitor(self, user: User, *, otp: str | None) -> User:
        """As `verify_visitor`, for a user who has proven who they are. Raises the errors of `require_admitted`, EnrolmentRequiredError."""
        return self._require_enrolled(self.require_admitted(user, otp=otp, keeps_account=False))

    def _require_enrolled(self, user: User) -> User:
        if self._policy.factor.must_enrol(user):
            raise EnrolmentRequiredError
        return user

    def _keep(self, user: User, *, keeps_account: bool) -> User:
        kept = self._deletions.cancel(user.id) if keeps_account else None
        if kept is None:
            raise AccountDeletionPendingError(extra={"deletion_at": user.deletion_at and user.deletion_at.isoformat()})
        return kept

    def refresh(self, refresh_token: str) -> SignedIn:
        """Exchange a refresh token for the next pair of tokens.

        For REFRESH_GRACE after the exchange, while the successor is unused, the same token leads to the same successor: two tabs may
        refresh at once, and a client may have lost the answer. Every other reuse ends the session: the token or its successor has been
        stolen.

        Raises:
            BadRefreshTokenError: The token is unknown, or its session has ended.
            RefreshTokenReusedError: The token was exchanged before the grace period.
            RefreshTokenSupersededError: The successor of the token has been used.
            TooManyRefreshesError: The session has been refreshed too often within an hour. The token stays valid.
            UnavailableError: The keys cannot be fetched.
        """
        token_hash, key = hash_secret(refresh_token), self._keys.refresh_key()
        successor = _derive_successor(key, refresh_token)
        rotated = self._sessions.rotate(token_hash, successor=Successor(hash_secret(successor), key.kid), lifetime=self._policy.lifetime)
        if rotated is None:
            return self._repeat_exchange(refresh_token)
        session, user = rotated
        return self._signed_in(user, session, successor)

    def _repeat_exchange(self, refresh_token: str) -> SignedIn:
        token_hash = hash_secret(refresh_token)
        exchange = self._sessions.get_exchange(token_hash)
        if exchange is None:
            raise BadRefreshTokenError
        if exchange.used_at is None:
            until = exchange.refused_until
            if until is not None and until > clock.now() and exchange.is_session_live:
                raise TooManyRefreshesError.until(until)
            raise BadRefreshTokenError
        is_late = exchange.successor_hash is None or clock.now() - exchange.used_at > REFRESH_GRACE
        if is_late or exchange.is_successor_used:
            self._sessions.revoke_reused(token_hash)
            raise RefreshTokenSupersededError if exchange.is_successor_used else RefreshTokenReusedError
        session = exchange.session
        key = self._keys.find_refresh_key(session.refresh_key_id or "")
        successor = None if key is None else _derive_successor(key, refresh_token)
        # A key that an operator replaced within the grace period cannot derive the successor again. That is no theft.
        if not exchange.is_session_live or successor is None or hash_secret(successor) != exchange.successor_hash:
            raise BadRefreshTokenError
        if not exchange.is_repeat_recorded:
            self._sessions.record_repeat(token_hash)
        return self._signed_in(exchange.user, session, successor)

    def sign_out(self, refresh_token: str) -> None:
        """End the session of a refresh token. An invalid token is not an error (RFC 7009, section 2.2)."""
        self._sessions.end_by_refresh_token(hash_secret(refresh_token))

    def sign_out_current(self, user: User) -> None:
        """End the session of the current request; do nothing when it was authenticated by an API key."""
        session_id = current_session_id()
        if session_id is not None:
            self._sessions.end(session_id, user_id=user.id, action="session.signed_out")

    def sign_out_everywhere(self, user: User) -> None:
        """Invalidate all sessions, access tokens and API keys of the user."""
        self._users.update(user.id, {}, action="user.signed_out_everywhere", ends_sessions=True)

    def revoke_all(self, administrator: User, user_id: UUID) -> None:
        """Invalidate all sessions, access tokens and API keys of a user; superusers only.

        Raises PermissionDeniedError, NotFoundError.
        """
        if not administrator.is_superuser:
            raise PermissionDeniedError
        self._users.update(user_id, {}, action="user.sessions_revoked", ends_sessions=True)

    def page_sessions(self, user: User, *, limit: int, after: Cursor | None) -> SessionPage:
        """Return one page of the user's active sessions, newest first. Raises MalformedRequestError for a cursor of another order."""
        if after is not None:
            after.value_for(_NEWEST_FIRST)
        rows = self._sessions.page_live(user, limit=limit + 1, after=after)
        sessions = rows[:limit]
        last = sessions[-1] if len(rows) > limit else None
        return SessionPage(sessions, None if last is None else Cursor(_NEWEST_FIRST, last.created_at, last.id))

    def page_sessions_of(self, administrator: User, user_id: UUID, *, limit: int, after: Cursor | None) -> SessionPage:
        """Return one page of the active sessions of any user; superusers only. Raises PermissionDeniedError, NotFoundError."""
        if not administrator.is_superuser:
            raise PermissionDeniedError
        return self.page_sessions(self._users.require(user_id), limit=limit, after=after)

    def revoke_of(self, administrator: User, user_id: UUID, session_id: UUID) -> None:
        """End one session of any user; superusers only. Raises PermissionDeniedError, NotFoundError."""
        if not administrator.is_superuser:
            raise PermissionDeniedError
        if self._sessions.end(session_id, user_id=user_id, action="session.revoked") is None:
            raise NotFoundError("Session not found", code="session_not_found")

    def revoke(self, user: User, session_id: UUID) -> None:
        """End one of the user's sessions. Raises NotFoundError."""
        if self._sessions.end(session_id, user_id=user.id, action="session.revoked") is None:
            raise NotFoundError("Session not found", code="session_not_found")

    def open_approved(self, user: User) -> SignedIn:
        """Open a session that the user has approved in another one."""
        return self.open(user)

    def open(self, user: User, *, attempt: AttemptKeys | None = None, details: Mapping[str, Any] | None = None) -> SignedIn:
        """Start a session for a user who was admitted. `attempt` names the counters of failed attempts to reset."""
        now, context, refresh_token = clock.now(), request_context(), new_secret()
        session = UserSession(
            id=uuid4(),
            user_id=user.id,
            token_epoch=user.token_epoch,
            created_at=now,
            last_used_at=now,
            expires_at=now + self._policy.lifetime,
            source_address=context.source_address,
            user_agent=context.user_agent,
        )
        signed_in = self._signed_in(user, session, refresh_token)
        self._sessions.open(session, hash_secret(refresh_token), attempt=attempt, details=details)
        return signed_in

    def _signed_in(self, user: User, session: UserSession, refresh_token: str) -> SignedIn:
        must_enrol = self._policy.factor.must_enrol(user)
        access_token = self._tokens.issue(user.id, session_id=session.id, token_epoch=session.token_epoch, must_enrol=must_enrol)
        return SignedIn(access_token, refresh_token, session_expires_at=session.expires_at)


def _derive_successor(key: SigningKey, refresh_token: str) -> str:
    return derive_secret(key.secret, purpose="refresh token", name=refresh_token)
