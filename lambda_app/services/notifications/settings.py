"""The notification settings of an account, and their change by a link in a mail."""

from collections.abc import Mapping
from typing import NamedTuple
from uuid import UUID

from lambda_app.core.errors import GoneError
from lambda_app.core.security.notification_tokens import NotificationTokens
from lambda_app.models import NotificationKind, User
from lambda_app.repositories.accounts.users import UserRepository
from lambda_app.repositories.notifications.settings import NotificationSettingRepository
from lambda_app.schemas.notifications import NotificationSettingsUpdate


class NotificationLinkError(GoneError):
    """The link of a mail is damaged, was sent to an earlier address, or does not fit what it was made for."""

    code = "link_expired"
    message = "This link does not work any more; sign in and use the settings of your account"


class AddressedUnsubscription(NamedTuple):
    """What a token turns off, and the language of the account's profile."""

    user_id: UUID
    kinds: list[NotificationKind]
    locale: str | None


class NotificationSettingService:
    """Reads and changes which mails an account gets."""

    def __init__(self, *, settings: NotificationSettingRepository, users: UserRepository, tokens: NotificationTokens) -> None:
        self._settings = settings
        self._users = users
        self._tokens = tokens

    def get(self, user: User) -> Mapping[NotificationKind, bool]:
        """Return the settings of the account."""
        return self._settings.get(user.id)

    def update(self, user: User, update: NotificationSettingsUpdate) -> Mapping[NotificationKind, bool]:
        """Change the settings that are set in `update`."""
        changes = {NotificationKind(name): value for name, value in update.model_dump(exclude_unset=True).items()}
        return self._settings.change(user.id, changes) if changes else self._settings.get(user.id)

    def require_unsubscription(self, token: str) -> AddressedUnsubscription:
        """Return what the token of a mail turns off, without turning it off. Raises NotificationLinkError, UnavailableError."""
        found = self._tokens.read_unsubscription(token)
        user = None if found is None else self._users.get(found.user_id)
        if found is None or user is None or not self._is_addressed_to(user, found.mailbox):
            raise NotificationLinkError
        return AddressedUnsubscription(user.id, [NotificationKind(kind) for kind in found.kinds], user.locale)

    def unsubscribe(self, token: str) -> AddressedUnsubscription:
        """Turn off the kinds of notifications that the token names. Idempotent. Raises NotificationLinkError, UnavailableError."""
        found = self.require_unsubscription(token)
        self._settings.turn_off(found.user_id, found.kinds)
        return found

    def _is_addressed_to(self, user: User, mailbox: str) -> bool:
        """Whether the account still has the address to which the mail was sent."""
        return self._tokens.mailbox_of(user.email) == mailbox
