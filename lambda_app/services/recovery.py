"""What is proved by reading one's mail: a forgotten password's reset, and that an address is one's own."""

from datetime import timedelta
from urllib.parse import urlencode

from lambda_app.core import clock
from lambda_app.core.errors import GoneError
from lambda_app.core.mail import Mail
from lambda_app.core.security.opaque import hash_secret, new_secret
from lambda_app.core.security.password_rules import refuse_weak_password
from lambda_app.core.security.passwords import PasswordHasher
from lambda_app.models import MailPurpose, User
from lambda_app.repositories.mail_tokens import MailTokenRepository
from lambda_app.repositories.users import UserRepository

RESET_LIFETIME = timedelta(minutes=30)
VERIFICATION_LIFETIME = timedelta(hours=24)


class MailTokenSpentError(GoneError):
    """The link was used, is too old, or was never ours."""

    code = "link_expired"
    message = "This link has been used or has expired; ask for a new one"


class RecoveryService:
    """Makes mails with tokens, and takes the tokens back. It sends nothing: that happens when the token is surely kept."""

    def __init__(self, *, mail_tokens: MailTokenRepository, users: UserRepository, passwords: PasswordHasher, public_url: str) -> None:
        self._mail_tokens = mail_tokens
        self._users = users
        self._passwords = passwords
        self._public_url = public_url

    def start_reset(self, email: str) -> Mail | None:
        """Return the mail to send for a forgotten password; None when there is nobody to send it to."""
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
        """Return the mail that asks to confirm an address; None when there is nobody to ask."""
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
        link = f"{self._public_url}/{purpose.replace('_', '-')}#{urlencode({'token': token})}"
        return None if kept is None else Mail(to=kept.email, subject=subject, text=text.format(link=link), link=link)

    def _use(self, token: str, purpose: MailPurpose) -> User:
        user = self._mail_tokens.use(hash_secret(token), purpose)
        if user is None:
            raise MailTokenSpentError
        return user
