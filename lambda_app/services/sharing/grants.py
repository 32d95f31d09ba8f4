"""Grants: sharing of a file with other accounts."""

from uuid import UUID

from lambda_app.core.errors import ConflictError, NotFoundError
from lambda_app.models import FileGrant, User
from lambda_app.models.sharing.grants import GRANTS_PER_FILE
from lambda_app.repositories.accounts.users import UserRepository
from lambda_app.repositories.files.files import FileRepository
from lambda_app.repositories.sharing.grants import FileGrantRepository
from lambda_app.schemas.sharing.grants import GrantCreate
from lambda_app.services.sharing.recipient_lookup import RecipientLookup


class GranteeNotFoundError(NotFoundError):
    """No active account has this id or e-mail address."""

    code = "user_not_found"
    message = "There is no account with this id or e-mail address"


class OwnFileError(ConflictError):
    """The grantee owns the file and needs no grant."""

    code = "own_file"
    message = "This user owns the file and needs no grant"


class TooManyGrantsError(ConflictError):
    """The file has reached the limit of grants."""

    code = "too_many_grants"
    message = f"A file can be shared with at most {GRANTS_PER_FILE} accounts; remove one first"


class GrantNotFoundError(NotFoundError):
    """The file is not shared with this user."""

    code = "grant_not_found"
    message = "The file is not shared with this user"


class GrantService:
    """Creates, lists and revokes grants."""

    def __init__(
        self, *, grants: FileGrantRepository, files: FileRepository, users: UserRepository, recipient_lookup: RecipientLookup
    ) -> None:
        self._grants = grants
        self._files = files
        self._users = users
        self._recipient_lookup = recipient_lookup

    def grant(self, user: User, file_id: UUID, parameters: GrantCreate) -> FileGrant:
        """Share a file with an account, or change the role of an existing grant; idempotent.

        Raises NoSuchFileError, FileForbiddenError: the user cannot share the file. They take precedence over
        GranteeNotFoundError, ThrottledError, OwnFileError, TooManyGrantsError, which would reveal whether an account exists.
        """
        grantee_id = parameters.user_id
        if parameters.email is not None:
            self._files.require_manageable(file_id, user)
            grantee_id = self._recipient_lookup.find(user, [parameters.email]).user_ids.get(parameters.email)
        if grantee_id is None:
            raise GranteeNotFoundError
        grant = self._grants.put(file_id, user, grantee_id=grantee_id, role=parameters.role, email=parameters.email)
        if grant is not None:
            return grant
        if self._files.require_manageable(file_id, user).owner_id == grantee_id:
            raise OwnFileError
        grantee = self._users.get(grantee_id)
        if grantee is None or not grantee.is_active:
            raise GranteeNotFoundError
        raise TooManyGrantsError

    def list_grants(self, user: User, file_id: UUID) -> list[FileGrant]:
        """Return the grants of a file: all of them for its owner, their own for a grantee. Raises NoSuchFileError, FileForbiddenError."""
        return self._grants.list_for_file(file_id, user)

    def revoke(self, user: User, file_id: UUID, grantee_id: UUID) -> None:
        """Revoke a grant; grantees can revoke their own. Raises GrantNotFoundError, NoSuchFileError, FileForbiddenError."""
        if not self._grants.remove(file_id, user, grantee_id=grantee_id):
            self._files.require_manageable(file_id, user)
            raise GrantNotFoundError
