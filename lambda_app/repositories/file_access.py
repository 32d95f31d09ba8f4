"""Who may do what to a file: the one place, as SQL, so that a query and its permission are one round trip."""

from collections.abc import Collection

from sqlalchemy import ColumnElement, and_, exists, or_, select, true

from lambda_app.models import File, FileGrant, FileStatus, GrantRole, User
from lambda_app.schemas.file_list import Shared

EDITORS_FIELDS = frozenset({"filename", "description"})
"""What editors change of somebody else's file; who may read it stays with the owner."""


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
