"""Rate limiting of password attempts."""

import ipaddress
from datetime import timedelta
from enum import StrEnum

from lambda_app.core import clock
from lambda_app.core.addresses import parse_address
from lambda_app.core.errors import PermissionDeniedError, TooManyRequestsError
from lambda_app.core.request_context import current_session_id, request_context
from lambda_app.core.security.passwords import PasswordHasher
from lambda_app.models import Share, User
from lambda_app.repositories.accounts.sessions import SessionRepository
from lambda_app.repositories.accounts.sign_in_attempts import Admission, AttemptKeys, SignInAttemptRepository
from lambda_app.repositories.audit import AuditRepository, audit_entry
from lambda_app.schemas.accounts.users import normalise_email

IPV6_CUSTOMER_BITS = (64, 56, 48)
"""Prefix lengths in bits that count as one source. Providers assign at least a /64, often a /56 or a /48, within which a client can
change its address."""
TYPED_NAME_MAX_LENGTH = 254
PROOF_LIFETIME = timedelta(minutes=5)
"""How long the proof of a session is fresh."""


class ThrottledError(TooManyRequestsError):
    """Too many failed attempts from this network or for this account."""

    code = "too_many_attempts"
    message = "Too many failed attempts; wait before you try again"


class CurrentPasswordError(PermissionDeniedError):
    """A change of the account needs the current password."""

    code = "current_password_required"
    message = "The current password is missing or wrong"


class FreshSignInRequiredError(PermissionDeniedError):
    """A change of the account needs a proof of the user, and the account has no password or the change takes none."""

    code = "fresh_sign_in_required"
    message = "Prove first who you are: by POST /users/me/proof with your password, or with a new sign-in at a linked provider"


class PasswordPurpose(StrEnum):
    """What a password is submitted for. The values are prefixes of actions in the audit log."""

    SIGN_IN = "sign_in"
    CHANGE = "password_proof"
    """A signed-in user confirms a change of the account with the current password."""
    LINK = "share_password"
    CODE = "second_factor"
    """A one-time code after the password."""
    DEVICE = "device_login"
    """The code of a program that waits for approval."""


class LoginThrottle:
    """Verifies passwords and limits the rate of failed attempts. Each failure is written to the audit log."""

    def __init__(
        self, *, attempts: SignInAttemptRepository, sessions: SessionRepository, audit: AuditRepository, passwords: PasswordHasher
    ) -> None:
        self._attempts = attempts
        self._sessions = sessions
        self._audit = audit
        self._passwords = passwords

    def verify_password(self, *, email: str, password: str, purpose: PasswordPurpose) -> User | None:
        """Return the active user with this address and password; otherwise None, in the same time. Raises ThrottledError.

        The attempt counts as failed until the counters of `attempt_keys` are reset.
        """
        # The audit log records an account id, never the submitted text: it may be a password typed into the wrong field.
        admission = self._admit(attempt_keys(email), email=_normalised(email), purpose=purpose)
        user = admission.user
        subject = None if user is None else f"user:{user.id}"
        is_right = self._passwords.verify(password, user.hashed_password if user else None)
        # The owner of an account that is going to be deleted may sign in, to cancel that: see `SessionService.verify_credentials`.
        is_open = user is not None and (user.is_active or (user.deletion_is_own and purpose is PasswordPurpose.SIGN_IN))
        if user is None or not is_right or not is_open:
            reason = "disabled" if is_right else "password"
            self._audit.add_durably(f"{purpose}.failed", subject=subject, details={"reason": reason})
            return None
        return user

    def record_refused_sign_in(self, user: User, *, reason: str) -> None:
        """Audit a sign-in that was refused despite the correct password, in a transaction of its own.

        The attempt stays counted: otherwise anyone with an unverified account could fill the audit log and keep the hash busy.
        """
        self._audit.add_durably(f"{PasswordPurpose.SIGN_IN}.failed", subject=f"user:{user.id}", details={"reason": reason})

    def require_password(self, user: User, password: str | None, *, purpose: PasswordPurpose) -> None:
        """Return if it is the current password of the signed-in user. Without one, a fresh proof of the current session is enough.

        Throttled like a sign-in: otherwise an attacker with a stolen access token could guess the password here without limit.

        Raises CurrentPasswordError, FreshSignInRequiredError for an account without a password, ThrottledError.
        """
        if password is None and self.has_fresh_proof(user):
            return
        if password is None and user.hashed_password is None:
            raise FreshSignInRequiredError
        if password is None or self.verify_password(email=user.email, password=password, purpose=purpose) is None:
            raise CurrentPasswordError
        self.reset(user.email)

    def has_fresh_proof(self, user: User) -> bool:
        """Whether the user proved in the current session, within PROOF_LIFETIME, who they are. Never with an API key."""
        session_id = current_session_id()
        return session_id is not None and self._sessions.has_proof(session_id, user_id=user.id, since=clock.now() - PROOF_LIFETIME)

    def count_code(self, user: User) -> None:
        """Count an attempt with a one-time code, until `reset_code`. Raises ThrottledError.

        Only a caller who knows the password can submit a code, so the attempts from all networks are counted together: a code has six
        digits, and an attacker with many addresses must not have more attempts than one with a single address.
        """
        self._admit(_code_keys(user), email=None, purpose=PasswordPurpose.CODE, subject=f"user:{user.id}")

    def reset_code(self, user: User) -> None:
        """Take the attempt back after its success, and commit."""
        self._attempts.reset_durably(_code_keys(user))

    def count_user_code(self, user: User) -> None:
        """Count an attempt with the code of a program, until `reset_user_code`. Raises ThrottledError.

        A code has 34 bits and people type it. A user who guesses the code of another person's program could approve it, and get the files
        that the program uploads (RFC 8628, section 5.1).
        """
        self._admit(_user_code_keys(user), email=None, purpose=PasswordPurpose.DEVICE, subject=f"user:{user.id}")

    def reset_user_code(self, user: User) -> None:
        """Take the attempt back after its success, and commit."""
        self._attempts.reset_durably(_user_code_keys(user))

    def record_wrong_user_code(self, user: User) -> None:
        """Audit a wrong code of a program, in a transaction of its own."""
        self._audit.add_durably(f"{PasswordPurpose.DEVICE}.failed", subject=f"user:{user.id}")

    def verify_link_password(self, share: Share, password: str) -> bool:
        """Return whether this is the link's password; if so, reset the counters. Raises ThrottledError."""
        keys = _link_keys(share)
        self._admit(keys, email=None, purpose=PasswordPurpose.LINK, subject=f"share:{share.id}")
        is_right = self._passwords.verify(password, share.hashed_password)
        if is_right:
            self._attempts.reset_durably(keys)
        return is_right

    def reset(self, email: str) -> None:
        """Reset the counters after a successful attempt and commit, even if the request is refused later."""
        self._attempts.reset_durably(attempt_keys(email))

    def _admit(self, keys: AttemptKeys, *, email: str | None, purpose: PasswordPurpose, subject: str | None = None) -> Admission:
        admission = self._attempts.admit(keys, email=email)
        if admission.is_admitted:
            return admission
        until = admission.blocked_until
        if admission.is_first_refusal:
            subject = subject if admission.user is None else f"user:{admission.user.id}"
            self._attempts.record_refusal(keys, audit_entry(f"{purpose}.throttled", subject=subject, details={"until": until}))
        raise ThrottledError.until(until)


def network_of(source_address: str | None) -> str:
    """Return the network that counts as one source: the IPv4 address, or the /64 network of an IPv6 address."""
    return networks_of(source_address)[0]


def networks_of(source_address: str | None) -> tuple[str, ...]:
    """Return the networks that are counted: the IPv4 address, or the /64, /56 and /48 networks of an IPv6 address."""
    address = parse_address(source_address)
    if address is None:
        return ("unknown",)
    if isinstance(address, ipaddress.IPv6Address):
        return tuple(str(ipaddress.ip_network((int(address), bits), strict=False)) for bits in IPV6_CUSTOMER_BITS)
    return (str(address),)


def attempt_keys(email: str) -> AttemptKeys:
    """Return the counters of a sign-in attempt with this address, from the network of the current request."""
    name = _normalised(email) or email.strip()[:TYPED_NAME_MAX_LENGTH]
    return _keys_of(name)


def _link_keys(share: Share) -> AttemptKeys:
    return _keys_of(f"share:{share.id}")


def _code_keys(user: User) -> AttemptKeys:
    return AttemptKeys.of(account=f"code:{user.id}", network=f"code:{user.id}")


def _user_code_keys(user: User) -> AttemptKeys:
    return AttemptKeys.of(account=f"device:{user.id}", network=f"device:{user.id}")


def _keys_of(account: str) -> AttemptKeys:
    network, *wider = networks_of(request_context().source_address)
    return AttemptKeys.of(account=account, network=network, wider=wider)


def _normalised(email: str) -> str | None:
    try:
        return normalise_email(email)
    except ValueError:
        return None
