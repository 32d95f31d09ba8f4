"""Queries on share links, for their visitors. Each checks every rule; those that grant something also count it."""

from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from sqlalchemy import CTE, ColumnElement, Select, exists, literal, or_, select, true, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased

from lambda_app.core.security.random_tokens import hash_secret
from lambda_app.db.session import violated_constraint
from lambda_app.models import Archive, File, OpenShare, Share, ShareArchiveDownload, ShareDownload, ShareFile, User
from lambda_app.repositories.accounts.sign_in_attempts import AttemptKeys, reset_attempt
from lambda_app.repositories.archives.archives import has_all_files, is_downloadable
from lambda_app.repositories.audit import audit_entry, audit_insert_for, audited_writes
from lambda_app.repositories.batch_delete import delete_in_batches
from lambda_app.repositories.files.file_access import (
    AccessContext,
    link_has_downloads_left,
    link_is_for,
    link_is_live,
    link_opens_a_file,
    link_password_is_proven,
    link_viewer_is_signed_in,
    offered_by,
    reached_by,
)
from lambda_app.repositories.statements import OWN_TRANSACTION
from lambda_app.schemas.sharing.shares import is_slug

RESUME_WITHIN = timedelta(hours=1)
"""How long range requests count as resuming a granted download, not as a new one."""

_FILE_DELETED = "fk_share_download_share_id_file_id"
_ARCHIVE_DELETED = "fk_share_archive_download_archive_id"

Row = TypeVar("Row", File, Archive)


class FoundShare(NamedTuple):
    """A live link that opens at least one file, and which of its rules this visitor satisfies."""

    share: Share
    is_signed_in: bool
    """Whether the visitor is signed in, for this link or in general."""
    is_for_visitor: bool
    """Whether the visitor belongs to the audience."""
    is_proven: bool
    """Whether the link has no password, or the visitor has proven it."""


class ShareLinkRepository:
    """Opens links by their address, which is a token or a slug."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def find(self, address: str, access: AccessContext) -> FoundShare | None:
        """Return the link if it is live and opens a file; None otherwise, after the same work for every reason."""
        conditions = (_is_at(address), link_is_live(access.at), link_has_downloads_left(), link_opens_a_file())
        verdicts = (link_viewer_is_signed_in(access), link_is_for(access), link_password_is_proven(access))
        query = select(Share, *verdicts).where(*conditions).execution_options(populate_existing=True)
        row = self._session.execute(query).one_or_none()
        return None if row is None else FoundShare(*row)

    def open(self, address: str, access: AccessContext) -> OpenShare | None:
        """Return what the link opens for the visitor; count and audit the opening, and commit. None if it opens nothing.

        Lock order: the link, the end of the audit log.
        """
        opened = (
            update(Share)
            .where(*_is_open(address, access), link_has_downloads_left(), link_opens_a_file())
            .values(open_count=Share.open_count + 1, last_opened_at=access.at)
            .returning(*Share.__table__.c)
            .cte("opened")
        )
        logged = audit_insert_for(opened, "share.opened", kind=Share.__tablename__)
        query = _with_files(aliased(Share, opened)).add_cte(logged.cte("logged"))
        return self._opened(query.execution_options(**OWN_TRANSACTION))

    def preview(self, address: str, access: AccessContext) -> OpenShare | None:
        """Return the same without counting or auditing it: for robots, link previews and HEAD."""
        query = _with_files(Share).where(*_is_open(address, access), link_has_downloads_left())
        return self._opened(query.execution_options(populate_existing=True))

    def grant(self, address: str, file_id: UUID, access: AccessContext, *, visitor: str) -> File | None:
        """Count and audit a download, commit, and return the file; None if the visitor may not download it through the link.

        One statement, because every download executes it. Lock order: the link, the row of the visitor's download, the end of the audit
        log. The lock on the link makes its download limit exact under concurrency.
        """
        granted = _counted(address, access, link_opens_a_file(File.id == file_id))
        recorded = _recorded(
            ShareDownload, granted, share_id=granted.c.id, file_id=literal(file_id), visitor=literal(visitor), at=access.at
        )
        details = {"file_id": file_id}
        logged = audit_insert_for(granted, "share.downloaded", kind=Share.__tablename__, details=details, after=[recorded])
        query = select(File).join(granted, true()).where(File.id == file_id).add_cte(recorded, logged.cte("logged"))
        return self._execute(query, unless_deleted=_FILE_DELETED)

    def resume(self, address: str, file_id: UUID, access: AccessContext, *, visitor: str) -> File | None:
        """Audit a resumed download, commit, and return the file; None if none was granted to the visitor within `RESUME_WITHIN`.

        It is not counted, so an exhausted link permits it; every other rule still applies.
        """
        was_granted = exists().where(
            ShareDownload.share_id == Share.id,
            ShareDownload.file_id == file_id,
            ShareDownload.visitor == visitor,
            ShareDownload.at > access.at - RESUME_WITHIN,
        )
        conditions = (*_is_downloadable(address, access), was_granted.correlate(Share), link_opens_a_file(File.id == file_id))
        resumed = select(Share.id).where(*conditions).cte("resumed")
        return self._execute(select(File).join(resumed, true()).where(File.id == file_id).add_cte(_audited(resumed, file_id=file_id)))

    def check(self, address: str, file_id: UUID, access: AccessContext) -> File | None:
        """Return the file if the visitor may download it now, without counting it; None otherwise."""
        return self._file(file_id, *_is_downloadable(address, access), link_has_downloads_left())

    def record_sign_in(self, share: Share, user: User, *, attempt: AttemptKeys) -> None:
        """Reset the counters of the sign-in attempt, audit the sign-in for the link, and commit.

        Lock order: the counters, the end of the audit log.
        """
        entry = audit_entry("share.signed_in", subject=f"{Share.__tablename__}:{share.id}", actor_id=user.id)
        self._session.execute(audited_writes(reset_attempt(attempt), entry=entry).execution_options(**OWN_TRANSACTION))

    def grant_archive(self, address: str, archive_id: UUID, access: AccessContext, *, visitor: str) -> Archive | None:
        """Count and audit the download of an archive as one, commit, and return the archive; None if the visitor may not download it.

        The link must still open every file in it. Lock order: as in `grant`.
        """
        granted = _counted(address, access, _has_archive(archive_id, access))
        recorded = _recorded(ShareArchiveDownload, granted, archive_id=literal(archive_id), visitor=literal(visitor), at=access.at)
        details = {"archive_id": archive_id}
        logged = audit_insert_for(granted, "share.downloaded", kind=Share.__tablename__, details=details, after=[recorded])
        query = select(Archive).join(granted, true()).where(Archive.id == archive_id).add_cte(recorded, logged.cte("logged"))
        return self._execute(query, unless_deleted=_ARCHIVE_DELETED)

    def resume_archive(self, address: str, archive_id: UUID, access: AccessContext, *, visitor: str) -> Archive | None:
        """Audit a resumed download, commit, and return the archive; None if none was granted to the visitor within `RESUME_WITHIN`.

        It is not counted, so an exhausted link permits it; every other rule still applies.
        """
        was_granted = exists().where(
            ShareArchiveDownload.archive_id == archive_id,
            ShareArchiveDownload.visitor == visitor,
            ShareArchiveDownload.at > access.at - RESUME_WITHIN,
        )
        resumed = select(Share.id).where(*_is_downloadable(address, access), was_granted, _has_archive(archive_id, access)).cte("resumed")
        query = select(Archive).join(resumed, true()).where(Archive.id == archive_id)
        return self._execute(query.add_cte(_audited(resumed, archive_id=archive_id)))

    def purge_download_visitors(self, *, before: datetime) -> int:
        """Delete the rows of visitors' downloads from before this time, in batches; return how many."""
        return sum(delete_in_batches(self._session, table, table.at < before) for table in (ShareDownload, ShareArchiveDownload))

    def _execute(self, query: Select[Row], *, unless_deleted: str | None = None) -> Row | None:
        try:
            return self._session.execute(query.execution_options(**OWN_TRANSACTION)).scalar_one_or_none()
        except IntegrityError as error:
            if violated_constraint(error) != unless_deleted:
                raise
            # The file or archive was deleted concurrently. The statement was rolled back, so nothing was counted.
            return None

    def _file(self, file_id: UUID, *conditions: ColumnElement[bool]) -> File | None:
        query = select(File).join(ShareFile, ShareFile.file_id == File.id).join(Share, Share.id == ShareFile.share_id)
        query = query.where(File.id == file_id, offered_by(Share), *conditions)
        return self._session.execute(query.execution_options(populate_existing=True)).scalar_one_or_none()

    def _opened(self, query: Select[Any]) -> OpenShare | None:
        rows = self._session.execute(query).all()
        return OpenShare(rows[0][0], [row[1] for row in rows]) if rows else None


def _is_at(address: str) -> ColumnElement[bool]:
    # Always both conditions, so that one statement serves tokens and slugs. Text that is no slug may contain what PostgreSQL cannot store.
    return or_(Share.token_hash == hash_secret(address), Share.slug == (address if is_slug(address) else ""))


def _is_open(address: str, access: AccessContext) -> tuple[ColumnElement[bool], ...]:
    return _is_at(address), link_is_live(access.at), link_is_for(access), link_password_is_proven(access)


def _is_downloadable(address: str, access: AccessContext) -> tuple[ColumnElement[bool], ...]:
    return *_is_open(address, access), Share.allows_download.is_(True)


def _has_archive(archive_id: UUID, access: AccessContext) -> ColumnElement[bool]:
    conditions = (Archive.id == archive_id, Archive.share_id == Share.id, *is_downloadable(access.at), has_all_files(reached_by(Share)))
    return exists(select(Archive.id).where(*conditions).correlate(Share))


def _counted(address: str, access: AccessContext, *conditions: ColumnElement[bool]) -> CTE:
    """Return the CTE that counts a download of the link if the visitor may download, and a download is left."""
    conditions = (*_is_downloadable(address, access), link_has_downloads_left(), *conditions)
    return update(Share).where(*conditions).values(download_count=Share.download_count + 1).returning(Share.id).cte("granted")


def _recorded(table: Any, granted: CTE, *, at: datetime, **key: ColumnElement[Any]) -> CTE:
    """Return the CTE that records the granted download, for requests that resume it."""
    values = {**key, "at": literal(at, table.at.type)}
    added = insert(table).from_select(list(values), select(*values.values()).select_from(granted))
    return added.on_conflict_do_update(constraint=table.__table__.primary_key, set_={"at": at}).returning(literal(1)).cte("recorded")


def _audited(resumed: CTE, **details: UUID) -> CTE:
    return audit_insert_for(resumed, "share.download_resumed", kind=Share.__tablename__, details=details).cte("logged")


def _with_files(link: Any) -> Select[Any]:
    return (
        select(link, File)
        .join(ShareFile, ShareFile.share_id == link.id)
        .join(File, File.id == ShareFile.file_id)
        .where(offered_by(link))
        .order_by(ShareFile.position, File.id)
    )
