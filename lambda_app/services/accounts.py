"""Accounts: registration, sign-in and what may change of a user."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4

from lambda_app.core import clock
from lambda_app.core.errors import ConflictError, NotAuthenticatedError, PermissionDeniedError
from lambda_app.core.security.passwords import PasswordHasher
from lambda_app.core.security.tokens import AccessToken, AccessTokens
from lambda_app.models import User
from lambda_app.repositories.users import UserRepository
from lambda_app.schemas.user import UserCreate, UserSelfUpdate, UserUpdate, normalise_email

ROLE_FIELDS = frozenset({"is_active", "is_superuser"})
"""What only a superuser changes, and never of their own account."""


class BadCredentialsError(NotAuthenticatedError):
    """The sign-in failed; the caller is not told whether the user exists, is disabled, or typed wrongly."""

    code = "bad_credentials"
    message = "Incorrect e-mail or password"


class RegistrationClosedError(PermissionDeniedError):
    """Only a superuser may create accounts here."""

    code = "registration_closed"
    message = "Registration is closed"


class AccountService:
    """What may be done with accounts."""

    def __init__(self, *, users: UserRepository, passwords: PasswordHasher, tokens: AccessTokens, open_registration: bool) -> None:
        self._users = users
        self._passwords = passwords
        self._tokens = tokens
        self._open_registration = open_registration

    def sign_in(self, *, email: str, password: str) -> AccessToken:
        """Exchange e-mail and password for an access token.

        Raises:
            BadCredentialsError: unknown, wrong or disabled, after the same work in each case.
        """
        user = self._find(email)
        is_right = self._passwords.verify(password, user.hashed_password if user else None)
        if user is None or not is_right or not user.is_active:
            raise BadCredentialsError
        return self._tokens.issue(user.id)

    def authenticate(self, access_token: str) -> User:
        """Return the active user to whom the token belongs. Raises NotAuthenticatedError."""
        user = self._users.get(self._tokens.read(access_token).user_id)
        if user is None or not user.is_active:
            raise NotAuthenticatedError
        return user

    def register(self, registration: UserCreate, *, registrar: User | None) -> User:
        """Create an account, for oneself or, as a superuser, for somebody. Raises RegistrationClosedError, EmailTakenError."""
        if not self._open_registration and not (registrar and registrar.is_superuser):
            raise RegistrationClosedError
        return self._create(email=registration.email, password=registration.password, is_superuser=False)

    def create_superuser(self, registration: UserCreate) -> User:
        """Create a superuser; for operators, never reached over HTTP. Raises EmailTakenError."""
        return self._create(email=registration.email, password=registration.password, is_superuser=True)

    def list_users(self, viewer: User, *, skip: int, limit: int) -> list[User]:
        """Return accounts in order of registration; for superusers. Raises PermissionDeniedError."""
        if not viewer.is_superuser:
            raise PermissionDeniedError
        return self._users.list_page(skip=skip, limit=limit)

    def get_user(self, viewer: User, user_id: UUID) -> User:
        """Return an account: one's own, or any for a superuser. Raises PermissionDeniedError, NotFoundError."""
        if viewer.id == user_id:
            return viewer
        if not viewer.is_superuser:
            raise PermissionDeniedError
        return self._users.require(user_id)

    def update_user(self, editor: User, user_id: UUID, update: UserSelfUpdate | UserUpdate) -> User:
        """Change an account.

        Raises:
            PermissionDeniedError: somebody else's account, or a superuser's field; also when a new e-mail or password
                of one's own comes without the right current password.
            ConflictError: a superuser's own role.
            NotFoundError, EmailTakenError.
        """
        is_self = editor.id == user_id
        if not is_self and not editor.is_superuser:
            raise PermissionDeniedError
        changes = update.model_dump(exclude_unset=True)
        current_password = changes.pop("current_password", None)
        self._refuse_role_change(editor, changes, is_self=is_self)
        if is_self and changes.keys() & {"email", "password"} and not self._is_current(editor, current_password):
            raise PermissionDeniedError("The current password is missing or wrong", code="current_password_required")
        if "password" in changes:
            changes["hashed_password"] = self._passwords.hash(changes.pop("password"))
        return self._users.update(user_id, changes) if changes else self.get_user(editor, user_id)

    def _refuse_role_change(self, editor: User, changes: Mapping[str, Any], *, is_self: bool) -> None:
        if not changes.keys() & ROLE_FIELDS:
            return
        if not editor.is_superuser:
            raise PermissionDeniedError("Only a superuser changes is_active and is_superuser")
        if is_self:
            # The last superuser could lock everybody out, themselves included.
            raise ConflictError("Superusers cannot change their own role; another superuser can", code="own_role")

    def _is_current(self, user: User, password: str | None) -> bool:
        return password is not None and self._passwords.verify(password, user.hashed_password)

    def _find(self, email: str) -> User | None:
        try:
            return self._users.get_by_email(normalise_email(email))
        except ValueError:
            return None

    def _create(self, *, email: str, password: str, is_superuser: bool) -> User:
        now = clock.now()
        return self._users.add(
            User(
                id=uuid4(),
                email=email,
                hashed_password=self._passwords.hash(password),
                is_active=True,
                is_superuser=is_superuser,
                created_at=now,
                updated_at=now,
            )
        )
