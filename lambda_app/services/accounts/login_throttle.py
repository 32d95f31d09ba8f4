"""Who may try a password, and how soon again."""

import ipaddress
import math
from enum import StrEnum

from sqlalchemy import Update

from lambda_app.core import clock
from lambda_app.core.errors import TooManyRequestsError
from lambda_app.core.request_context import request_context
from lambda_app.core.security.passwords import PasswordHasher
from lambda_app.models import Share, User
from lambda_app.repositories.accounts.sign_in_attempts import Admission, AttemptKeys, SignInAttemptRepository
from lambda_app.repositories.audit import AuditRepository, audit_entry
from lambda_app.schemas.accounts.users import normalise_email

IPV6_CUSTOMER_BITS = 64
"""One customer has at least this network, and could otherwise change the address at every attempt."""
TYPED_NAME_MAX_LENGTH = 254


class ThrottledError(TooManyRequestsError):
    """Too many wrong passwords from here."""

    code = "too_many_attempts"
    message = "Too many failed attempts; wait before the next one"


class Proof(StrEnum):
    """What a password is typed for; how the audit log names it."""

    SIGN_IN = "sign_in"
    CHANGE = "password_proof"
    """Before a change of the account, by somebody who is signed in already."""
    LINK = "share_password"


class LoginThrottle:
    """Lets a password be tried, unless this address tried too many wrong ones. Every failure is in the audit log."""

    def __init__(self, *, attempts: SignInAttemptRepository, audit: AuditRepository, passwords: PasswordHasher) -> None:
        self._attempts = attempts
        self._audit = audit
        self._passwords = passwords

    def try_password(self, *, email: str, password: str, proof: Proof) -> User | None:
        """Return the active user whose password it is, or None after the same work. Raises ThrottledError.

        The attempt counts until `release` takes it back.
        """
        # Of what was typed, only that it is an account's address: anything else may be a password in the wrong field.
        admission = self._admit(_keys(email), email=_normalised(email), proof=proof)
        user = admission.user
        subject = None if user is None else f"user:{user.id}"
        is_right = self._passwords.verify(password, user.hashed_password if user else None)
        if user is None or not is_right or not user.is_active:
            reason = "disabled" if is_right else "password"
            self._audit.add_durably(f"{proof}.failed", subject=subject, details={"reason": reason})
            return None
        return user

    def refuse(self, user: User, email: str, *, reason: str) -> None:
        """Keep, durably, that a right password was not enough to sign in, and take the attempt back."""
        entry = audit_entry(f"{Proof.SIGN_IN}.failed", subject=f"user:{user.id}", details={"reason": reason})
        self._attempts.reset_refused(_keys(email), entry)

    def try_link_password(self, share: Share, password: str) -> bool:
        """Tell whether it is the link's password. Raises ThrottledError. The attempt counts until it is forgiven, which a right one is."""
        keys = _link_keys(share)
        self._admit(keys, email=None, proof=Proof.LINK, subject=f"share:{share.id}")
        is_right = self._passwords.verify(password, share.hashed_password)
        if is_right:
            self._attempts.reset_durably(keys)
        return is_right

    def release(self, email: str) -> Update:
        """Return the statement that takes the attempt back because it was right."""
        return self._attempts.release(_keys(email))

    def reset(self, email: str) -> None:
        """Take the attempt back within the caller's transaction."""
        self._attempts.reset(_keys(email))

    def _admit(self, keys: AttemptKeys, *, email: str | None, proof: Proof, subject: str | None = None) -> Admission:
        admission = self._attempts.admit(keys, email=email)
        if admission.is_admitted:
            return admission
        until = admission.blocked_until
        if admission.is_first_refusal:
            known = subject if admission.user is None else f"user:{admission.user.id}"
            self._attempts.record_refusal(keys, audit_entry(f"{proof}.throttled", subject=known, details={"until": until}))
        wait = (until - clock.now()).total_seconds() if until else 1
        raise ThrottledError(headers={"Retry-After": str(max(1, math.ceil(wait)))})


def network_of(source_address: str | None) -> str:
    """Return what counts as one source: the IPv4 address, or the network of an IPv6 customer."""
    try:
        address = ipaddress.ip_address(source_address or "")
    except ValueError:
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((int(address), IPV6_CUSTOMER_BITS), strict=False))
    return str(address)


def _keys(email: str) -> AttemptKeys:
    name = _normalised(email) or email[:TYPED_NAME_MAX_LENGTH]
    return AttemptKeys.of(account=name, network=network_of(request_context().source_address))


def _link_keys(share: Share) -> AttemptKeys:
    return AttemptKeys.of(account=f"share:{share.id}", network=network_of(request_context().source_address))


def _normalised(email: str) -> str | None:
    try:
        return normalise_email(email)
    except ValueError:
        return None
