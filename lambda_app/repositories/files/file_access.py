"""The permission rules for files and links, as SQL conditions, so that a query checks permissions in the same round trip."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import ColumnElement, Subquery, and_, asc, desc, exists, false, or_, select, true
from sqlalchemy.orm import aliased

from lambda_app.core.security.share_tokens import ShareToken
from lambda_app.models import File, FileGrant, FileStatus, GrantRole, Share, ShareAudience, ShareFile, ShareRecipient, User
from lambda_app.schemas.files.file_lists import FileFilter, Shared

EDITORS_FIELDS = frozenset({"filename", "description"})
"""Fields that an editor may change; only those who may manage the file change who may read it."""


class Viewer(Protocol):
    """The user whose permission a condition checks: a row, or the columns of a statement that authenticates its caller itself."""

    @property
    def id(self) -> Any:
        """A UUID, or a column of UUIDs."""

    @property
    def is_superuser(self) -> Any:
        """Whether the user manages the files of all users: a bool, or a column of bools."""


@dataclass(frozen=True, slots=True)
class ViewerOf:
    """A user as the parameter of a statement that is built once."""

    id: Any
    is_superuser: bool


def viewer_of(user_id: Any, is_superuser: bool) -> ViewerOf | None:
    """Return the viewer; None for an anonymous caller, who has no user id."""
    return None if user_id is None else ViewerOf(user_id, is_superuser)


_Sharer = aliased(User, name="sharer")
_Viewer = aliased(User, name="viewer")


def readable_by(viewer: Viewer | None) -> ColumnElement[bool]:
    """The files that `viewer` may read; None is an anonymous caller."""
    if viewer is None:
        return _is_published()
    if viewer.is_superuser is True:
        return manageable_by(viewer)
    return or_(manageable_by(viewer), _is_published(), _is_granted_to(viewer))


def public() -> ColumnElement[bool]:
    """The files that their public link opens."""
    return and_(_is_published(), File.status == FileStatus.AVAILABLE)


def changeable_by(user: Viewer, fields: Collection[str] = ()) -> ColumnElement[bool]:
    """The files on which `user` may change these fields."""
    if user.is_superuser is True or not EDITORS_FIELDS.issuperset(fields):
        return manageable_by(user)
    return or_(manageable_by(user), _is_granted_to(user, GrantRole.EDITOR))


def downloadable_by(viewer: Viewer | None) -> ColumnElement[bool]:
    """The files that `viewer` may currently download."""
    return and_(File.status == FileStatus.AVAILABLE, is_served(), readable_by(viewer))


def is_served() -> ColumnElement[bool]:
    """The files whose content no malware scan withholds."""
    return File.is_withheld.is_(False)


def manageable_by(user: Viewer) -> ColumnElement[bool]:
    """The files that `user` may complete, share and delete: the user's own, or all for a superuser."""
    if isinstance(user.is_superuser, ColumnElement):
        return or_(user.is_superuser, _is_owned_by(user))
    return true() if user.is_superuser else _is_owned_by(user)


def listed_for(user: Viewer, filters: FileFilter) -> ColumnElement[bool]:
    """The files in the list of `user`: the user's own, those shared with or by the user, or for a superuser those of others."""
    match filters.shared:
        case None if filters.of_all_owners:
            return manageable_by(user)
        case None:
            return and_(manageable_by(user), File.owner_id == (filters.owner_id or user.id))
        case Shared.WITH_ME:
            return _is_offered()
        case Shared.BY_ME:
            return _is_owned_by(user)


def shared_files(user: Viewer, shared: Shared, *, is_descending: bool = True) -> Subquery:
    """The files that are shared with or by `user`: `file_id` and `file_created_at`, which an index has in order."""
    columns = select(FileGrant.file_created_at, FileGrant.file_id)
    if shared is Shared.WITH_ME:
        return columns.where(*granted_to(user)).subquery("shared")
    # A file has a grant for each grantee. With the order of the list, PostgreSQL finds duplicates while it reads the index in that order.
    direction = desc if is_descending else asc
    columns = columns.where(FileGrant.owner_id == user.id).distinct()
    return columns.order_by(direction(FileGrant.file_created_at), direction(FileGrant.file_id)).subquery("shared")


def granted_to(user: Viewer) -> tuple[ColumnElement[bool], ...]:
    """The grants that give `user` access. A grant to an address that the user has not confirmed does not."""
    return FileGrant.user_id == user.id, FileGrant.is_pending.is_(False)


def shareable_by(user: Viewer) -> ColumnElement[bool]:
    """The files that `user` may share by a link. `reached_by` checks again whenever the link is opened."""
    return and_(manageable_by(user), File.status == FileStatus.AVAILABLE)


def links_manageable_by(user: Viewer) -> ColumnElement[bool]:
    """The links that `user` may see, change and revoke: all for a superuser, else the user's own that do not need that role."""
    return true() if user.is_superuser else and_(Share.owner_id == user.id, Share.needs_superuser.is_(False))


class SignedIn(Protocol):
    """A signed-in user: a row, or the columns of a statement that authenticates its caller itself."""

    @property
    def id(self) -> Any:
        """A UUID, or a column of UUIDs."""

    @property
    def token_epoch(self) -> Any:
        """The user's epoch when the session was opened or the key was created: an int, or a column of ints."""


@dataclass(frozen=True, slots=True)
class AccessContext:
    """A visitor's request to a link: its time, the signed-in user if any, and the share token if any."""

    at: Any
    """A datetime, or a parameter of a compiled statement."""
    user: "SignedIn | None"
    proven: ShareToken | None

    @property
    def viewer_id(self) -> Any:
        """The user, by session or share token; whether that is still valid is checked by `link_viewer_is_signed_in`."""
        return self.user.id if self.user is not None else self.proven.user_id if self.proven is not None else None


def reached_by(link: Any) -> ColumnElement[bool]:
    """The files that can be downloaded through a link (`Share` or an alias of it): linked, served, and offered by the link."""
    is_linked = exists().where(ShareFile.share_id == link.id, ShareFile.file_id == File.id)
    return and_(is_linked.correlate_except(ShareFile), is_served(), offered_by(link))


def offered_by(link: Any) -> ColumnElement[bool]:
    """The files that a link opens, of those that the statement has joined with `share_file`.

    They are available, and their active owner may still share them. They are listed even if a malware scan withholds their content.
    """
    is_the_sharers = or_(File.owner_id == _Sharer.id, and_(link.needs_superuser, _Sharer.is_superuser))
    may_be_shared = exists().where(_Sharer.id == link.owner_id, _Sharer.is_active, is_the_sharers)
    return and_(File.status == FileStatus.AVAILABLE, may_be_shared.correlate_except(_Sharer))


def link_opens_a_file(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    """The links that open at least one file that meets the `conditions`.

    A scalar subquery, because PostgreSQL turns an EXISTS into a join, for which it may read all of `file` before it finds the link.
    """
    files = select(true()).select_from(ShareFile).join(File, File.id == ShareFile.file_id)
    linked = files.where(ShareFile.share_id == Share.id, offered_by(Share), *conditions).limit(1)
    return linked.correlate(Share).scalar_subquery().is_(True)


def link_is_live(at: Any) -> ColumnElement[bool]:
    """The links that are not revoked or expired and whose owner is active."""
    has_owner = exists().where(_Sharer.id == Share.owner_id, _Sharer.is_active).correlate_except(_Sharer)
    return and_(Share.revoked_at.is_(None), or_(Share.expires_at.is_(None), Share.expires_at > at), has_owner)


def link_has_downloads_left() -> ColumnElement[bool]:
    """The links whose download limit is not reached."""
    return or_(Share.max_downloads.is_(None), Share.download_count < Share.max_downloads)


def link_is_for(access: AccessContext) -> ColumnElement[bool]:
    """The links whose audience includes the visitor. The owner of a link always belongs to its audience."""
    is_for_anyone = Share.audience == ShareAudience.ANYONE
    if access.viewer_id is None:
        return is_for_anyone
    is_named = exists().where(
        ShareRecipient.share_id == Share.id, ShareRecipient.user_id == access.viewer_id, ShareRecipient.is_pending.is_(False)
    )
    is_admitted = or_(
        Share.audience == ShareAudience.SIGNED_IN, Share.owner_id == access.viewer_id, is_named.correlate_except(ShareRecipient)
    )
    return or_(is_for_anyone, and_(link_viewer_is_signed_in(access), is_admitted))


def link_viewer_is_signed_in(access: AccessContext) -> ColumnElement[bool]:
    """The links for which the visitor is signed in: all with a session, one with a share token, if it is not revoked."""
    proven = access.proven
    if access.user is not None:
        return _is_current(access.user.id, access.user.token_epoch)
    if proven is None or proven.user_id is None:
        return false()
    return and_(_is_current(proven.user_id, proven.token_epoch), Share.id == proven.share_id)


def link_password_is_proven(access: AccessContext) -> ColumnElement[bool]:
    """The links that have no password, or whose current password the visitor has proven."""
    proven, has_none = access.proven, Share.hashed_password.is_(None)
    if proven is None or proven.password_version is None:
        return has_none
    return or_(has_none, and_(Share.id == proven.share_id, Share.password_version == proven.password_version))


def _is_current(user_id: Any, epoch: Any) -> ColumnElement[bool]:
    return exists().where(_Viewer.id == user_id, _Viewer.token_epoch == epoch, _Viewer.is_active).correlate_except(_Viewer)


def _is_owned_by(user: Viewer) -> ColumnElement[bool]:
    is_owner: ColumnElement[bool] = File.owner_id == user.id
    return is_owner


def _is_published() -> ColumnElement[bool]:
    return and_(File.is_public, File.status != FileStatus.TRASHED, _has_active_owner())


def _is_granted_to(user: Viewer, *roles: GrantRole) -> ColumnElement[bool]:
    grant = select(FileGrant.file_id).where(FileGrant.file_id == File.id, *granted_to(user))
    return and_(exists(grant.where(FileGrant.role.in_(roles)) if roles else grant), _is_offered())


def _is_offered() -> ColumnElement[bool]:
    # Only those who may manage a file see it while it is pending, in the trash or being deleted.
    return and_(File.status == FileStatus.AVAILABLE, _has_active_owner())


def _has_active_owner() -> ColumnElement[bool]:
    """Files of a disabled account are not available to other users."""
    return exists(select(User.id).where(User.id == File.owner_id, User.is_active))
