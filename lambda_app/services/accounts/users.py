"""Accounts: registration and what may change of a user."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from lambda_app.core import clock
from lambda_app.core.errors import ConflictError, NotFoundError, PermissionDeniedError
from lambda_app.core.security.password_rules import refuse_weak_password
from lambda_app.core.security.passwords import PasswordHasher
from lambda_app.models import User
from lambda_app.repositories.accounts.users import UserRepository
from lambda_app.schemas.accounts.users import UserCreate, UserSelfUpdate, UserUpdate, normalise_email
from lambda_app.services.accounts.login_throttle import LoginThrottle, Proof

ROLE_FIELDS = frozenset({"is_active", "is_superuser"})
"""What only a superuser changes, and never of their own account."""
QUOTA_FIELDS = frozenset({"quota_bytes", "quota_files"})
"""What only a superuser changes; None means the default."""


class RegistrationClosedError(PermissionDeniedError):
    """Only a superuser may create accounts here."""

    code = "registration_closed"
    message = "Registration is closed"


@dataclass(frozen=True, slots=True)
class AccountChange:
    """An account after a change, and its address before, if that is another one now."""

    user: User
    address_before: str | None


class UserService:
    """What may be done with accounts."""

    def __init__(
        self,
        *,
        users: UserRepository,
        passwords: PasswordHasher,
        login_throttle: LoginThrottle,
        open_registration: bool,
        requires_verified_email: bool,
    ) -> None:
        self._users = users
        self._passwords = passwords
        self._login_throttle = login_throttle
        self._open_registration = open_registration
        self._requires_verified_email = requires_verified_email

    def register(self, registration: UserCreate, *, registrar: User | None) -> User:
        """Create an account, for oneself or, as a superuser, for somebody.

        Raises RegistrationClosedError, EmailTakenError, WeakPasswordError.
        """
        if not self._open_registration and not (registrar and registrar.is_superuser):
            raise RegistrationClosedError
        return self._create(registration, is_superuser=False)

    def create_superuser(self, registration: UserCreate) -> User:
        """Create a superuser; for operators, never reached over HTTP. Raises EmailTakenError, WeakPasswordError."""
        return self._create(registration, is_superuser=True)

    def reset_password(self, email: str, password: str) -> User:
        """Set a password for somebody who forgot theirs; for operators, never reached over HTTP.

        Raises NotFoundError, WeakPasswordError.
        """
        user = self._find(email)
        if user is None:
            raise NotFoundError("User not found", code="user_not_found")
        refuse_weak_password(password, email=user.email)
        changes = {"hashed_password": self._passwords.hash(password), "token_epoch": User.token_epoch + 1}
        return self._users.update(user.id, changes, action="password.reset", details={"by": "operator"})

    def list_users(self, viewer: User, *, skip: int, limit: int, search: str | None = None, is_active: bool | None = None) -> list[User]:
        """Return accounts in order of registration; for superusers. Raises PermissionDeniedError."""
        if not viewer.is_superuser:
            raise PermissionDeniedError
        return self._users.list_page(skip=skip, limit=limit, search=search, is_active=is_active)

    def get_user(self, viewer: User, user_id: UUID) -> User:
        """Return an account: one's own, or any for a superuser. Raises PermissionDeniedError, NotFoundError."""
        if viewer.id == user_id:
            return viewer
        if not viewer.is_superuser:
            raise PermissionDeniedError
        return self._users.require(user_id)

    def update_user(self, editor: User, user_id: UUID, update: UserSelfUpdate | UserUpdate) -> AccountChange:
        """Change an account.

        Raises:
            PermissionDeniedError: somebody else's account, or a superuser's field; also when a new e-mail or password
                of one's own comes without the right current password.
            ConflictError: a superuser's own role.
            NotFoundError, EmailTakenError, WeakPasswordError, ThrottledError.
        """
        is_self = editor.id == user_id
        if not is_self and not editor.is_superuser:
            raise PermissionDeniedError
        changes = update.model_dump(exclude_unset=True)
        current_password = changes.pop("current_password", None)
        self._refuse_role_change(editor, changes, is_self=is_self)
        if is_self and changes.keys() & {"email", "password"}:
            self._prove(editor, current_password)
        if not changes:
            return AccountChange(self.get_user(editor, user_id), None)
        action, details = _audited_as(changes)
        address_before = None
        if changes.keys() & {"email", "password"}:
            address = (editor if is_self else self._users.require(user_id)).email
            address_before = address if changes.get("email", address) != address else None
            if "password" in changes:
                password = changes.pop("password")
                refuse_weak_password(password, email=changes.get("email", address))
                changes["hashed_password"] = self._passwords.hash(password)
        if address_before is not None:
            changes["email_verified_at"] = None
        must_verify = address_before is not None and self._requires_verified_email
        if "hashed_password" in changes or changes.get("is_active") is False or must_verify:
            # Ends every session, access token and API key; an account that is enabled again starts without any.
            changes["token_epoch"] = User.token_epoch + 1
        return AccountChange(self._users.update(user_id, changes, action=action, details=details), address_before)

    def _refuse_role_change(self, editor: User, changes: Mapping[str, Any], *, is_self: bool) -> None:
        if changes.keys() & QUOTA_FIELDS and not editor.is_superuser:
            raise PermissionDeniedError("Only a superuser changes quotas")
        if not changes.keys() & ROLE_FIELDS:
            return
        if not editor.is_superuser:
            raise PermissionDeniedError("Only a superuser changes is_active and is_superuser")
        if is_self:
            # The last superuser could lock everybody out, themselves included.
            raise ConflictError("Superusers cannot change their own role; another superuser can", code="own_role")

    def _prove(self, user: User, password: str | None) -> None:
        # Through the same gate as a sign-in: whoever holds a stolen token must not guess here for free.
        if password is None or self._login_throttle.try_password(email=user.email, password=password, proof=Proof.CHANGE) is None:
            raise PermissionDeniedError("The current password is missing or wrong", code="current_password_required")
        self._login_throttle.reset(user.email)

    def _find(self, email: str) -> User | None:
        try:
            return self._users.get_by_email(normalise_email(email))
        except ValueError:
            return None

    def _create(self, registration: UserCreate, *, is_superuser: bool) -> User:
        refuse_weak_password(registration.password, email=registration.email)
        now = clock.now()
        user = User(
            id=uuid4(),
            email=registration.email,
            hashed_password=self._passwords.hash(registration.password),
            is_active=True,
            is_superuser=is_superuser,
            token_epoch=0,
            # An operator vouches for the superuser's address.
            email_verified_at=now if is_superuser else None,
            created_at=now,
            updated_at=now,
        )
        return self._users.add(user, action="user.registered")


def _audited_as(changes: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the name of a change in the audit log, and what else it says; never a password or an address."""
    shown = sorted(changes.keys() & (ROLE_FIELDS | QUOTA_FIELDS))
    details = {"fields": sorted(changes), **{name: changes[name] for name in shown}}
    names = {
        "password": "password.changed",
        "email": "user.email_changed",
        "is_superuser": "user.role_changed",
        "quota_bytes": "user.quota_changed",
        "quota_files": "user.quota_changed",
        "is_active": "user.enabled" if changes.get("is_active") else "user.disabled",
    }
    return (names[next(iter(changes))] if len(changes) == 1 else "user.updated"), details
