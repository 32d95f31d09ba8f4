"""User accounts: registration, reading and changes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from lambda_app.core import clock
from lambda_app.core.errors import ConflictError, NotFoundError, PermissionDeniedError, TooManyRequestsError
from lambda_app.core.security.password_rules import validate_password_strength
from lambda_app.core.security.passwords import PasswordHasher
from lambda_app.models import User
from lambda_app.repositories.accounts.identities import IdentityRepository
from lambda_app.repositories.accounts.mail_allowances import MAIL_WINDOW
from lambda_app.repositories.accounts.users import UserRepository
from lambda_app.repositories.sharing.named_access import NamedAccessRepository
from lambda_app.repositories.sharing.shares import ShareRepository
from lambda_app.schemas.accounts.users import UserCreate, UserFilter, UserSelfUpdate, UserUpdate, normalise_email
from lambda_app.schemas.files.file_lists import FileOrder, Order
from lambda_app.schemas.page import Cursor
from lambda_app.services.accounts.login_throttle import LoginThrottle, PasswordPurpose
from lambda_app.services.accounts.request_limits import RequestLimits
from lambda_app.services.accounts.second_factor import SecondFactorVerifier
from lambda_app.services.accounts.sessions import PasswordSignInClosedError
from lambda_app.services.sharing.recipient_lookup import RecipientLookup

ROLE_FIELDS = frozenset({"is_active", "is_superuser"})
"""Fields that only a superuser can change, and not on their own account."""
QUOTA_FIELDS = frozenset({"quota_bytes", "quota_files"})
"""Fields that only a superuser can change; None means the default quota."""
PROFILE_FIELDS = frozenset({"display_name", "locale", "time_zone", "shows_name_on_links"})
"""Fields that users set for themselves. Superusers can clear them, because others read the name."""
PROTECTED_FIELDS = frozenset({"email", "password", "is_superuser", "requires_second_factor"})
"""Fields that decide who controls an account and with which power. Changing them requires the editor's own current password, also for
another user's account: a stolen session of a superuser must not suffice to take accounts over."""
REGISTRATION_KIND = "register"
"""The kind under which `RequestLimits` counts registrations."""


class RegistrationClosedError(PermissionDeniedError):
    """Registration is closed: only a superuser can create accounts."""

    code = "registration_closed"
    message = "Registration is closed; only an administrator can create accounts"


class TooManyRegistrationsError(TooManyRequestsError):
    """Too many accounts were registered from this network or for this mailbox."""

    code = "too_many_registrations"
    message = "Too many registrations from this network or for this mailbox; try again in half an hour"


@dataclass(frozen=True, slots=True)
class AccountChange:
    """An account after a change, and its previous e-mail address if the change replaced it."""

    user: User
    previous_email: str | None


_OLDEST_FIRST = FileOrder.of(Order.OLDEST_FIRST)


class UserPage(NamedTuple):
    """Accounts, and the cursor of the next page; None on the last page."""

    users: list[User]
    next_cursor: Cursor | None


class UserService:
    """Creates, reads and changes accounts."""

    def __init__(  # noqa: PLR0913 - a parameter for each of its parts
        self,
        *,
        users: UserRepository,
        identities: IdentityRepository,
        shares: ShareRepository,
        passwords: PasswordHasher,
        login_throttle: LoginThrottle,
        second_factor: SecondFactorVerifier,
        limits: RequestLimits,
        recipient_lookup: RecipientLookup,
        named_access: NamedAccessRepository,
        open_registration: bool,
        requires_verified_email: bool,
        accepts_passwords: bool,
    ) -> None:
        self._users = users
        self._identities = identities
        self._shares = shares
        self._passwords = passwords
        self._login_throttle = login_throttle
        self._second_factor = second_factor
        self._limits = limits
        self._recipient_lookup = recipient_lookup
        self._named_access = named_access
        self._open_registration = open_registration
        self._requires_verified_email = requires_verified_email
        self._accepts_passwords = accepts_passwords

    def register(self, registration: UserCreate, *, registrar: User | None) -> User:
        """Create an account. `registrar` is the signed-in caller, if any; when registration is closed, it must be a superuser.

        Registrations are counted, except by superusers, before the password is hashed and before the result reveals whether the
        address has an account.

        Raises RegistrationClosedError, PasswordSignInClosedError, WeakPasswordError, TooManyRegistrationsError, EmailTakenError.
        """
        is_by_superuser = registrar is not None and registrar.is_superuser
        if not self._open_registration and not is_by_superuser:
            raise RegistrationClosedError
        if not self._accepts_passwords and not is_by_superuser:
            raise PasswordSignInClosedError
        validate_password_strength(registration.password, email=registration.email)
        if not is_by_superuser and not self._limits.admit(REGISTRATION_KIND, email=registration.email):
            raise TooManyRegistrationsError.until(clock.now() + MAIL_WINDOW)
        return self._create(registration, is_superuser=False)

    def register_invited(self, registration: UserCreate) -> User:
        """Create an account with a confirmed address. The caller has verified an invitation that was mailed to it.

        Raises EmailTakenError, WeakPasswordError.
        """
        validate_password_strength(registration.password, email=registration.email)
        return self._create(registration, is_superuser=False, is_confirmed=True)

    def create_superuser(self, registration: UserCreate) -> User:
        """Create a superuser. For the operator's command line only. Raises EmailTakenError, WeakPasswordError."""
        validate_password_strength(registration.password, email=registration.email)
        # The operator enters the address, so it needs no verification.
        return self._create(registration, is_superuser=True, is_confirmed=True)

    def reset_password(self, email: str, password: str) -> User:
        """Set a new password, remove the linked identities and end all sessions of the account.

        For the operator's command line only.

        Raises NotFoundError, WeakPasswordError.
        """
        user = self._find(email)
        if user is None:
            raise NotFoundError("User not found", code="user_not_found")
        validate_password_strength(password, email=user.email)
        changes = {"hashed_password": self._passwords.hash(password)}
        # Locked first, so that no request of an ended session links another identity meanwhile.
        self._users.lock(user.id)
        details = {"by": "operator", "identities": self._identities.remove_all(user.id)}
        return self._users.update(user.id, changes, action="password.reset", details=details, ends_sessions=True)

    def page_users(self, viewer: User, filters: UserFilter, *, skip: int, limit: int, after: Cursor | None) -> UserPage:
        """Return one page of accounts in order of registration; superusers only. Raises PermissionDeniedError, MalformedRequestError."""
        if not viewer.is_superuser:
            raise PermissionDeniedError
        if after is not None:
            after.value_for(_OLDEST_FIRST)
        rows = self._users.list_page(filters, skip=skip, limit=limit + 1, after=after)
        users = rows[:limit]
        return UserPage(users, Cursor(_OLDEST_FIRST, users[-1].created_at, users[-1].id) if len(rows) > limit else None)

    def get_user(self, viewer: User, user_id: UUID) -> User:
        """Return an account: the viewer's own, or any account for a superuser. Raises PermissionDeniedError, NotFoundError."""
        if viewer.id == user_id:
            return viewer
        if not viewer.is_superuser:
            raise PermissionDeniedError
        return self._users.require(user_id)

    def update_user(self, editor: User, user_id: UUID, update: UserSelfUpdate | UserUpdate) -> AccountChange:
        """Change an account.

        Raises:
            PermissionDeniedError: the account belongs to another user, or a field is for superusers only; also when a
                field of `PROTECTED_FIELDS` is changed without the editor's correct current password.
            SecondFactorRequiredError, BadSecondFactorError: such a field, and the code of the editor's second factor is missing or wrong.
            ConflictError: a superuser tries to change their own role.
            ThrottledError: too many wrong passwords, or too many questions whether addresses have accounts.
            NotFoundError, EmailTakenError, WeakPasswordError.
        """
        is_self = editor.id == user_id
        if not is_self and not editor.is_superuser:
            raise PermissionDeniedError
        changes = update.model_dump(exclude_unset=True)
        current_password, otp = changes.pop("current_password", None), changes.pop("otp", None)
        self._refuse_role_change(editor, changes, is_self=is_self)
        if "is_active" in changes and self._users.require(user_id).deletion_at is not None:
            # It is disabled until then. Enabled, it would be deleted while it is in use.
            raise ConflictError("This account is going to be deleted; cancel the deletion first", code="deletion_pending")
        if not changes:
            return AccountChange(self.get_user(editor, user_id), None)
        if "password" in changes and not self._accepts_passwords:
            raise PasswordSignInClosedError
        if changes.keys() & PROTECTED_FIELDS:
            self._login_throttle.require_password(editor, current_password, purpose=PasswordPurpose.CHANGE)
            self._second_factor.require(editor, otp)
        if not editor.is_superuser and changes.get("email", editor.email) != editor.email:
            # The result reveals whether the address has an account.
            self._recipient_lookup.count(editor, changes["email"])
        action, details = _audit_entry_of(changes)
        previous_email = None
        if changes.keys() & {"email", "password"}:
            account = editor if is_self else self._users.require(user_id)
            address = account.email
            previous_email = _replaced_address(account, changes)
            if "password" in changes:
                password = changes.pop("password")
                validate_password_strength(password, email=changes.get("email", address))
                changes["hashed_password"] = self._passwords.hash(password)
        is_verified = changes.pop("email_verified", None if previous_email is None else False)
        if is_verified is not None:
            changes["email_verified_at"] = clock.now() if is_verified else None
        must_verify = previous_email is not None and not is_verified and self._requires_verified_email
        # Ended sessions and API keys stay invalid when a disabled account is enabled again. A change of the role ends them too: a key
        # must not gain power by a promotion, nor keep its scopes through a demotion and the next promotion.
        ends_sessions = "hashed_password" in changes or changes.get("is_active") is False or "is_superuser" in changes or must_verify
        is_reset = not is_self and "hashed_password" in changes
        details |= self._change_access(editor, user_id, changes, is_verified=bool(is_verified), is_reset=is_reset)
        user = self._users.update(user_id, changes, action=action, details=details, ends_sessions=ends_sessions)
        return AccountChange(user, previous_email)

    def _change_access(
        self, editor: User, user_id: UUID, changes: Mapping[str, Any], *, is_verified: bool, is_reset: bool
    ) -> dict[str, int]:
        """Give effect to what waits for a confirmed address, and revoke the links that need a role that the account loses.

        A reset of the password removes the linked identities, because another person may have linked them. Returns details for the audit
        log. Raises NotAuthenticatedError if the credentials of the editor have ended.
        """
        if editor.id == user_id:
            # Since the request was authenticated, the owner of the address may have taken the account over: checking a password takes long.
            self._users.lock_current(editor)
        loses_role = changes.get("is_superuser") is False
        if not (loses_role or is_verified or is_reset):
            return {}
        # Locked first, so that no link, grant or identity is created meanwhile, and because the account must be locked before the end
        # of the audit log.
        user = self._users.lock(user_id)
        if is_verified:
            self._named_access.activate(user_id, email=changes.get("email", user.email))
        if loses_role:
            self._shares.revoke_all_that_need_superuser(user_id)
        return {"identities": self._identities.remove_all(user_id)} if is_reset else {}

    def _refuse_role_change(self, editor: User, changes: Mapping[str, Any], *, is_self: bool) -> None:
        if changes.keys() & QUOTA_FIELDS and not editor.is_superuser:
            raise PermissionDeniedError("Only a superuser can change quotas")
        if "email_verified" in changes and not editor.is_superuser:
            raise PermissionDeniedError("Only a superuser can change email_verified; users confirm their address by mail")
        if "requires_second_factor" in changes and not editor.is_superuser:
            raise PermissionDeniedError("Only a superuser can change requires_second_factor")
        if not changes.keys() & ROLE_FIELDS:
            return
        if not editor.is_superuser:
            raise PermissionDeniedError("Only a superuser can change is_active and is_superuser")
        if is_self:
            # Otherwise the last superuser could leave the deployment without one.
            raise ConflictError("You cannot change your own role; another superuser can", code="own_role")

    def _find(self, email: str) -> User | None:
        try:
            return self._users.get_by_email(normalise_email(email))
        except ValueError:
            return None

    def _create(self, registration: UserCreate, *, is_superuser: bool, is_confirmed: bool = False) -> User:
        now = clock.now()
        user = User(
            id=uuid4(),
            email=registration.email,
            hashed_password=self._passwords.hash(registration.password),
            is_active=True,
            is_superuser=is_superuser,
            token_epoch=0,
            email_verified_at=now if is_confirmed else None,
            created_at=now,
            updated_at=now,
        )
        return self._users.add(user, action="user.registered")


def _replaced_address(account: User, changes: dict[str, Any]) -> str | None:
    """Return the address that the changes replace, if they do. Then they also record whether the account had confirmed it."""
    if changes.get("email", account.email) == account.email:
        return None
    changes["had_verified_email"] = account.had_verified_email or account.email_verified_at is not None
    return account.email


def _audit_entry_of(changes: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the audit log's action and details for a change. The details contain neither passwords nor addresses."""
    shown = sorted(changes.keys() & (ROLE_FIELDS | QUOTA_FIELDS | {"email_verified", "requires_second_factor"}))
    details = {"fields": sorted(changes), **{name: changes[name] for name in shown}}
    if changes.keys() <= PROFILE_FIELDS:
        return "user.profile_changed", details
    names = {
        "password": "password.changed",
        "email": "user.email_changed",
        "is_superuser": "user.role_changed",
        "email_verified": "user.email_verified" if changes.get("email_verified") else "user.email_unverified",
        "requires_second_factor": "second_factor.required" if changes.get("requires_second_factor") else "second_factor.optional",
        "quota_bytes": "user.quota_changed",
        "quota_files": "user.quota_changed",
        "is_active": "user.enabled" if changes.get("is_active") else "user.disabled",
    }
    return (names[next(iter(changes))] if len(changes) == 1 else "user.updated"), details
