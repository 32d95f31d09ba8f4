"""Queries on share links, for their visitors. Each checks every rule; those that grant something also count it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, NamedTuple, Protocol, Self, TypeVar
from uuid import UUID

from sqlalchemy import CTE, ColumnElement, FromClause, Insert, Select, and_, exists, literal, or_, select, true, union_all, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased

from lambda_app.core.security.random_tokens import hash_secret
from lambda_app.core.security.share_tokens import ShareToken
from lambda_app.db.session import violated_constraint
from lambda_app.models import Archive, File, OpenShare, Share, ShareArchiveDownload, ShareDownload, ShareFile, User
from lambda_app.repositories.accounts.profiles import name_for_visitors
from lambda_app.repositories.accounts.sign_in_attempts import AttemptKeys, audited_reset
from lambda_app.repositories.archives.archives import has_all_files, is_downloadable
from lambda_app.repositories.audit import ENTRY, audit_entry, audit_insert_entry, audit_insert_for, entry_parameters, with_event
from lambda_app.repositories.batch_delete import delete_in_batches
from lambda_app.repositories.files.file_access import (
    AccessContext,
    is_served,
    link_has_downloads_left,
    link_is_for,
    link_is_live,
    link_opens_a_file,
    link_password_is_proven,
    link_viewer_is_signed_in,
    offered_by,
    reached_by,
)
from lambda_app.repositories.statements import OWN_TRANSACTION, Bound, as_column, built_once
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
        row = self._session.execute(*_find(**_visit(address, access))).one_or_none()
        return None if row is None else FoundShare(*row)

    def open(self, address: str, access: AccessContext) -> OpenShare | None:
        """Return what the link opens for the visitor; count and audit the opening, and commit. None if it opens nothing."""
        return self._opened(with_event(_open(**_visit(address, access)), "share.opened"))

    def preview(self, address: str, access: AccessContext) -> OpenShare | None:
        """Return the same without counting or auditing it: for robots, link previews and HEAD."""
        return self._opened(_preview(**_visit(address, access)))

    def check(self, address: str, file_id: UUID, access: AccessContext) -> File | None:
        """Return the file if the visitor may download it now, without counting it; None otherwise."""
        return self._session.execute(*_file(False, file_id=file_id, **_visit(address, access))).scalar_one_or_none()

    def get_withheld(self, address: str, file_id: UUID, access: AccessContext) -> File | None:
        """Return the file if the visitor could download it, but a malware scan withholds it."""
        return self._session.execute(*_file(True, file_id=file_id, **_visit(address, access))).scalar_one_or_none()

    def record_sign_in(self, share: Share, user: User, *, attempt: AttemptKeys | None) -> None:
        """Reset the counters of the sign-in attempt with a password, if it was one, and audit the sign-in for the link.

        Commits, unless the caller has a transaction.
        """
        entry = audit_entry("share.signed_in", subject=f"{Share.__tablename__}:{share.id}", actor_id=user.id)
        values = entry_parameters(entry) | ({} if attempt is None else attempt.parameters)
        statement = audit_insert_entry() if attempt is None else audited_reset()
        self._session.execute(statement, values, execution_options=OWN_TRANSACTION)

    def grant_archive(self, address: str, archive_id: UUID, access: AccessContext, *, visitor: str) -> Archive | None:
        """Count and audit the download of an archive as one download, commit, and return it; None if the visitor may not download it.

        The link must still open every file in it. See `grant_statement`.
        """
        # One statement. A statement that waited for the lock on the link does not see what the other one recorded: if it finds the row of
        # its own visitor, it counts nothing, and the second attempt reads the row as a repeat.
        values = {"archive_id": archive_id, "visitor": visitor, "after": access.at - REPEAT_WITHIN, **_visit(address, access)}
        granted = with_event(_grant_archive(**values), "share.downloaded", details={"archive_id": archive_id})
        try:
            row = self._session.execute(*granted).one_or_none()
            if row is not None and row[0] is None:
                row = self._session.execute(*granted).one_or_none()
        except IntegrityError as error:
            if violated_constraint(error) != _ArchiveDownload.deleted_constraint:
                raise
            # The archive was deleted concurrently. The statement was rolled back, so nothing was counted.
            return None
        return None if row is None else row[0]

    def resume_archive(self, address: str, archive_id: UUID, access: AccessContext, *, visitor: str) -> Archive | None:
        """Audit a resumed download of an archive, commit, and return it; None if none was granted. See `resume_statement`."""
        values = {"archive_id": archive_id, "visitor": visitor, "after": access.at - RESUME_WITHIN, **_visit(address, access)}
        resumed = with_event(_resume_archive(**values), "share.download_resumed", details={"archive_id": archive_id})
        row = self._session.execute(*resumed).one_or_none()
        return None if row is None else row[0]

    def purge_download_visitors(self, *, before: datetime) -> int:
        """Delete the rows of visitors' downloads from before this time, in batches; return how many."""
        return sum(delete_in_batches(self._session, table, table.at < before) for table in (ShareDownload, ShareArchiveDownload))

    def _opened(self, query: Bound[Select[Any]]) -> OpenShare | None:
        rows = self._session.execute(*query).all()
        return OpenShare(rows[0][0], [row[1] for row in rows], rows[0][2]) if rows else None


class LinkAddress(NamedTuple):
    """The address of a link as the database knows it: values, or parameters of a statement."""

    token_hash: Any
    slug: Any

    @classmethod
    def of(cls, address: str) -> Self:
        """Return the address from text. Text that is no slug may contain what PostgreSQL cannot store."""
        return cls(hash_secret(address), address if is_slug(address) else "")


def _is_at(address: LinkAddress) -> ColumnElement[bool]:
    # Always both conditions, so that one statement serves tokens and slugs.
    return or_(Share.token_hash == address.token_hash, Share.slug == address.slug)


def _is_open(address: LinkAddress, access: AccessContext) -> tuple[ColumnElement[bool], ...]:
    return _is_at(address), link_is_live(access.at), link_is_for(access), link_password_is_proven(access)


def _is_downloadable(address: LinkAddress, access: AccessContext) -> tuple[ColumnElement[bool], ...]:
    return *_is_open(address, access), Share.allows_download.is_(True)


Entry = Callable[[str], Mapping[str, Any]]
"""Returns the columns of the audit event of an action."""


def _visit(address: str, access: AccessContext) -> dict[str, Any]:
    """Return the values of `_visited`."""
    token_hash, slug = LinkAddress.of(address)
    values: dict[str, Any] = {"token_hash": token_hash, "slug": slug, "now": access.at}
    if access.user is not None:
        values |= {"user_id": access.user.id, "user_epoch": access.user.token_epoch}
    if access.proven is not None:
        values |= {f"proven_{name}": value for name, value in asdict(access.proven).items()}
    return values


def _visited(visit: Mapping[str, Any]) -> tuple[LinkAddress, AccessContext]:
    """Return the address of the link and the context of the visit, from the parameters of a statement."""
    proven = {name: visit.get(f"proven_{name}") for name in ShareToken.__dataclass_fields__}
    return LinkAddress(visit["token_hash"], visit["slug"]), AccessContext(
        at=visit["now"],
        user=SimpleNamespace(id=visit["user_id"], token_epoch=visit["user_epoch"]) if "user_id" in visit else None,
        proven=ShareToken(**proven) if "proven_share_id" in visit else None,  # type: ignore[arg-type]  # parameters in place of values
    )


@built_once
def _find(**visit: Any) -> Select[Share, bool, bool, bool]:
    address, access = _visited(visit)
    conditions = (_is_at(address), link_is_live(access.at), link_has_downloads_left(), link_opens_a_file())
    verdicts = (link_viewer_is_signed_in(access), link_is_for(access), link_password_is_proven(access))
    return select(Share, *verdicts).where(*conditions).execution_options(populate_existing=True)


@built_once
def _open(**visit: Any) -> Select[Any]:
    address, access = _visited(visit)
    opened = (
        update(Share)
        .where(*_is_open(address, access), link_has_downloads_left(), link_opens_a_file())
        .values(open_count=Share.open_count + 1, last_opened_at=access.at)
        .returning(*Share.__table__.c)
        .cte("opened")
    )
    logged = audit_insert_for(opened, kind=Share.__tablename__)
    return _with_files(aliased(Share, opened)).add_cte(logged.cte("logged")).execution_options(**OWN_TRANSACTION)


@built_once
def _preview(**visit: Any) -> Select[Any]:
    address, access = _visited(visit)
    return _with_files(Share).where(*_is_open(address, access), link_has_downloads_left()).execution_options(populate_existing=True)


@built_once
def _file(is_withheld: bool, *, file_id: UUID, **visit: Any) -> Select[File]:
    address, access = _visited(visit)
    conditions = [File.is_withheld.is_(True)] if is_withheld else [link_has_downloads_left(), is_served()]
    query = select(File).join(ShareFile, ShareFile.file_id == File.id).join(Share, Share.id == ShareFile.share_id)
    query = query.where(File.id == file_id, offered_by(Share), *_is_downloadable(address, access), *conditions)
    return query.execution_options(populate_existing=True)


@built_once
def _grant_archive(*, archive_id: UUID, visitor: str, after: datetime, **visit: Any) -> Select[Any]:
    address, access = _visited(visit)
    granted = grant_statement(_ArchiveDownload(archive_id), address, access, visitor=visitor, repeated_after=after, entry=_entry)
    return granted.select(Archive).execution_options(**OWN_TRANSACTION)


@built_once
def _resume_archive(*, archive_id: UUID, visitor: str, after: datetime, **visit: Any) -> Select[Any]:
    address, access = _visited(visit)
    resumed = resume_statement(_ArchiveDownload(archive_id), address, access, visitor=visitor, granted_after=after, entry=_entry)
    return resumed.select(Archive).execution_options(**OWN_TRANSACTION)


def _entry(action: str) -> Mapping[str, Any]:
    return {**ENTRY, "action": action}


class Download(Protocol[Row]):
    """What is downloaded through a link, and the table that records who did."""

    model: type[Row]
    id: Any
    """The parameter that is its id."""
    deleted_constraint: str
    """The foreign key that a record violates after a concurrent deletion."""

    def is_served_by_link(self, access: AccessContext) -> ColumnElement[bool]:
        """The links that open it."""

    def was_granted(self, visitor: Any, *, after: Any) -> ColumnElement[bool]:
        """The links through which the visitor downloaded it after this time."""

    def record(self, link: CTE, *, visitor: Any, at: Any, repeated_after: Any) -> CTE:
        """Return the CTE that records the download through the locked link, for requests that repeat or resume it.

        It has a column `done`, and no row if a concurrent request has recorded the same download since `repeated_after`.
        """


class FileDownload:
    """The download of a file."""

    model = File
    deleted_constraint = "fk_share_download_share_id_file_id"

    def __init__(self, file_id: Any) -> None:
        self.id = file_id

    def is_served_by_link(self, _access: AccessContext) -> ColumnElement[bool]:
        """The links that open it."""
        return link_opens_a_file(File.id == self.id, is_served())

    def was_granted(self, visitor: Any, *, after: Any) -> ColumnElement[bool]:
        """The links through which the visitor downloaded it after this time."""
        is_theirs = (ShareDownload.visitor == visitor, ShareDownload.at > after)
        return exists().where(ShareDownload.share_id == Share.id, ShareDownload.file_id == self.id, *is_theirs).correlate(Share)

    def record(self, link: CTE, *, visitor: Any, at: Any, repeated_after: Any) -> CTE:
        """Return the CTE that records the download: see `Download`."""
        key = {"file_id": as_column(self.id, ShareDownload.file_id.type), "visitor": as_column(visitor, ShareDownload.visitor.type)}
        return _recorded(ShareDownload, link, at, repeated_after, share_id=link.c.id, **key)


class _ArchiveDownload:
    """The download of an archive."""

    model = Archive
    deleted_constraint = "fk_share_archive_download_archive_id"

    def __init__(self, archive_id: UUID) -> None:
        self.id = archive_id

    def is_served_by_link(self, access: AccessContext) -> ColumnElement[bool]:
        is_ready = (*is_downloadable(access.at), has_all_files(reached_by(Share)))
        return exists(select(Archive.id).where(Archive.id == self.id, Archive.share_id == Share.id, *is_ready).correlate(Share))

    def was_granted(self, visitor: Any, *, after: Any) -> ColumnElement[bool]:
        return exists().where(
            ShareArchiveDownload.archive_id == self.id, ShareArchiveDownload.visitor == visitor, ShareArchiveDownload.at > after
        )

    def record(self, link: CTE, *, visitor: Any, at: Any, repeated_after: Any) -> CTE:
        key = {
            "archive_id": as_column(self.id, ShareArchiveDownload.archive_id.type),
            "visitor": as_column(visitor, ShareArchiveDownload.visitor.type),
        }
        return _recorded(ShareArchiveDownload, link, at, repeated_after, **key)


class DownloadStatement(NamedTuple):
    """The parts of a statement that grants or resumes a download.

    `opened` has a row if the link was open for the download when the statement began, and `allowed` if the visitor may download.
    """

    download: "Download[Any]"
    opened: CTE
    allowed: FromClause
    parts: Sequence[CTE]

    def rows(self, *columns: Any) -> Select[Any]:
        """Return the query for these columns of what is downloaded and the link's id, without the parts that write.

        It returns a row if the link was open. Its columns are None if a concurrent request counted first.
        """
        model, allowed = self.download.model, self.allowed
        query = select(*columns, self.opened.c.id.label("link_id")).select_from(self.opened).outerjoin(allowed, true())
        return query.outerjoin(model, and_(model.id == self.download.id, allowed.c.id.is_not(None)))

    def select(self, *columns: Any) -> Select[Any]:
        """Return the whole statement: see `rows`."""
        return self.rows(*columns).add_cte(*self.parts)


def grant_statement(
    download: "Download[Any]",
    address: LinkAddress,
    access: AccessContext,
    *,
    visitor: Any,
    repeated_after: Any,
    entry: "Entry",
    conditions: Sequence[ColumnElement[bool]] = (),
) -> DownloadStatement:
    """Return the statement that counts and audits a download, from parameters of a statement that is built once.

    A repeat since `repeated_after` is only audited: the visitor still has a URL for the whole file, and a player or a download manager
    requests its start more than once. Lock order: the link, the row of the visitor's download, the end of the audit log. The lock on the
    link makes its download limit exact under concurrency. A statement that waited for that lock does not see what the other one recorded:
    if it finds the row of its own visitor, it counts nothing, and a second attempt reads the row as a repeat.

    `conditions` must hold too.
    """
    is_repeated = download.was_granted(visitor, after=repeated_after).label("is_repeated")
    has_left = link_has_downloads_left()
    is_open = (*_is_downloadable(address, access), download.is_served_by_link(access), *conditions)
    opened = select(Share.id, is_repeated).where(*is_open, or_(is_repeated, has_left)).cte("opened")
    repeated = select(opened.c.id).where(opened.c.is_repeated).cte("repeated")
    # Checked again with the lock: a concurrent request may have changed, revoked or exhausted the link.
    first = select(Share.id).where(Share.id == opened.c.id, ~opened.c.is_repeated, *_is_downloadable(address, access), has_left)
    locked = first.with_for_update(of=Share, key_share=True).cte("locked")
    recorded = download.record(locked, visitor=visitor, at=access.at, repeated_after=repeated_after)
    counting = update(Share).where(Share.id == locked.c.id, exists(select(recorded.c.done)))
    granted = counting.values(download_count=Share.download_count + 1).returning(Share.id).cte("granted")
    logged = _audited(granted, "share.downloaded", entry)
    logged_again = _audited(repeated, "share.download_resumed", entry)
    allowed = union_all(select(granted.c.id), select(repeated.c.id)).subquery("allowed")
    return DownloadStatement(download, opened, allowed, (logged.cte("logged"), logged_again.cte("logged_again")))


def resume_statement(
    download: "Download[Any]",
    address: LinkAddress,
    access: AccessContext,
    *,
    visitor: Any,
    granted_after: Any,
    entry: "Entry",
    conditions: Sequence[ColumnElement[bool]] = (),
) -> DownloadStatement:
    """Return the statement that audits a resumed download, if one was granted to the visitor since `granted_after`.

    It is not counted, so an exhausted link permits it; every other rule still applies. Parameters as in `grant_statement`.
    """
    granted_before = _granted_before(download, address, access, visitor=visitor, after=granted_after)
    resumed = granted_before.where(*conditions).cte("resumed")
    logged = _audited(resumed, "share.download_resumed", entry).cte("logged")
    return DownloadStatement(download, resumed, select(resumed.c.id).subquery("allowed"), (logged,))


def _granted_before(download: "Download[Any]", address: LinkAddress, access: AccessContext, *, visitor: Any, after: Any) -> Select[UUID]:
    """Return the query for the link if the visitor may still download through it, except for its limit, and did after that time."""
    was_granted = download.was_granted(visitor, after=after)
    return select(Share.id).where(*_is_downloadable(address, access), was_granted, download.is_served_by_link(access))


def _recorded(table: Any, link: CTE, at: Any, repeated_after: Any, **key: ColumnElement[Any]) -> CTE:
    """Return the CTE that records the download; it has a row unless a download that is repeated by this one is recorded already."""
    time, latest = as_column(at, table.at.type), as_column(repeated_after, table.at.type)
    values = {**key, "at": time}
    added = insert(table).from_select(list(values), select(*values.values()).select_from(link))
    changed = added.on_conflict_do_update(constraint=table.__table__.primary_key, set_={"at": time}, where=table.at <= latest)
    return changed.returning(literal(1).label("done")).cte("recorded")


def _audited(changed: CTE, action: str, entry: "Entry") -> Insert:
    return audit_insert_for(changed, kind=Share.__tablename__, entry=entry(action))


def _with_files(link: Any) -> Select[Any]:
    return (
        select(link, File, name_for_visitors(link.owner_id))
        .join(ShareFile, ShareFile.share_id == link.id)
        .join(File, File.id == ShareFile.file_id)
        .where(offered_by(link))
        .order_by(ShareFile.position, File.id)
    )
