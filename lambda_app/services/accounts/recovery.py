"""Password reset and verification of e-mail addresses, by tokens in mails."""

from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlencode

from lambda_app.core import clock
from lambda_app.core.errors import GoneError
from lambda_app.core.mail import Mail
from lambda_app.core.request_context import request_context
from lambda_app.core.security.password_rules import validate_password_strength
from lambda_app.core.security.passwords import PasswordHasher
from lambda_app.core.security.random_tokens import hash_secret, new_secret
from lambda_app.models import MailPurpose, User
from lambda_app.repositories.accounts.mail_allowances import (
    MAIL_WINDOW,
    MAILS_BY_ACCOUNT,
    MAILS_BY_NETWORK,
    MailAllowanceRepository,
    MailRequester,
)
from lambda_app.repositories.accounts.mail_tokens import MailTokenRepository
from lambda_app.repositories.accounts.users import UserRepository
from lambda_app.services.accounts.login_throttle import network_of
from lambda_app.services.accounts.users import AccountChange

RESET_LIFETIME = timedelta(minutes=30)
VERIFICATION_LIFETIME = timedelta(hours=24)


if RESET_LIFETIME < MAIL_WINDOW or VERIFICATION_LIFETIME < MAIL_WINDOW:
    raise ValueError("A token must not expire within the window of the mail limit: a user at the limit needs a valid token")


@dataclass(frozen=True, slots=True)
class MailPolicy:
    """Whether mail can be sent, and the base URL of the links in it."""

    can_send: bool
    public_url: str


class MailTokenSpentError(GoneError):
    """The token was used, has expired, or never existed."""

    code = "link_expired"
    message = "This link has been used or has expired; request a new one"


_CHANGED = """The e-mail address of your account was changed. From now on, mail goes to the new address.

If this wasn't you, contact the support of this service at once.
"""


class RecoveryService:
    """Builds mails with tokens and redeems the tokens. The caller sends the mails, after the tokens are committed."""

    def __init__(
        self,
        *,
        mail_tokens: MailTokenRepository,
        allowances: MailAllowanceRepository,
        users: UserRepository,
        passwords: PasswordHasher,
        policy: MailPolicy,
    ) -> None:
        self._mail_tokens = mail_tokens
        self._allowances = allowances
        self._users = users
        self._passwords = passwords
        self._policy = policy

    def start_password_reset(self, email: str) -> Mail | None:
        """Return the mail to send for a forgotten password; None when the account does not exist or the mail limit is reached."""
        if not self._allowances.consume(MailPurpose.RESET_PASSWORD, email=email, requester=_network()):
            return None
        return self._mail(
            email,
            MailPurpose.RESET_PASSWORD,
            lifetime=RESET_LIFETIME,
            subject="Reset your password",
            text="We received a request to reset your password. Choose a new password within 30 minutes:\n\n{link}\n\n"
            "If this wasn't you, ignore this mail: your password has not changed.\n",
        )

    def complete_password_reset(self, token: str, password: str) -> None:
        """Set the new password and end every session. Raises MailTokenSpentError, WeakPasswordError."""
        user = self._redeem(token, MailPurpose.RESET_PASSWORD)
        # A weak password rolls the redemption back, so the user can try again with the same link.
        validate_password_strength(password, email=user.email)
        changes = {
            "hashed_password": self._passwords.hash(password),
            "email_verified_at": user.email_verified_at or clock.now(),
        }
        self._mail_tokens.invalidate_all(user.id, MailPurpose.RESET_PASSWORD)
        self._users.update(user.id, changes, action="password.reset", details={"by": "mail"}, ends_sessions=True)

    def start_email_verification(self, email: str) -> Mail | None:
        """Return the mail for confirming an address; None when no account needs it or the mail limit is reached."""
        is_allowed = self._allowances.consume(MailPurpose.VERIFY_EMAIL, email=email, requester=_network())
        return self._verification(email) if is_allowed else None

    def build_registration_mail(self, user: User) -> Mail | None:
        """Return the mail for confirming the address of a new account. No limit applies: an address is registered only once."""
        return self._verification(user.email)

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

    def complete_email_verification(self, token: str) -> None:
        """Mark the address of the token's account as verified. Raises MailTokenSpentError."""
        user = self._redeem(token, MailPurpose.VERIFY_EMAIL)
        self._users.update(user.id, {"email_verified_at": clock.now()}, action="user.email_verified")

    def _mail(self, email: str, purpose: MailPurpose, *, lifetime: timedelta, subject: str, text: str) -> Mail | None:
        token = new_secret()
        user = self._mail_tokens.add_for(email, purpose, token_hash=hash_secret(token), lifetime=lifetime)
        # Browsers do not send the fragment, so the token appears neither in the page's access log nor in a Referer header.
        link = f"{self._policy.public_url}/{purpose.replace('_', '-')}#{urlencode({'token': token})}"
        return None if user is None else Mail(to=user.email, subject=subject, text=text.format(link=link), link=link)

    def _redeem(self, token: str, purpose: MailPurpose) -> User:
        user = self._mail_tokens.consume(hash_secret(token), purpose)
        if user is None:
            raise MailTokenSpentError
        return user


def _network() -> MailRequester:
    return MailRequester(f"network|{network_of(request_context().source_address)}", MAILS_BY_NETWORK)
