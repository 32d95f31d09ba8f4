"""Who may do what to a file: the one place, as SQL, so that a query and its permission are one round trip."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, exists, false, or_, select, true
from sqlalchemy.orm import aliased

from lambda_app.core.security.share_tokens import ShareToken
from lambda_app.models import File, FileGrant, FileStatus, GrantRole, Share, ShareAudience, ShareFile, ShareRecipient, User
from lambda_app.schemas.files.file_lists import Shared

EDITORS_FIELDS = frozenset({"filename", "description"})
"""What editors change of somebody else's file; who may read it stays with the owner."""

_Sharer = aliased(User, name="sharer")
_Viewer = aliased(User, name="viewer")


def readable_by(viewer: User | None) -> ColumnElement[bool]:
    """The files that `viewer`, or an anonymous caller, may look at and download."""
    if viewer is None:
        return _is_shown()
    return manageable_by(viewer) if viewer.is_superuser else or_(manageable_by(viewer), _is_shown(), _is_granted_to(viewer))


def public() -> ColumnElement[bool]:
    """The files that a public link leads to."""
    return and_(_is_shown(), File.status == FileStatus.AVAILABLE)


def changeable_by(user: User, fields: Collection[str] = ()) -> ColumnElement[bool]:
    """The files of which `user` may change these fields."""
    if user.is_superuser or not EDITORS_FIELDS.issuperset(fields):
        return manageable_by(user)
    return or_(manageable_by(user), _is_granted_to(user, GrantRole.EDITOR))


def downloadable_by(viewer: User | None) -> ColumnElement[bool]:
    """The files whose bytes `viewer` may have now."""
    return and_(File.status == FileStatus.AVAILABLE, readable_by(viewer))


def manageable_by(user: User) -> ColumnElement[bool]:
    """The files that `user` may complete and delete, and decide who else may read."""
    return true() if user.is_superuser else File.owner_id == user.id


def listed_for(user: User, shared: Shared | None = None) -> ColumnElement[bool]:
    """The files in `user`'s list: their own, or everybody's for a superuser; or those that the one has shared with the other."""
    match shared:
        case None:
            return manageable_by(user)
        case Shared.WITH_ME:
            return and_(File.id.in_(select(FileGrant.file_id).where(FileGrant.user_id == user.id)), _is_offered())
        case Shared.BY_ME:
            return and_(File.owner_id == user.id, File.id.in_(select(FileGrant.file_id).where(FileGrant.owner_id == user.id)))


def shareable_by(user: User) -> ColumnElement[bool]:
    """The files to which `user` may make a link. The link asks again, by `reached_by`, each time it is opened."""
    return and_(manageable_by(user), File.status == FileStatus.AVAILABLE)


def links_manageable_by(user: User) -> ColumnElement[bool]:
    """The links that `user` may see, change and revoke."""
    return true() if user.is_superuser else Share.owner_id == user.id


@dataclass(frozen=True, slots=True)
class AccessContext:
    """Somebody at a link: when, as which signed-in user if any, and what a pass of theirs proves of one link."""

    at: datetime
    user: User | None
    proven: ShareToken | None

    @property
    def viewer_id(self) -> UUID | None:
        """The user that the visitor says to be."""
        return self.user.id if self.user is not None else self.proven.user_id if self.proven is not None else None


def reached_by(link: Any) -> ColumnElement[bool]:
    """The files that a link (Share, or an alias of it) opens: linked, available, and still for its owner to share."""
    is_linked = exists().where(ShareFile.share_id == link.id, ShareFile.file_id == File.id)
    is_the_sharers = or_(File.owner_id == _Sharer.id, _Sharer.is_superuser)
    may_be_shared = exists().where(_Sharer.id == link.owner_id, _Sharer.is_active, is_the_sharers)
    return and_(
        File.status == FileStatus.AVAILABLE,
        is_linked.correlate_except(ShareFile),
        may_be_shared.correlate_except(_Sharer),
    )


def link_is_live(at: datetime) -> ColumnElement[bool]:
    """The links that were not revoked, have not expired, and whose owner is not disabled."""
    has_owner = exists().where(_Sharer.id == Share.owner_id, _Sharer.is_active).correlate_except(_Sharer)
    return and_(Share.revoked_at.is_(None), or_(Share.expires_at.is_(None), Share.expires_at > at), has_owner)


def link_has_downloads_left() -> ColumnElement[bool]:
    """The links that are not exhausted."""
    return or_(Share.max_downloads.is_(None), Share.download_count < Share.max_downloads)


def link_is_for(visit: AccessContext) -> ColumnElement[bool]:
    """The links whose audience the visitor belongs to. Its owner belongs to every one."""
    is_for_anyone = Share.audience == ShareAudience.ANYONE
    if visit.viewer_id is None:
        return is_for_anyone
    is_named = exists().where(ShareRecipient.share_id == Share.id, ShareRecipient.user_id == visit.viewer_id)
    is_admitted = or_(
        Share.audience == ShareAudience.SIGNED_IN, Share.owner_id == visit.viewer_id, is_named.correlate_except(ShareRecipient)
    )
    return or_(is_for_anyone, and_(link_knows_viewer(visit), is_admitted))


def link_knows_viewer(visit: AccessContext) -> ColumnElement[bool]:
    """The links at which the visitor is a user who is still signed in: any for a session, for a pass the one it was given for."""
    proven = visit.proven
    if visit.user is not None:
        return _is_still(visit.user.id, visit.user.token_epoch)
    if proven is None or proven.user_id is None:
        return false()
    return and_(_is_still(proven.user_id, proven.token_epoch), Share.id == proven.share_id)


def link_password_is_proven(visit: AccessContext) -> ColumnElement[bool]:
    """The links that have no password, or whose password, as it is now, the visitor has proven."""
    proven, has_none = visit.proven, Share.hashed_password.is_(None)
    if proven is None or proven.password_version is None:
        return has_none
    return or_(has_none, and_(Share.id == proven.share_id, Share.password_version == proven.password_version))


def _is_still(user_id: UUID, epoch: int | None) -> ColumnElement[bool]:
    return exists().where(_Viewer.id == user_id, _Viewer.token_epoch == epoch, _Viewer.is_active).correlate_except(_Viewer)


def _is_shown() -> ColumnElement[bool]:
    return and_(File.is_public, File.status != FileStatus.TRASHED, _has_active_owner())


def _is_granted_to(user: User, *roles: GrantRole) -> ColumnElement[bool]:
    grant = select(FileGrant.file_id).where(FileGrant.file_id == File.id, FileGrant.user_id == user.id)
    return and_(exists(grant.where(FileGrant.role.in_(roles)) if roles else grant), _is_offered())


def _is_offered() -> ColumnElement[bool]:
    # What is on its way in, out or in the trash is nobody's business but the owner's.
    return and_(File.status == FileStatus.AVAILABLE, _has_active_owner())


def _has_active_owner() -> ColumnElement[bool]:
    """Nothing of a disabled account is handed to others."""
    return exists(select(User.id).where(User.id == File.owner_id, User.is_active))
