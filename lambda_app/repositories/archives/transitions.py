"""The steps of an archive's transitions, each one statement that commits by itself (docs/adr/0005-file-transitions-as-own-transactions.md).

A worker's steps name its lease: once another worker has taken over, or the archive was deleted, they change nothing.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    DateTime,
    Integer,
    String,
    Uuid,
    and_,
    case,
    column,
    delete,
    exists,
    func,
    insert,
    literal,
    not_,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert as insert_or_update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased

from lambda_app.core import clock
from lambda_app.db.session import violated_constraint
from lambda_app.models import UNFINISHED, Archive, ArchiveFile, ArchiveStatus, Share, User
from lambda_app.models.archives import IS_CURRENT
from lambda_app.repositories.archives.archives import entries_parameter, is_whole
from lambda_app.repositories.audit import audit_insert_for, audited_change, lock_users
from lambda_app.repositories.files.file_access import downloadable_by, link_is_live, reached_by

_OWN_TRANSACTION = {"own_transaction": True, "synchronize_session": False, "populate_existing": True}
NUMBER_GRACE = timedelta(minutes=1)
"""Longer than any statement takes."""
_NUMBER_INDEX = "ux_archive_holder_id_is_linked_number"


class NumberTakenError(Exception):
    """Another request, which this one did not see, took the same number in this moment."""


class ArchiveTransitionRepository:
    """Takes archives from one state to the next."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def start(
        self, archive: Archive, entries: Sequence[Mapping[str, Any]], *, unfinished_max: int, kept_bytes: int, expires_at: datetime
    ) -> Archive | None:
        """Insert the queued archive with its entries, or return the one that the same request led to before.

        None if `unfinished_max` in the same limit are under way, or what is kept in it would be more than `kept_bytes`.
        A ready one is kept until `expires_at` then. Raises NumberTakenError when it is to be tried again.
        """
        is_linked = Archive.share_id.is_(None) if archive.share_id is None else Archive.share_id.is_not(None)
        # The one that is asked for again is no second one. The bytes of one that is being deleted may be there still.
        is_other = not_(and_(Archive.fingerprint == archive.fingerprint, IS_CURRENT))
        takes_room = and_(Archive.status != ArchiveStatus.FAILED, is_other)
        held = (
            select(
                (func.coalesce(func.max(Archive.number), 0) + 1).label("next_number"),
                func.count().filter(Archive.status.in_(UNFINISHED), is_other).label("unfinished_count"),
                func.coalesce(func.sum(Archive.size_bytes).filter(takes_room), 0).label("size_bytes"),
            )
            .where(Archive.holder_id == archive.holder_id, is_linked)
            .subquery("held")
        )
        has_room = and_(held.c.unfinished_count < unfinished_max, held.c.size_bytes + archive.size_bytes <= kept_bytes)
        names = [name for name in Archive.__table__.columns.keys() if getattr(archive, name) is not None]  # noqa: SIM118  # columns are no dict
        values = [literal(getattr(archive, name), Archive.__table__.c[name].type) for name in names]
        inserted = insert_or_update(Archive).from_select(
            [*names, "number"], select(*values, held.c.next_number).where(has_room), include_defaults=False
        )
        made = (
            inserted.on_conflict_do_update(
                index_elements=["holder_id", "fingerprint"],
                index_where=IS_CURRENT,
                set_={
                    "updated_at": inserted.excluded.updated_at,
                    "expires_at": case((Archive.status == ArchiveStatus.READY, expires_at), else_=None),
                },
            )
            .returning(*Archive.__table__.columns)
            .cte("made")
        )
        given = func.jsonb_to_recordset(entries_parameter([dict(entry) for entry in entries])).table_valued(
            column("position", Integer),
            column("file_id", Uuid),
            column("name", String),
            column("size_bytes", BigInteger),
            column("modified_at", DateTime(timezone=True)),
        )
        given = given.render_derived(name="given", with_types=True)
        rows = select(made.c.id, *given.c).select_from(made.join(given, made.c.id == archive.id))
        listed = insert(ArchiveFile).from_select(["archive_id", *given.c.keys()], rows).returning(ArchiveFile.position).cte("listed")
        holder = lock_users(*([] if archive.user_id is None else [archive.user_id]), behind=[listed])
        logged = audit_insert_for(made, "archive.requested", kind="archive", behind=[listed, holder]).cte("logged")
        statement = select(aliased(Archive, made)).add_cte(listed, holder, logged)
        try:
            return self._session.execute(statement.execution_options(**_OWN_TRANSACTION)).scalar_one_or_none()
        except IntegrityError as error:
            if violated_constraint(error) != _NUMBER_INDEX:
                raise
            self._session.rollback()
            raise NumberTakenError from error

    def claim(self, archive_id: UUID, *, lease_id: UUID, lease_until: datetime) -> Archive | None:
        """Make it this worker's turn; None when there is nothing to do, or it is another's."""
        is_waiting = or_(
            Archive.status == ArchiveStatus.QUEUED, and_(Archive.status == ArchiveStatus.BUILDING, Archive.lease_until < clock.now())
        )
        values = {"status": ArchiveStatus.BUILDING, "lease_id": lease_id, "lease_until": lease_until, "attempts": Archive.attempts + 1}
        statement = update(Archive).where(Archive.id == archive_id, is_waiting).values(updated_at=clock.now(), **values).returning(Archive)
        archive = self._session.execute(statement.execution_options(**_OWN_TRANSACTION)).scalar_one_or_none()
        if archive is not None:
            # The worker keeps account on it: what it notes there is written by the steps that ask for the lease, and by nothing else.
            self._session.expunge(archive)
        return archive

    def list_entries(self, archive_id: UUID) -> list[ArchiveFile]:
        """Return the archive's files in order."""
        query = select(ArchiveFile).where(ArchiveFile.archive_id == archive_id).order_by(ArchiveFile.position)
        return list(self._session.execute(query.execution_options(populate_existing=True)).scalars())

    def is_whole(self, archive: Archive, *, first: int, last: int) -> bool:
        """Whether the files at these positions are all there, for whoever asked for the archive."""
        positions = ArchiveFile.position.between(first, last)
        if archive.share_id is not None:
            link = link_is_live(clock.now()), Share.allows_download.is_(True)
            query = select(is_whole(reached_by(Share), positions)).select_from(Archive).join(Share, Share.id == Archive.share_id)
            return bool(self._session.execute(query.where(Archive.id == archive.id, *link)).scalar_one_or_none())
        asker = select(User).where(User.id == archive.user_id, User.is_active).execution_options(populate_existing=True)
        user = self._session.execute(asker).scalar_one_or_none()
        if user is None:
            return False
        query = select(is_whole(downloadable_by(user), positions)).select_from(Archive).where(Archive.id == archive.id)
        return bool(self._session.execute(query).scalar_one_or_none())

    def begin_again(self, archive: Archive, *, upload_id: str) -> bool:
        """Note the upload that the parts go to, from the first on; False when it is not this worker's turn any more."""
        return self._keep(archive, {"upload_id": upload_id, "done_bytes": 0, "cut_crc32": 0})

    def keep_part(self, archive: Archive, *, done_bytes: int, cut_crc32: int, crc32s: Mapping[int, int], lease_until: datetime) -> bool:
        """Note how far it has come, and the checksums by position that are known by now; False when it is not our turn any more."""
        values = {"done_bytes": done_bytes, "cut_crc32": cut_crc32, "lease_until": lease_until, "attempts": 0}
        return self._keep(archive, values, crc32s)

    def finish(self, archive: Archive, *, expires_at: datetime) -> bool:
        """Make the archive ready; False when it is not our turn any more."""
        return self._keep(archive, {"status": ArchiveStatus.READY, "done_bytes": archive.size_bytes, "expires_at": expires_at})

    def release_lease(self, archive: Archive) -> bool:
        """Let another worker go on at once; False when it is not our turn any more."""
        return self._keep(archive, {"status": ArchiveStatus.QUEUED})

    def fail(self, archive: Archive, *, error_code: str, expires_at: datetime) -> bool:
        """End the attempt for good; False when it is not our turn any more."""
        return self._keep(archive, {"status": ArchiveStatus.FAILED, "error_code": error_code, "expires_at": expires_at})

    def start_deleting(self, archive_id: UUID, user: User) -> Archive | None:
        """Take the archive out of sight; its object can then be deleted. None for no such archive of the user.

        An archive already being deleted is returned again, so that an interrupted deletion can be repeated.
        """
        # Without bytes only a number is left of it.
        change = update(Archive).where(Archive.id == archive_id, Archive.user_id == user.id, Archive.size_bytes > 0)
        change = change.values(status=ArchiveStatus.DELETING, lease_id=None, updated_at=clock.now())
        statement = audited_change(change.returning(*Archive.__table__.columns), Archive, "archive.deleted")
        return self._session.execute(statement.execution_options(**_OWN_TRANSACTION)).scalar_one_or_none()

    def expire(self, archive_id: UUID, *, overdue_at: datetime) -> Archive | None:
        """Start deleting an archive whose time is over; None when it is not such a one (any more)."""
        statement = (
            update(Archive)
            .where(
                Archive.id == archive_id, Archive.status.in_((ArchiveStatus.READY, ArchiveStatus.FAILED)), Archive.expires_at < overdue_at
            )
            .values(status=ArchiveStatus.DELETING, updated_at=clock.now())
            .returning(Archive)
        )
        return self._session.execute(statement.execution_options(**_OWN_TRANSACTION)).scalar_one_or_none()

    def give_up(self, archive_id: UUID, *, overdue_at: datetime, error_code: str, expires_at: datetime) -> bool:
        """Fail an archive that no worker holds; False when one does, or did in between."""
        statement = (
            update(Archive)
            .where(Archive.id == archive_id, Archive.status.in_(UNFINISHED), Archive.lease_until < overdue_at)
            .values(status=ArchiveStatus.FAILED, error_code=error_code, expires_at=expires_at, lease_id=None, updated_at=clock.now())
            .returning(Archive.id)
        )
        return self._session.execute(statement.execution_options(**_OWN_TRANSACTION)).scalar_one_or_none() is not None

    def remove(self, archive_id: UUID) -> None:
        """Remove the row whose bytes are gone.

        The last number of a limit stays for as long as a request may be under way that has counted from it, and takes no room; the
        sweep removes it. Otherwise the next request would take the same number as one that it does not see, and both would be admitted.
        """
        own = {"own_transaction": True, "synchronize_session": False}
        is_gone = Archive.id == archive_id, Archive.status == ArchiveStatus.DELETING
        later: Any = aliased(Archive)
        same_limit = later.holder_id == Archive.holder_id, later.share_id.is_(None) == Archive.share_id.is_(None)
        is_last = ~exists(select(later.id).where(*same_limit, later.number > Archive.number))
        removable = or_(~is_last, Archive.updated_at < clock.now() - NUMBER_GRACE)
        removed = delete(Archive).where(*is_gone, removable).returning(Archive.id)
        if self._session.execute(removed.execution_options(**own)).scalar_one_or_none() is None:
            emptied = update(Archive).where(*is_gone).values(size_bytes=0)
            self._session.execute(emptied.execution_options(**own))

    def _keep(self, archive: Archive, values: Mapping[str, Any], crc32s: Mapping[int, int] | None = None) -> bool:
        mine = (Archive.id == archive.id, Archive.status == ArchiveStatus.BUILDING, Archive.lease_id == archive.lease_id)
        kept = update(Archive).where(*mine).values(updated_at=clock.now(), **values).returning(Archive.id)
        if crc32s:
            cte = kept.cte("kept")
            known = entries_parameter([{"position": position, "crc32": crc32} for position, crc32 in crc32s.items()])
            given = func.jsonb_to_recordset(known).table_valued(column("position", Integer), column("crc32", BigInteger))
            given = given.render_derived(name="given", with_types=True)
            noted = update(ArchiveFile).where(ArchiveFile.archive_id == cte.c.id, ArchiveFile.position == given.c.position)
            statement: Any = select(cte.c.id).add_cte(noted.values(crc32=given.c.crc32).cte("noted"))
        else:
            statement = kept
        return self._session.execute(statement.execution_options(**_OWN_TRANSACTION)).scalar_one_or_none() is not None
