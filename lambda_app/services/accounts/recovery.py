"""What is proved by reading one's mail: a forgotten password's reset, and that an address is one's own."""

from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlencode

from lambda_app.core import clock
from lambda_app.core.errors import GoneError
from lambda_app.core.mail import Mail
from lambda_app.core.request_context import request_context
from lambda_app.core.security.password_rules import refuse_weak_password
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
    raise ValueError("Whoever is refused another link must have one that is still good")


@dataclass(frozen=True, slots=True)
class MailPolicy:
    """Whether mail can be sent, and the page that the links in it lead to."""

    can_send: bool
    public_url: str


class MailTokenSpentError(GoneError):
    """The link was used, is too old, or was never ours."""

    code = "link_expired"
    message = "This link has been used or has expired; ask for a new one"


_CHANGED = """The e-mail address of your account is another one from now on, and mail for it goes there.

If it was not you, tell whoever runs this service at once.
"""


class RecoveryService:
    """Makes mails with tokens, and takes the tokens back. It sends nothing: that happens when the token is surely kept."""

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

    def start_reset(self, email: str) -> Mail | None:
        """Return the mail to send for a forgotten password; None when there is nobody to send it to, or there was enough of it."""
        if not self._allowances.take(MailPurpose.RESET_PASSWORD, email=email, asker=_network()):
            return None
        return self._mail(
            email,
            MailPurpose.RESET_PASSWORD,
            lifetime=RESET_LIFETIME,
            subject="Reset your password",
            text="Somebody, probably you, has forgotten the password of this account. Choose a new one within 30 minutes:\n\n{link}\n\n"
            "If it was not you, nothing has changed.\n",
        )

    def finish_reset(self, token: str, password: str) -> None:
        """Set the new password and end every session. Raises MailTokenSpentError, WeakPasswordError."""
        user = self._use(token, MailPurpose.RESET_PASSWORD)
        # Refused after the token was looked at, and taken back with it: the link stays good for a better password.
        refuse_weak_password(password, email=user.email)
        changes = {
            "hashed_password": self._passwords.hash(password),
            "token_epoch": User.token_epoch + 1,
            "email_verified_at": user.email_verified_at or clock.now(),
        }
        self._mail_tokens.drop_all_of(user.id, MailPurpose.RESET_PASSWORD)
        self._users.update(user.id, changes, action="password.reset", details={"by": "mail"})

    def start_verification(self, email: str) -> Mail | None:
        """Return the mail that asks to confirm an address; None when there is nobody to ask, or there was enough of it."""
        is_allowed = self._allowances.take(MailPurpose.VERIFY_EMAIL, email=email, asker=_network())
        return self._verification(email) if is_allowed else None

    def confirm_registration(self, user: User) -> Mail | None:
        """Return the mail that asks to confirm the address of a new account. It needs no limit: an address is registered once."""
        return self._verification(user.email)

    def confirm_change(self, change: AccountChange) -> list[Mail]:
        """Return the mails about an address that was changed: the new one is to be confirmed, the old one is told.

        None where no mail can be sent, or whoever changed it has had enough of it; the new address can still ask to be confirmed.
        """
        if change.address_before is None or not self._policy.can_send:
            return []
        asker = MailRequester(f"user|{request_context().actor_id}", MAILS_BY_ACCOUNT)
        mails = []
        if self._allowances.take("changed_email", email=change.address_before, asker=asker):
            mails.append(Mail(to=change.address_before, subject="Your e-mail address was changed", text=_CHANGED))
        if self._allowances.take("change_email", email=change.user.email, asker=asker) and (mail := self._verification(change.user.email)):
            mails.append(mail)
        return mails

    def _verification(self, email: str) -> Mail | None:
        return self._mail(
            email,
            MailPurpose.VERIFY_EMAIL,
            lifetime=VERIFICATION_LIFETIME,
            subject="Confirm your e-mail address",
            text="Confirm within a day that this address is yours:\n\n{link}\n",
        )

    def finish_verification(self, token: str) -> None:
        """Note that the address is its account's. Raises MailTokenSpentError."""
        user = self._use(token, MailPurpose.VERIFY_EMAIL)
        self._users.update(user.id, {"email_verified_at": clock.now()}, action="user.email_verified")

    def _mail(self, email: str, purpose: MailPurpose, *, lifetime: timedelta, subject: str, text: str) -> Mail | None:
        token = new_secret()
        kept = self._mail_tokens.add_for(email, purpose, token_hash=hash_secret(token), lifetime=lifetime)
        # In the fragment, which a browser sends to nobody: neither the page's log nor a Referer gets to see it.
        link = f"{self._policy.public_url}/{purpose.replace('_', '-')}#{urlencode({'token': token})}"
        return None if kept is None else Mail(to=kept.email, subject=subject, text=text.format(link=link), link=link)

    def _use(self, token: str, purpose: MailPurpose) -> User:
        user = self._mail_tokens.use(hash_secret(token), purpose)
        if user is None:
            raise MailTokenSpentError
        return user


def _network() -> MailRequester:
    return MailRequester(f"network|{network_of(request_context().source_address)}", MAILS_BY_NETWORK)
