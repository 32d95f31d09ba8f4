"""Password reset and verification of e-mail addresses, by tokens in mails."""

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from lambda_app.core import clock
from lambda_app.core.errors import GoneError, PermissionDeniedError
from lambda_app.core.mail import PLACEHOLDER, Mail
from lambda_app.core.request_context import request_context
from lambda_app.core.security.password_rules import validate_password_strength
from lambda_app.core.security.passwords import PasswordHasher
from lambda_app.core.security.random_tokens import hash_secret, new_secret
from lambda_app.models import MailPurpose, User
from lambda_app.repositories.accounts.identities import IdentityRepository
from lambda_app.repositories.accounts.mail_allowances import (
    MAIL_WINDOW,
    MAILS_BY_ACCOUNT,
    MailAllowanceRepository,
    MailRequester,
)
from lambda_app.repositories.accounts.mail_tokens import MailTokenRepository
from lambda_app.repositories.accounts.second_factors import SecondFactorRepository
from lambda_app.repositories.accounts.users import UserRepository
from lambda_app.repositories.sharing.named_access import NamedAccessRepository
from lambda_app.repositories.sharing.open_access import OpenAccessRepository
from lambda_app.services.accounts.request_limits import RequestLimits
from lambda_app.services.accounts.sessions import PasswordSignInClosedError
from lambda_app.services.accounts.users import AccountChange

RESET_LIFETIME = timedelta(minutes=30)
VERIFICATION_LIFETIME = timedelta(hours=24)


if RESET_LIFETIME < MAIL_WINDOW or VERIFICATION_LIFETIME < MAIL_WINDOW:
    raise ValueError("A token must not expire within the window of the mail limit: a user at the limit needs a valid token")


@dataclass(frozen=True, slots=True)
class MailPolicy:
    """Whether mail can be sent, the base URL of the links in it, and whether accounts can have passwords."""

    can_send: bool
    public_url: str
    accepts_passwords: bool


class MailTokenSpentError(GoneError):
    """The token was used, has expired, or never existed."""

    code = "link_expired"
    message = "This link has been used or has expired; request a new one"


class PasswordRequiredError(PermissionDeniedError):
    """The token is valid, but the request does not show that the confirming person controls the account."""

    code = "password_required"
    message = "Choose a password for this account and send it as `password`, or sign in to the account first"


_CHANGED = """The e-mail address of your account was changed. From now on, mail goes to the new address.

If this wasn't you, contact the support of this service at once.
"""


class RecoveryService:
    """Builds mails with tokens and redeems the tokens. The caller sends the mails, after the tokens are committed."""

    def __init__(  # noqa: PLR0913 - a parameter for each of its parts
        self,
        *,
        mail_tokens: MailTokenRepository,
        allowances: MailAllowanceRepository,
        users: UserRepository,
        identities: IdentityRepository,
        named_access: NamedAccessRepository,
        open_access: OpenAccessRepository,
        factors: SecondFactorRepository,
        passwords: PasswordHasher,
        policy: MailPolicy,
    ) -> None:
        self._mail_tokens = mail_tokens
        self._allowances = allowances
        self._limits = RequestLimits(allowances)
        self._users = users
        self._identities = identities
        self._named_access = named_access
        self._open_access = open_access
        self._factors = factors
        self._passwords = passwords
        self._policy = policy

    def start_password_reset(self, email: str) -> Mail | None:
        """Return the mail to send for a forgotten password: a placeholder if no account has the address.

        None when the mail limit is reached, which does not depend on whether there is an account.
        """
        self._require_passwords()
        if not self._limits.admit(MailPurpose.RESET_PASSWORD, email=email):
            return None
        mail = self._mail(
            email,
            MailPurpose.RESET_PASSWORD,
            lifetime=RESET_LIFETIME,
            subject="Reset your password",
            text="We received a request to reset your password. Choose a new password within 30 minutes:\n\n{link}\n\n"
            "If the address was never confirmed, the reset also closes the share links, file requests and public files of the account.\n\n"
            "If this wasn't you, ignore this mail: your password has not changed.\n",
        )
        return mail or PLACEHOLDER

    def complete_password_reset(self, token: str, password: str) -> None:
        """Set the new password, confirm the address, remove the linked identities and end every session.

        Raises MailTokenSpentError, WeakPasswordError.

        If the address was not confirmed before, another person may have registered it: everything that the account opened to others
        is closed too.
        """
        self._require_passwords()
        user = self._require_user(token, MailPurpose.RESET_PASSWORD)
        self._take_over(user, token, MailPurpose.RESET_PASSWORD, password)

    def start_email_verification(self, email: str) -> Mail | None:
        """Return the mail for confirming an address: a placeholder if no account needs it. None when the mail limit is reached."""
        if not self._limits.admit(MailPurpose.VERIFY_EMAIL, email=email):
            return None
        return self._verification(email) or PLACEHOLDER

    def build_registration_mail(self, user: User) -> Mail | None:
        """Return the mail for confirming the address of a new account; None where mail cannot be sent.

        No limit of mails applies: an address is registered only once, and registrations have a limit.
        """
        return self._verification(user.email) if self._policy.can_send else None

    def build_email_change_mails(self, change: AccountChange) -> list[Mail]:
        """Return the mails about a changed address: a notice to the old address, a confirmation request to the new one.

        The list is empty where mail cannot be sent. A mail is left out when the limit of the user who made the change is reached;
        the user can request the confirmation again later.
        """
        if change.previous_email is None or not self._policy.can_send:
            return []
        requester = MailRequester(f"user|{request_context().actor_id}", MAILS_BY_ACCOUNT)
        mails = []
        if self._allowances.consume("changed_email", email=change.previous_email, requester=requester):
            mails.append(Mail(to=change.previous_email, subject="Your e-mail address was changed", text=_CHANGED))
        if self._allowances.consume("change_email", email=change.user.email, requester=requester) and (
            mail := self._verification(change.user.email)
        ):
            mails.append(mail)
        return mails

    def _verification(self, email: str) -> Mail | None:
        return self._mail(
            email,
            MailPurpose.VERIFY_EMAIL,
            lifetime=VERIFICATION_LIFETIME,
            subject="Confirm your e-mail address",
            text="Confirm within 24 hours that this address is yours:\n\n{link}\n",
        )

    def complete_email_verification(self, token: str, *, caller: User | None, password: str | None) -> None:
        """Confirm the address of the token's account. From then on, the address names this account.

        The mail proves who reads the address, but not who registered it. So the request must also be made by the signed-in account
        or contain its current password. Any other password becomes the new one: then everything that the account opened to others
        is closed, and every session and API key ends.

        Raises MailTokenSpentError, PasswordRequiredError, WeakPasswordError, PasswordSignInClosedError.
        """
        user = self._require_user(token, MailPurpose.VERIFY_EMAIL)
        is_own = caller is not None and caller.id == user.id
        if not is_own and password is None:
            raise PasswordRequiredError
        if not is_own:
            self._require_passwords()
        if is_own or self._passwords.verify(password or "", user.hashed_password):
            self._redeem(token, MailPurpose.VERIFY_EMAIL)
            self._named_access.activate(user.id, email=user.email)
            self._users.update(user.id, {"email_verified_at": clock.now()}, action="user.email_verified")
        else:
            self._take_over(user, token, MailPurpose.VERIFY_EMAIL, password or "")

    def _require_passwords(self) -> None:
        if not self._policy.accepts_passwords:
            raise PasswordSignInClosedError

    def _take_over(self, user: User, token: str, purpose: MailPurpose, password: str) -> None:
        """Redeem the token, set the password, confirm the address, remove the linked identities and end every session."""
        # A weak password is refused before the token is redeemed, so the user can try again with the same link.
        validate_password_strength(password, email=user.email)
        hashed_password = self._passwords.hash(password)
        details: dict[str, Any] = {"by": "mail"}
        is_unproven = user.email_verified_at is None
        # Before the account is locked: transitions of files lock the file first.
        closed = Counter(self._open_access.close_all(user.id) if is_unproven else {})
        self._redeem(token, purpose)
        if is_unproven:
            # What was committed between the two. Requests that come later see that their credentials have ended (`current_user`).
            closed.update(self._open_access.close_all(user.id))
            details["closed"] = dict(closed)
            if not user.had_verified_email:
                # Another person may have set it up. Otherwise the address may be mistyped, and the factor still protects the account.
                self._factors.clear(user.id, action="second_factor.reset")
        # Another person may have linked them. The owner links them again; a provider that is trusted for addresses does so by itself.
        details["identities"] = self._identities.remove_all(user.id)
        self._mail_tokens.invalidate_all(user.id, MailPurpose.RESET_PASSWORD)
        self._named_access.activate(user.id, email=user.email)
        changes = {"hashed_password": hashed_password, "email_verified_at": user.email_verified_at or clock.now()}
        self._users.update(user.id, changes, action="password.reset", details=details, ends_sessions=True)

    def _mail(self, email: str, purpose: MailPurpose, *, lifetime: timedelta, subject: str, text: str) -> Mail | None:
        token = new_secret()
        user = self._mail_tokens.add_for(email, purpose, token_hash=hash_secret(token), lifetime=lifetime)
        # Browsers do not send the fragment, so the token appears neither in the page's access log nor in a Referer header.
        link = f"{self._policy.public_url}/{purpose.replace('_', '-')}#{urlencode({'token': token})}"
        return None if user is None else Mail(to=user.email, subject=subject, text=text.format(link=link), link=link)

    def _require_user(self, token: str, purpose: MailPurpose) -> User:
        user = self._mail_tokens.get_user(hash_secret(token), purpose)
        if user is None or (purpose is MailPurpose.VERIFY_EMAIL and user.email_verified):
            raise MailTokenSpentError
        return user

    def _redeem(self, token: str, purpose: MailPurpose) -> None:
        # Valid a moment ago; a concurrent request may have used it up.
        if self._mail_tokens.consume(hash_secret(token), purpose) is None:
            raise MailTokenSpentError
