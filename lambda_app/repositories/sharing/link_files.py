"""Changes of the files of a share link."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Integer, Select, Uuid, column, delete, exists, func, insert, literal, or_, select, true, update
from sqlalchemy.orm import Session

from lambda_app.core import clock
from lambda_app.db.session import own_transaction
from lambda_app.models import Share, ShareFile, User
from lambda_app.repositories.audit import audit_insert_for, with_event
from lambda_app.repositories.files.file_access import ViewerOf, links_manageable_by
from lambda_app.repositories.sharing.shares import lock_files
from lambda_app.repositories.statements import OWN_TRANSACTION, as_column, built_once, json_rows, json_text


class LinkFileRepository:
    """Adds rows of `share_file` to a link, and removes them. The counters and rules of the link stay."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, share_id: UUID, owner: User, file_ids: Sequence[UUID], *, max_files: int) -> bool:
        """Add the files behind those of the owner's link, and commit. A file that the link has already keeps its place.

        False if the owner has no such link that is not revoked, may not share every file, or the link would have more than `max_files`.
        Lock order as at creation: the files by id, the owner, the link. The link is locked before its files are counted, so that the
        limit is exact: of two concurrent requests, the second counts the files of the first.
        """
        with own_transaction(self._session):
            locked = lock_files(self._session, file_ids, owner)
            link = _lock_link(owner.is_superuser, share_id=share_id, owner_id=owner.id)
            if len(locked) < len(file_ids) or self._session.execute(*link).one_or_none() is None:
                return False
            needs_superuser = any(file.owner_id != owner.id for file in locked)
            rows = json_text([{"id": file_id, "position": position} for position, file_id in enumerate(file_ids)])
            added = _add(share_id=share_id, rows=rows, needs_superuser=needs_superuser, max_files=max_files, now=clock.now())
            details = {"file_ids": [str(file_id) for file_id in file_ids]}
            return self._session.execute(*with_event(added, "share.files_added", details=details)).one_or_none() is not None

    def remove(self, share_id: UUID, user: User, file_id: UUID) -> bool:
        """Remove a file from a link and commit; False if the user may manage no such link that is not revoked, or it has no such file.

        Lock order: the link, its file. Visitors' rows of downloads of the file go with it; the link's counters stay.
        """
        removed = _remove(user.is_superuser, share_id=share_id, user_id=user.id, file_id=file_id, now=clock.now())
        statement = with_event(removed, "share.file_removed", details={"file_id": str(file_id)})
        return self._session.execute(*statement).one_or_none() is not None


@built_once
def _lock_link(is_superuser: bool, *, share_id: UUID, owner_id: UUID) -> Select[UUID]:
    is_theirs = (Share.owner_id == owner_id, links_manageable_by(ViewerOf(owner_id, is_superuser)))
    return select(Share.id).where(Share.id == share_id, *is_theirs, Share.revoked_at.is_(None)).with_for_update(key_share=True)


@built_once
def _add(*, share_id: UUID, rows: str, needs_superuser: bool, max_files: int, now: datetime) -> Select[UUID]:
    files = json_rows("files", rows, column("id", Uuid), column("position", Integer))
    is_present = exists().where(ShareFile.share_id == share_id, ShareFile.file_id == files.c.id)
    new = select(files.c.id, files.c.position).where(~is_present).cte("new_files")
    present = select(func.count().label("files"), func.coalesce(func.max(ShareFile.position) + 1, 0).label("next"))
    present_files = present.where(ShareFile.share_id == share_id).cte("present_files")
    number = select(func.count()).select_from(new).scalar_subquery()
    change = update(Share).where(Share.id == share_id, select(present_files.c.files).scalar_subquery() + number <= max_files)
    change = change.values(
        updated_at=now, needs_superuser=or_(Share.needs_superuser, as_column(needs_superuser, Share.needs_superuser.type))
    )
    changed = change.returning(Share.id).cte("changed")
    position = present_files.c.next + new.c.position
    links = select(changed.c.id, new.c.id, position).join_from(changed, new, true()).join(present_files, true())
    added = insert(ShareFile).from_select(["share_id", "file_id", "position"], links)
    logged = audit_insert_for(changed, kind=Share.__tablename__)
    statement = select(changed.c.id).add_cte(added.returning(literal(1).label("done")).cte("added"), logged.cte("logged"))
    return statement.execution_options(**OWN_TRANSACTION)


@built_once
def _remove(is_superuser: bool, *, share_id: UUID, user_id: UUID, file_id: UUID, now: datetime) -> Select[UUID]:
    is_changeable = (Share.id == share_id, Share.revoked_at.is_(None), links_manageable_by(ViewerOf(user_id, is_superuser)))
    link = select(Share.id).where(*is_changeable).with_for_update(key_share=True).cte("link")
    theirs = (ShareFile.share_id == link.c.id, ShareFile.file_id == file_id)
    removed = delete(ShareFile).where(*theirs).returning(ShareFile.share_id.label("id")).cte("removed")
    changed = update(Share).where(Share.id == removed.c.id).values(updated_at=now).returning(Share.id).cte("changed")
    logged = audit_insert_for(removed, kind=Share.__tablename__)
    return select(removed.c.id).add_cte(changed, logged.cte("logged")).execution_options(**OWN_TRANSACTION)
