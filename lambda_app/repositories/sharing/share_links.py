"""Queries of whoever opens a link: each looks at every rule as it is at that moment, and the ones that grant something also count it."""

from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from sqlalchemy import CTE, ColumnElement, Select, Update, exists, literal, or_, select, true, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased

from lambda_app.core.security.random_tokens import hash_secret
from lambda_app.db.session import violated_constraint
from lambda_app.models import Archive, File, Share, ShareArchiveDownload, ShareDownload, ShareFile, User
from lambda_app.repositories.archives.archives import is_downloadable, is_whole
from lambda_app.repositories.audit import audit_entry, audit_insert_for, audited_writes
from lambda_app.repositories.batch_delete import forget
from lambda_app.repositories.files.file_access import (
    AccessContext,
    link_has_downloads_left,
    link_is_for,
    link_is_live,
    link_knows_viewer,
    link_password_is_proven,
    reached_by,
)
from lambda_app.schemas.sharing.shares import is_slug

RESUME_WITHIN = timedelta(hours=1)
"""How long the rest of a download that was granted may be asked for without being counted again."""

_OWN_TRANSACTION = {"own_transaction": True, "synchronize_session": False, "populate_existing": True}
_UNLINKED = "fk_share_download_share_id_file_id"
_REMOVED = "fk_share_archive_download_archive_id"

Row = TypeVar("Row", File, Archive)


class Look(NamedTuple):
    """A link that opens something to somebody, and whether it does to this visitor."""

    share: Share
    is_known: bool
    """Whether it knows who the visitor is."""
    is_for_visitor: bool
    is_proven: bool


class Opened(NamedTuple):
    """A link and the files that it opens, in the owner's order."""

    share: Share
    files: list[File]


class ShareLinkRepository:
    """Opens links, by the token or slug that is their address."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def look(self, address: str, visit: AccessContext) -> Look | None:
        """Return the link if it opens anything to anybody; None is the same, and the same work, for all the reasons why not."""
        opens_something = exists(select(File.id).where(reached_by(Share)).correlate(Share))
        conditions = (_is_at(address), link_is_live(visit.at), link_has_downloads_left(), opens_something)
        verdicts = (link_knows_viewer(visit), link_is_for(visit), link_password_is_proven(visit))
        query = select(Share, *verdicts).where(*conditions).execution_options(populate_existing=True)
        row = self._session.execute(query).one_or_none()
        return None if row is None else Look(*row)

    def open(self, address: str, visit: AccessContext) -> Opened | None:
        """Return what the link opens to the visitor, and count and audit the opening, durably; None when it opens nothing."""
        opens_something = exists(select(File.id).where(reached_by(Share)).correlate(Share))
        opened = (
            update(Share)
            .where(*_is_open(address, visit), link_has_downloads_left(), opens_something)
            .values(open_count=Share.open_count + 1, last_opened_at=visit.at)
            .returning(*Share.__table__.c)
            .cte("opened")
        )
        logged = audit_insert_for(opened, "share.opened", kind=Share.__tablename__)
        query = _with_files(aliased(Share, opened)).add_cte(logged.cte("logged"))
        return self._opened(query.execution_options(**_OWN_TRANSACTION))

    def peek(self, address: str, visit: AccessContext) -> Opened | None:
        """Return the same without a trace: for robots, previews and HEAD."""
        query = _with_files(Share).where(*_is_open(address, visit), link_has_downloads_left())
        return self._opened(query.execution_options(populate_existing=True))

    def grant(self, address: str, file_id: UUID, visit: AccessContext, *, visitor: str) -> File | None:
        """Count a download and return its file, durably; None when the link does not let the visitor have it.

        One statement: of a hundred at once for the last download one finds it left.
        """
        granted = _granted(address, visit, _reaches(file_id))
        noted = _noted(ShareDownload, granted, share_id=granted.c.id, file_id=literal(file_id), visitor=literal(visitor), at=visit.at)
        details = {"file_id": file_id}
        logged = audit_insert_for(granted, "share.downloaded", kind=Share.__tablename__, details=details, behind=[noted])
        query = select(File).join(granted, true()).where(File.id == file_id).add_cte(noted, logged.cte("logged"))
        return self._given(query, unless_gone=_UNLINKED)

    def resume(self, address: str, file_id: UUID, visit: AccessContext, *, visitor: str) -> File | None:
        """Return the file if the visitor was granted it within the hour and the link is still open to them, exhausted or not.

        It is audited and not counted.
        """
        was_granted = exists().where(
            ShareDownload.share_id == Share.id,
            ShareDownload.file_id == file_id,
            ShareDownload.visitor == visitor,
            ShareDownload.at > visit.at - RESUME_WITHIN,
        )
        lets_go_on = (*_lets_have(address, visit), was_granted.correlate(Share), _reaches(file_id))
        resumed = select(Share.id).where(*lets_go_on).cte("resumed")
        return self._given(select(File).join(resumed, true()).where(File.id == file_id).add_cte(_logged(resumed, file_id=file_id)))

    def inspect(self, address: str, file_id: UUID, visit: AccessContext) -> File | None:
        """Return the file if the visitor could download it now; nothing is counted."""
        return self._file(file_id, *_lets_have(address, visit), link_has_downloads_left())

    def record_sign_in(self, share: Share, user: User, release: Update) -> None:
        """Audit that a user signed in for the link, and carry out `release`, durably."""
        entry = audit_entry("share.signed_in", subject=f"{Share.__tablename__}:{share.id}", actor_id=user.id)
        self._session.execute(audited_writes(release, entry=entry).execution_options(own_transaction=True))

    def grant_archive(self, address: str, archive_id: UUID, visit: AccessContext, *, visitor: str) -> Archive | None:
        """Count the download of a zip of the link's files as one and return it, durably; None when the link does not let it be had.

        Every file in it must still be one that the link opens.
        """
        granted = _granted(address, visit, _has_archive(archive_id, visit))
        noted = _noted(ShareArchiveDownload, granted, archive_id=literal(archive_id), visitor=literal(visitor), at=visit.at)
        details = {"archive_id": archive_id}
        logged = audit_insert_for(granted, "share.downloaded", kind=Share.__tablename__, details=details, behind=[noted])
        query = select(Archive).join(granted, true()).where(Archive.id == archive_id).add_cte(noted, logged.cte("logged"))
        return self._given(query, unless_gone=_REMOVED)

    def resume_archive(self, address: str, archive_id: UUID, visit: AccessContext, *, visitor: str) -> Archive | None:
        """Return the zip if the visitor was granted it within the hour and could have it still, but for the link's being exhausted.

        It is audited and not counted.
        """
        was_granted = exists().where(
            ShareArchiveDownload.archive_id == archive_id,
            ShareArchiveDownload.visitor == visitor,
            ShareArchiveDownload.at > visit.at - RESUME_WITHIN,
        )
        resumed = select(Share.id).where(*_lets_have(address, visit), was_granted, _has_archive(archive_id, visit)).cte("resumed")
        query = select(Archive).join(resumed, true()).where(Archive.id == archive_id)
        return self._given(query.add_cte(_logged(resumed, archive_id=archive_id)))

    def purge_download_visitors(self, *, before: datetime) -> int:
        """Remove what is kept of visitors from before then, durably; return how many."""
        return sum(forget(self._session, table, table.at < before) for table in (ShareDownload, ShareArchiveDownload))

    def _given(self, query: Select[Row], *, unless_gone: str | None = None) -> Row | None:
        try:
            return self._session.execute(query.execution_options(**_OWN_TRANSACTION)).scalar_one_or_none()
        except IntegrityError as error:
            if violated_constraint(error) != unless_gone:
                raise
            # It was deleted for good in this very moment; nothing was counted.
            return None

    def _file(self, file_id: UUID, *conditions: ColumnElement[bool]) -> File | None:
        query = select(File).join(Share, true()).where(File.id == file_id, reached_by(Share), *conditions)
        return self._session.execute(query.execution_options(populate_existing=True)).scalar_one_or_none()

    def _opened(self, query: Select[Any]) -> Opened | None:
        rows = self._session.execute(query).all()
        return Opened(rows[0][0], [row[1] for row in rows]) if rows else None


def _is_at(address: str) -> ColumnElement[bool]:
    # Both at any time: the same statement whatever came. What is no slug must not reach the database, which cannot hold all text.
    return or_(Share.token_hash == hash_secret(address), Share.slug == (address if is_slug(address) else ""))


def _is_open(address: str, visit: AccessContext) -> tuple[ColumnElement[bool], ...]:
    return _is_at(address), link_is_live(visit.at), link_is_for(visit), link_password_is_proven(visit)


def _lets_have(address: str, visit: AccessContext) -> tuple[ColumnElement[bool], ...]:
    return *_is_open(address, visit), Share.allows_download.is_(True)


def _reaches(file_id: UUID) -> ColumnElement[bool]:
    return exists(select(File.id).where(File.id == file_id, reached_by(Share)).correlate(Share))


def _has_archive(archive_id: UUID, visit: AccessContext) -> ColumnElement[bool]:
    conditions = (Archive.id == archive_id, Archive.share_id == Share.id, *is_downloadable(visit.at), is_whole(reached_by(Share)))
    return exists(select(Archive.id).where(*conditions).correlate(Share))


def _granted(address: str, visit: AccessContext, *conditions: ColumnElement[bool]) -> CTE:
    """Return the part that counts a download of the link where everything holds that must."""
    may = (*_lets_have(address, visit), link_has_downloads_left(), *conditions)
    return update(Share).where(*may).values(download_count=Share.download_count + 1).returning(Share.id).cte("granted")


def _noted(table: Any, granted: CTE, *, at: datetime, **key: ColumnElement[Any]) -> CTE:
    """Return the part that keeps who was granted what, for the rest of it."""
    values = {**key, "at": literal(at, table.at.type)}
    added = insert(table).from_select(list(values), select(*values.values()).select_from(granted))
    return added.on_conflict_do_update(constraint=table.__table__.primary_key, set_={"at": at}).returning(literal(1)).cte("noted")


def _logged(resumed: CTE, **details: UUID) -> CTE:
    return audit_insert_for(resumed, "share.download_resumed", kind=Share.__tablename__, details=details).cte("logged")


def _with_files(link: Any) -> Select[Any]:
    return (
        select(link, File)
        .join(ShareFile, ShareFile.share_id == link.id)
        .join(File, File.id == ShareFile.file_id)
        .where(reached_by(link))
        .order_by(ShareFile.position, File.id)
    )
