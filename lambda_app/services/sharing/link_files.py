"""The files of a share link: add and remove."""

from collections.abc import Sequence
from uuid import UUID

from lambda_app.core.errors import ConflictError
from lambda_app.models import User
from lambda_app.repositories.files.files import NoSuchFileError
from lambda_app.repositories.sharing.link_files import LinkFileRepository
from lambda_app.repositories.sharing.shares import NoSuchShareError
from lambda_app.schemas.sharing.shares import FILES_PER_SHARE
from lambda_app.services.sharing.shares import SharedLink, ShareRevokedError, ShareService


class TooManyLinkFilesError(ConflictError):
    """The link would open more files than a link can."""

    code = "too_many_link_files"
    message = f"A link can open at most {FILES_PER_SHARE} files; remove some first, or create another link"


class LinkFileService:
    """Adds files to links and removes them."""

    def __init__(self, *, link_files: LinkFileRepository, shares: ShareService) -> None:
        self._link_files = link_files
        self._shares = shares

    def add(self, user: User, share_id: UUID, file_ids: Sequence[UUID]) -> SharedLink:
        """Add files to one of the user's own links. Idempotent: a file that the link has keeps its place.

        Raises NoSuchShareError also for the link of another user that the caller may manage: the link would open the files under the
        name of its owner. Raises ShareRevokedError, NoSuchFileError, FileForbiddenError, FileNotAvailableError, TooManyLinkFilesError.
        """
        if not self._link_files.add(share_id, user, file_ids, max_files=FILES_PER_SHARE):
            found = self._shares.get(user, share_id).details
            if found.share.owner_id != user.id:
                raise NoSuchShareError
            if found.share.revoked_at is not None:
                raise ShareRevokedError
            self._shares.require_shareable(user, file_ids)
            raise TooManyLinkFilesError(extra={"file_count": len(found.file_ids)})
        return self._shares.get(user, share_id)

    def remove(self, user: User, share_id: UUID, file_id: UUID) -> None:
        """Remove a file from a link that the user may manage. Raises NoSuchShareError, ShareRevokedError, NoSuchFileError."""
        if not self._link_files.remove(share_id, user, file_id):
            if self._shares.get(user, share_id).details.share.revoked_at is not None:
                raise ShareRevokedError
            raise NoSuchFileError
