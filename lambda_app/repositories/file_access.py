"""Who may do what to a file: the one place, as SQL, so that a query and its permission are one round trip."""

from sqlalchemy import ColumnElement, or_, true

from lambda_app.models import File, User


def readable_by(viewer: User | None) -> ColumnElement[bool]:
    """The files that `viewer`, or an anonymous caller, may look at and download."""
    if viewer is None:
        return File.is_public == true()
    return or_(manageable_by(viewer), File.is_public)


def manageable_by(user: User) -> ColumnElement[bool]:
    """The files that `user` may change, complete and delete."""
    return true() if user.is_superuser else File.owner_id == user.id


def listed_for(user: User) -> ColumnElement[bool]:
    """The files in `user`'s list: their own, or everybody's for a superuser."""
    return manageable_by(user)
