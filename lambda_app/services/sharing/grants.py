"""Sharing a file with people by name."""

from uuid import UUID

from lambda_app.core.errors import ConflictError, NotFoundError
from lambda_app.models import FileGrant, User
from lambda_app.repositories.accounts.users import UserRepository
from lambda_app.repositories.files.files import FileRepository
from lambda_app.repositories.sharing.grants import GRANTS_PER_FILE, FileGrantRepository
from lambda_app.schemas.sharing.grants import GrantCreate
from lambda_app.services.sharing.recipient_lookup import RecipientLookup


class GranteeNotFoundError(NotFoundError):
    """There is no such active account."""

    code = "user_not_found"
    message = "There is no account of this name to share with"


class OwnFileError(ConflictError):
    """The owner needs no grant."""

    code = "own_file"
    message = "The file is this user's own"


class TooManyGrantsError(ConflictError):
    """The file is shared with as many as it can be."""

    code = "too_many_grants"
    message = f"A file is shared with at most {GRANTS_PER_FILE} people by name"


class GrantNotFoundError(NotFoundError):
    """The file is not shared with this user."""

    code = "grant_not_found"
    message = "The file is not shared with this user"


class GrantService:
    """What may be done with grants."""

    def __init__(
        self, *, grants: FileGrantRepository, files: FileRepository, users: UserRepository, recipient_lookup: RecipientLookup
    ) -> None:
        self._grants = grants
        self._files = files
        self._users = users
        self._address_book = recipient_lookup

    def grant(self, user: User, file_id: UUID, wanted: GrantCreate) -> FileGrant:
        """Share a file, or change how it is shared; a repeated call changes nothing.

        Raises NoSuchFileError, FileForbiddenError, and only then GranteeNotFoundError, ThrottledError, OwnFileError, TooManyGrantsError.
        """
        grantee_id = wanted.user_id
        if wanted.email is not None:
            found = self._address_book.find(user, [wanted.email], where=self._grants.may_grant(file_id, user))
            grantee_id = (found or {}).get(wanted.email)
            if found is None:
                self._files.require_manageable(file_id, user)
        if grantee_id is None:
            raise GranteeNotFoundError
        made = self._grants.put(file_id, user, grantee_id=grantee_id, role=wanted.role, email=wanted.email)
        if made is not None:
            return made
        if self._files.require_manageable(file_id, user).owner_id == grantee_id:
            raise OwnFileError
        grantee = self._users.get(grantee_id)
        if grantee is None or not grantee.is_active:
            raise GranteeNotFoundError
        raise TooManyGrantsError

    def list_grants(self, user: User, file_id: UUID) -> list[FileGrant]:
        """Return who has a part in the file: all for its owner, for a grantee their own. Raises NoSuchFileError, FileForbiddenError."""
        return self._grants.list_of(file_id, user)

    def revoke(self, user: User, file_id: UUID, grantee_id: UUID) -> None:
        """Take a grant back, or leave. Raises GrantNotFoundError, NoSuchFileError, FileForbiddenError."""
        if not self._grants.remove(file_id, user, grantee_id=grantee_id):
            self._files.require_manageable(file_id, user)
            raise GrantNotFoundError
