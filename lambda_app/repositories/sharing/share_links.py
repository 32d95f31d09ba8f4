"""Queries on share links, for their visitors. Each checks every rule; those that grant something also count it."""

from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol, TypeVar
from uuid import UUID

from sqlalchemy import CTE, ColumnElement, Insert, Select, and_, exists, literal, or_, select, true, union_all, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased

from lambda_app.core.security.random_tokens import hash_secret
from lambda_app.db.session import violated_constraint
from lambda_app.models import Archive, File, OpenShare, Share, ShareArchiveDownload, ShareDownload, ShareFile, User
from lambda_app.repositories.accounts.profiles import name_for_visitors
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

LINK_DOWNLOAD_URL_TTL_SECONDS = 60
"""Lifetime of the presigned URL that a download redirects to; browsers follow the redirect immediately."""
RESUME_WITHIN = timedelta(hours=1)
"""How long range requests count as resuming a granted download, not as a new one."""
REPEAT_WITHIN = timedelta(seconds=LINK_DOWNLOAD_URL_TTL_SECONDS)
"""How long any request of the same visitor for the same download counts as a repeat: as long as the URL is valid that was granted."""

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

        A repeat within `REPEAT_WITHIN` is only audited: the visitor still has a URL for the whole file, and a player or a download
        manager requests its start more than once.
        """
        return self._grant(_FileDownload(file_id), address, access, visitor=visitor)

    def resume(self, address: str, file_id: UUID, access: AccessContext, *, visitor: str) -> File | None:
        """Audit a resumed download, commit, and return the file; None if none was granted to the visitor within `RESUME_WITHIN`.

        It is not counted, so an exhausted link permits it; every other rule still applies.
        """
        return self._resume(_FileDownload(file_id), address, access, visitor=visitor)

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
        """The same as `grant` for an archive, which counts as one download. The link must still open every file in it."""
        return self._grant(_ArchiveDownload(archive_id), address, access, visitor=visitor)

    def resume_archive(self, address: str, archive_id: UUID, access: AccessContext, *, visitor: str) -> Archive | None:
        """The same as `resume` for an archive."""
        return self._resume(_ArchiveDownload(archive_id), address, access, visitor=visitor)

    def purge_download_visitors(self, *, before: datetime) -> int:
        """Delete the rows of visitors' downloads from before this time, in batches; return how many."""
        return sum(delete_in_batches(self._session, table, table.at < before) for table in (ShareDownload, ShareArchiveDownload))

    def _grant(self, download: "_Download[Row]", address: str, access: AccessContext, *, visitor: str) -> Row | None:
        """One statement, because every download executes it.

        Lock order: the link, the row of the visitor's download, the end of the audit log. The lock on the link makes its download limit
        exact under concurrency. A statement that waited for that lock does not see what the other one recorded: if it finds the row of
        its own visitor, it counts nothing, and the second attempt reads the row as a repeat.
        """
        query = _grant_query(download, address, access, visitor=visitor)
        try:
            row = self._session.execute(query.execution_options(**OWN_TRANSACTION)).one_or_none()
            if row is not None and row[0] is None:
                row = self._session.execute(query.execution_options(**OWN_TRANSACTION)).one_or_none()
        except IntegrityError as error:
            if violated_constraint(error) != download.deleted_constraint:
                raise
            # The file or archive was deleted concurrently. The statement was rolled back, so nothing was counted.
            return None
        return None if row is None else row[0]

    def _resume(self, download: "_Download[Row]", address: str, access: AccessContext, *, visitor: str) -> Row | None:
        resumed = _granted_before(download, address, access, visitor=visitor, within=RESUME_WITHIN).cte("resumed")
        query = select(download.model).join(resumed, true()).where(download.model.id == download.id)
        return self._execute(query.add_cte(_audited(resumed, download).cte("logged")))

    def _execute(self, query: Select[Row]) -> Row | None:
        return self._session.execute(query.execution_options(**OWN_TRANSACTION)).scalar_one_or_none()

    def _file(self, file_id: UUID, *conditions: ColumnElement[bool]) -> File | None:
        query = select(File).join(ShareFile, ShareFile.file_id == File.id).join(Share, Share.id == ShareFile.share_id)
        query = query.where(File.id == file_id, offered_by(Share), *conditions)
        return self._session.execute(query.execution_options(populate_existing=True)).scalar_one_or_none()

    def _opened(self, query: Select[Any]) -> OpenShare | None:
        rows = self._session.execute(query).all()
        return OpenShare(rows[0][0], [row[1] for row in rows], rows[0][2]) if rows else None


def _is_at(address: str) -> ColumnElement[bool]:
    # Always both conditions, so that one statement serves tokens and slugs. Text that is no slug may contain what PostgreSQL cannot store.
    return or_(Share.token_hash == hash_secret(address), Share.slug == (address if is_slug(address) else ""))


def _is_open(address: str, access: AccessContext) -> tuple[ColumnElement[bool], ...]:
    return _is_at(address), link_is_live(access.at), link_is_for(access), link_password_is_proven(access)


def _is_downloadable(address: str, access: AccessContext) -> tuple[ColumnElement[bool], ...]:
    return *_is_open(address, access), Share.allows_download.is_(True)


class _Download(Protocol[Row]):
    """What is downloaded through a link, and the table that records who did."""

    model: type[Row]
    id: UUID
    details: dict[str, UUID]
    deleted_constraint: str
    """The foreign key that a record violates after a concurrent deletion."""

    def is_served_by_link(self, access: AccessContext) -> ColumnElement[bool]:
        """The links that open it."""

    def was_granted(self, visitor: str, *, after: datetime) -> ColumnElement[bool]:
        """The links through which the visitor downloaded it after this time."""

    def record(self, link: CTE, *, visitor: str, at: datetime) -> CTE:
        """Return the CTE that records the download through the locked link, for requests that repeat or resume it.

        It has a column `done`, and no row if a concurrent request has recorded the same download.
        """


class _FileDownload:
    """The download of a file."""

    model = File
    deleted_constraint = "fk_share_download_share_id_file_id"

    def __init__(self, file_id: UUID) -> None:
        self.id = file_id
        self.details = {"file_id": file_id}

    def is_served_by_link(self, _access: AccessContext) -> ColumnElement[bool]:
        return link_opens_a_file(File.id == self.id)

    def was_granted(self, visitor: str, *, after: datetime) -> ColumnElement[bool]:
        is_theirs = (ShareDownload.visitor == visitor, ShareDownload.at > after)
        return exists().where(ShareDownload.share_id == Share.id, ShareDownload.file_id == self.id, *is_theirs).correlate(Share)

    def record(self, link: CTE, *, visitor: str, at: datetime) -> CTE:
        return _recorded(ShareDownload, link, share_id=link.c.id, file_id=literal(self.id), visitor=literal(visitor), at=at)


class _ArchiveDownload:
    """The download of an archive."""

    model = Archive
    deleted_constraint = "fk_share_archive_download_archive_id"

    def __init__(self, archive_id: UUID) -> None:
        self.id = archive_id
        self.details = {"archive_id": archive_id}

    def is_served_by_link(self, access: AccessContext) -> ColumnElement[bool]:
        is_ready = (*is_downloadable(access.at), has_all_files(reached_by(Share)))
        return exists(select(Archive.id).where(Archive.id == self.id, Archive.share_id == Share.id, *is_ready).correlate(Share))

    def was_granted(self, visitor: str, *, after: datetime) -> ColumnElement[bool]:
        return exists().where(
            ShareArchiveDownload.archive_id == self.id, ShareArchiveDownload.visitor == visitor, ShareArchiveDownload.at > after
        )

    def record(self, link: CTE, *, visitor: str, at: datetime) -> CTE:
        return _recorded(ShareArchiveDownload, link, archive_id=literal(self.id), visitor=literal(visitor), at=at)


def _grant_query(download: _Download[Row], address: str, access: AccessContext, *, visitor: str) -> Select[Any]:
    """Return the statement that grants, counts and records a download, or audits its repetition.

    It returns a row if the link was open for the download when the statement began: the file or archive, and the link's id. The file is
    None if a concurrent request counted first.
    """
    is_repeated = download.was_granted(visitor, after=access.at - REPEAT_WITHIN).label("is_repeated")
    has_left = link_has_downloads_left()
    is_open = (*_is_downloadable(address, access), download.is_served_by_link(access))
    opened = select(Share.id, is_repeated).where(*is_open, or_(is_repeated, has_left)).cte("opened")
    repeated = select(opened.c.id).where(opened.c.is_repeated).cte("repeated")
    # Checked again with the lock: a concurrent request may have changed, revoked or exhausted the link.
    first = select(Share.id).where(Share.id == opened.c.id, ~opened.c.is_repeated, *_is_downloadable(address, access), has_left)
    locked = first.with_for_update(of=Share, key_share=True).cte("locked")
    recorded = download.record(locked, visitor=visitor, at=access.at)
    counting = update(Share).where(Share.id == locked.c.id, exists(select(recorded.c.done)))
    granted = counting.values(download_count=Share.download_count + 1).returning(Share.id).cte("granted")
    logged = audit_insert_for(granted, "share.downloaded", kind=Share.__tablename__, details=download.details).cte("logged")
    allowed = union_all(select(granted.c.id), select(repeated.c.id)).subquery("allowed")
    query = select(download.model, opened.c.id).select_from(opened).outerjoin(allowed, true())
    query = query.outerjoin(download.model, and_(download.model.id == download.id, allowed.c.id.is_not(None)))
    return query.add_cte(logged, _audited(repeated, download).cte("logged_again"))


def _granted_before(download: _Download[Any], address: str, access: AccessContext, *, visitor: str, within: timedelta) -> Select[UUID]:
    """Return the query for the link if the visitor may still download through it, except for its limit, and did within that time."""
    was_granted = download.was_granted(visitor, after=access.at - within)
    return select(Share.id).where(*_is_downloadable(address, access), was_granted, download.is_served_by_link(access))


def _recorded(table: Any, link: CTE, *, at: datetime, **key: ColumnElement[Any]) -> CTE:
    """Return the CTE that records the download; it has a row unless a download that is repeated by this one is recorded already."""
    values = {**key, "at": literal(at, table.at.type)}
    added = insert(table).from_select(list(values), select(*values.values()).select_from(link))
    changed = added.on_conflict_do_update(constraint=table.__table__.primary_key, set_={"at": at}, where=table.at <= at - REPEAT_WITHIN)
    return changed.returning(literal(1).label("done")).cte("recorded")


def _audited(resumed: CTE, download: _Download[Any]) -> Insert:
    return audit_insert_for(resumed, "share.download_resumed", kind=Share.__tablename__, details=download.details)


def _with_files(link: Any) -> Select[Any]:
    return (
        select(link, File, name_for_visitors(link.owner_id))
        .join(ShareFile, ShareFile.share_id == link.id)
        .join(File, File.id == ShareFile.file_id)
        .where(offered_by(link))
        .order_by(ShareFile.position, File.id)
    )
