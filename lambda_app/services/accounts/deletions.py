"""Deletion of accounts, after a period of grace in which it can be cancelled (docs/adr/0036-account-deletion.md)."""

from datetime import timedelta
from uuid import UUID

from lambda_app.core import clock
from lambda_app.core.errors import ConflictError, NotFoundError, PermissionDeniedError
from lambda_app.core.mail import Mail
from lambda_app.models import User
from lambda_app.repositories.accounts.deletions import AccountDeletionRepository
from lambda_app.repositories.accounts.users import UserRepository
from lambda_app.services.accounts.login_throttle import LoginThrottle, PasswordPurpose
from lambda_app.services.accounts.second_factor import SecondFactorVerifier

_OWN_MAIL = """You asked us to delete your account. It is closed now, and will be deleted with all files, links and file requests on {at}.

If this wasn't you, or you have changed your mind, sign in before then and choose to keep the account.
"""
_ADMINISTRATOR_MAIL = """An administrator has closed your account. It will be deleted with all files, links and file requests on {at}.

If you think that this is a mistake, contact the support of this service before then.
"""


class LastSuperuserError(ConflictError):
    """The only active superuser cannot leave."""

    code = "last_superuser"
    message = "You are the only administrator; make another account an administrator first"


class NoDeletionError(ConflictError):
    """No deletion of the account was requested, or it has begun."""

    code = "no_deletion_pending"
    message = "This account is not going to be deleted"


class AccountDeletionService:
    """Requests and cancels the deletion of accounts. The sweep deletes them when they are due."""

    def __init__(
        self,
        *,
        deletions: AccountDeletionRepository,
        users: UserRepository,
        login_throttle: LoginThrottle,
        second_factor: SecondFactorVerifier,
        grace: timedelta,
    ) -> None:
        self._deletions = deletions
        self._users = users
        self._login_throttle = login_throttle
        self._second_factor = second_factor
        self._grace = grace

    def request(self, editor: User, user_id: UUID, *, current_password: str | None, otp: str | None) -> tuple[User, Mail]:
        """Close the account and schedule its deletion: the editor's own, or any account for a superuser.

        Return the account and the mail to its owner. Everything that the account opened to others is closed, and its sessions, access
        tokens and API keys end. Idempotent, except that a request of a superuser can no longer be cancelled by the owner.

        Raises PermissionDeniedError, CurrentPasswordError, SecondFactorRequiredError, BadSecondFactorError, ThrottledError, NotFoundError,
        LastSuperuserError.
        """
        is_own = editor.id == user_id
        if not is_own and not editor.is_superuser:
            raise PermissionDeniedError
        self._login_throttle.require_password(editor, current_password, purpose=PasswordPurpose.CHANGE)
        self._second_factor.require(editor, otp)
        if not is_own:
            self._users.require(user_id)
        at = clock.now() + self._grace
        user = self._deletions.request(user_id, at=at, own_epoch=editor.token_epoch if is_own else None)
        if user is None:
            raise LastSuperuserError
        text = (_OWN_MAIL if is_own else _ADMINISTRATOR_MAIL).format(at=f"{at:%Y-%m-%d %H:%M} UTC")
        return user, Mail(to=user.email, subject="Your account will be deleted", text=text)

    def cancel(self, administrator: User, user_id: UUID) -> User:
        """Enable an account again whose deletion was requested. Superusers only.

        Raises PermissionDeniedError, NotFoundError, NoDeletionError.
        """
        if not administrator.is_superuser:
            raise PermissionDeniedError
        if self._users.get(user_id) is None:
            raise NotFoundError("User not found", code="user_not_found")
        user = self._deletions.cancel(user_id)
        if user is None:
            raise NoDeletionError
        return user
