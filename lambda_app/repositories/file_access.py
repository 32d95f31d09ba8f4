"""Who may do what to a file: the one place, as SQL, so that a query and its permission are one round trip."""

from sqlalchemy import ColumnElement, and_, or_, true

from lambda_app.models import File, FileStatus, User


def readable_by(viewer: User | None) -> ColumnElement[bool]:
    """The files that `viewer`, or an anonymous caller, may look at and download."""
    shown = and_(File.is_public, File.status != FileStatus.TRASHED)
    return shown if viewer is None else or_(manageable_by(viewer), shown)


def manageable_by(user: User) -> ColumnElement[bool]:
    """The files that `user` may change, complete and delete."""
    return true() if user.is_superuser else File.owner_id == user.id


def listed_for(user: User) -> ColumnElement[bool]:
    """The files in `user`'s list: their own, or everybody's for a superuser."""
    return manageable_by(user)
