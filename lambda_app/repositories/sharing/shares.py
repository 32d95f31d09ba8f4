"""Queries on share links, for their owners and superusers."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CTE,
    ColumnElement,
    Insert,
    Integer,
    Select,
    Update,
    Uuid,
    and_,
    column,
    delete,
    exists,
    func,
    insert,
    literal,
    not_,
    select,
    true,
    update,
    values,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased

from lambda_app.core import clock
from lambda_app.core.errors import ConflictError, NotFoundError
from lambda_app.db.session import own_transaction, violated_constraint
from lambda_app.models import Archive, ArchiveStatus, File, Share, ShareDetails, ShareFile, ShareRecipient, User
from lambda_app.repositories.audit import audit_entry, audit_insert_for, audited_writes, has_run
from lambda_app.repositories.files.file_access import links_manageable_by, manageable_by, shareable_by
from lambda_app.repositories.files.idempotency import complete_key, lock_key
from lambda_app.repositories.statements import OWN_TRANSACTION, newest_page
from lambda_app.schemas.page import Cursor

SLUG_CONSTRAINT = "uq_share_slug"


class NoSuchShareError(NotFoundError):
    """There is no such link, or the user may not manage it."""

    code = "share_not_found"
    message = "Share not found"


class SlugTakenError(ConflictError):
    """Another link, possibly a revoked one, has this slug."""

    code = "slug_taken"
    message = "This slug is taken; choose another"


class ShareRepository:
    """Reads and writes the rows of `share`, `share_file` and `share_recipient`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, details: ShareDetails, owner: User, user_ids: Mapping[str, UUID], *, shares_max: int, with_key: bool) -> bool:
        """Insert the link and commit; False if the owner may not share every file or has `shares_max` links already.

        With `with_key`, also mark the idempotency key that holds the id of this link as done; False if another request has taken the
        key over. The limit may be exceeded by links that are created concurrently. Raises SlugTakenError.

        Lock order: the idempotency key, the files by id, the recipients, the users, the end of the audit log.
        """
        share = details.share
        with own_transaction(self._session):
            if with_key and self._session.execute(lock_key(user_id=owner.id, resource_id=share.id)).one_or_none() is None:
                return False
            if not self._lock_files(details.file_ids, owner, shares_max=shares_max):
                return False
            writes: list[Insert | Update] = [insert(Share).values(**_columns(share)), _insert_files(details)]
            if user_ids:
                new_share = select(literal(share.id).label("id")).subquery()
                writes.append(insert(ShareRecipient).from_select(*_recipient_rows(user_ids, new_share, _lock_named(user_ids))))
            if with_key:
                writes.append(complete_key(user_id=owner.id, resource_id=share.id))
            entry = audit_entry("share.created", subject=f"{Share.__tablename__}:{share.id}", details=_audit_details(details))
            self._execute(audited_writes(*writes, entry=entry, lock_user_ids={share.owner_id, *user_ids.values()}))
        return True

    def count_live(self, owner_id: UUID) -> int:
        """Return the number of the user's links that are not revoked."""
        return self._session.execute(_live_of(owner_id)).scalar_one()

    def can_share(self, file_ids: Sequence[UUID], user: User) -> bool:
        """Whether the user may currently share every one of these files."""
        query = select(func.count()).select_from(File).where(File.id.in_(file_ids), shareable_by(user))
        return self._session.execute(query).scalar_one() == len(file_ids)

    def require(self, share_id: UUID, user: User) -> ShareDetails:
        """Return a link that the user may manage. Raises NoSuchShareError."""
        row = self._session.execute(_with_details(Share).where(Share.id == share_id, links_manageable_by(user))).one_or_none()
        if row is None:
            raise NoSuchShareError
        return _as_details(row)

    def page_of_owner(self, user: User, *, limit: int, after: Cursor | None) -> list[ShareDetails]:
        """Return up to `limit` of the user's own links after the cursor, newest first."""
        return self._page(Share.owner_id == user.id, limit=limit, after=after)

    def page_of_file(self, file_id: UUID, user: User, *, limit: int, after: Cursor | None) -> list[ShareDetails]:
        """Return up to `limit` links of all owners to a file that the user may manage, newest first."""
        return self._page(_opens_managed(file_id, user), limit=limit, after=after)

    def update(
        self, share_id: UUID, user: User, changes: Mapping[str, Any], *, user_ids: Mapping[str, UUID] | None, fields: Sequence[str]
    ) -> ShareDetails | None:
        """Change a link that is not revoked, and commit; None if there is none that the user may manage.

        `user_ids` replaces the recipients; None leaves them. `fields` are the names of the changed fields for the audit log.
        The result has the recipients from before the change.
        Lock order: the link, the users, the link's recipients, the end of the audit log.
        """
        if "hashed_password" in changes:
            # Invalidates the share tokens that prove the previous password.
            changes = {**changes, "password_version": Share.password_version + 1}
        change = update(Share).where(*_changeable(share_id, user))
        changed = change.values(**changes, updated_at=clock.now()).returning(*Share.__table__.c).cte("changed")
        parts = []
        if user_ids is not None:
            named = _lock_named(user_ids, after=[changed])
            others = ShareRecipient.user_id.not_in(user_ids.values())
            removed = delete(ShareRecipient).where(ShareRecipient.share_id == changed.c.id, others, has_run(named))
            parts.append(removed.returning(ShareRecipient.user_id).cte("removed"))
            if user_ids:
                added = upsert(ShareRecipient).from_select(*_recipient_rows(user_ids, changed, named))
                new = added.excluded
                # A recipient whom the owner names again keeps the access that the first name gave.
                added = added.on_conflict_do_update(
                    constraint="pk_share_recipient",
                    set_={"named_as": new.named_as, "is_pending": new.is_pending},
                    where=ShareRecipient.is_pending.is_(True),
                )
                parts.append(added.returning(ShareRecipient.user_id).cte("added"))
        logged = audit_insert_for(changed, "share.updated", kind=Share.__tablename__, details={"fields": sorted(fields)}, after=parts)
        row = self._execute(_with_details(aliased(Share, changed)).add_cte(*parts, logged.cte("logged"))).one_or_none()
        return None if row is None else _as_details(row)

    def revoke(self, share_id: UUID, user: User) -> bool:
        """Revoke a link and commit; False if there is no unrevoked one that the user may manage."""
        return bool(self._revoke(Share.id == share_id, links_manageable_by(user)))

    def revoke_all_of_file(self, file_id: UUID, user: User) -> int:
        """Revoke the links of all owners to a file that the user may manage, and commit; return how many."""
        return len(self._revoke(_opens_managed(file_id, user)))

    def _revoke(self, *conditions: ColumnElement[bool]) -> list[Share]:
        """Lock order: the links, their archives, the end of the audit log."""
        now = clock.now()
        change = update(Share).where(*conditions, Share.revoked_at.is_(None)).values(revoked_at=now)
        revoked = change.returning(*Share.__table__.c).cte("revoked")
        # The link's archives end with it. A worker's next step finds no archive, and the sweep deletes the object.
        of_link = (Archive.holder_id == revoked.c.owner_id, Archive.share_id == revoked.c.id, Archive.status != ArchiveStatus.DELETING)
        deletion = update(Archive).where(*of_link).values(status=ArchiveStatus.DELETING, lease_id=None, updated_at=now)
        ended = deletion.returning(Archive.id).cte("ended")
        logged = audit_insert_for(revoked, "share.revoked", kind=Share.__tablename__, after=[ended])
        return list(self._execute(select(aliased(Share, revoked)).add_cte(ended, logged.cte("logged"))).scalars())

    def _lock_files(self, file_ids: Sequence[UUID], owner: User, *, shares_max: int) -> bool:
        """Lock the files in the mode of a foreign key; whether the owner may share each of them, in one more link."""
        live = _live_of(owner.id).scalar_subquery()
        files = select(File.id, live.label("live_count")).where(File.id.in_(file_ids), shareable_by(owner)).order_by(File.id)
        rows = self._session.execute(files.with_for_update(of=File, read=True, key_share=True)).all()
        return len(rows) == len(file_ids) and all(row.live_count < shares_max for row in rows)

    def _page(self, condition: ColumnElement[bool], *, limit: int, after: Cursor | None) -> list[ShareDetails]:
        query = newest_page(_with_details(Share).where(condition), Share, limit=limit, after=after)
        return [_as_details(row) for row in self._session.execute(query)]

    def _execute(self, statement: Select[Any]) -> Any:
        try:
            return self._session.execute(statement.execution_options(**OWN_TRANSACTION))
        except IntegrityError as error:
            raise SlugTakenError if violated_constraint(error) == SLUG_CONSTRAINT else error from error


def _live_of(owner_id: UUID) -> Select[int]:
    return select(func.count()).select_from(Share).where(Share.owner_id == owner_id, Share.revoked_at.is_(None))


def _columns(share: Share) -> dict[str, Any]:
    columns = {column.key: getattr(share, column.key) for column in Share.__table__.c}
    return {name: value for name, value in columns.items() if value is not None}


def _insert_files(details: ShareDetails) -> Insert:
    rows = values(column("id", Uuid), column("position", Integer), name="files")
    files = rows.data([(file_id, position) for position, file_id in enumerate(details.file_ids)])
    return insert(ShareFile).from_select(
        ["share_id", "file_id", "position"], select(literal(details.share.id), files.c.id, files.c.position)
    )


def _changeable(share_id: UUID, user: User) -> tuple[ColumnElement[bool], ...]:
    return Share.id == share_id, Share.revoked_at.is_(None), links_manageable_by(user)


def _lock_named(user_ids: Mapping[str, UUID], *, after: Sequence[CTE] = ()) -> CTE:
    """Return the CTE of the users and their addresses, locked against a concurrent confirmation (`NamedAccessRepository.activate`)."""
    users = select(User.id, User.email, User.email_verified_at).where(User.id.in_(user_ids.values()), *map(has_run, after))
    return users.order_by(User.id).with_for_update(read=True).cte("named_users").prefix_with("MATERIALIZED", dialect="postgresql")


def _recipient_rows(user_ids: Mapping[str, UUID], share: Any, users: CTE) -> tuple[list[str], Select[Any]]:
    pairs = [(user_id, name) for name, user_id in user_ids.items()]
    named = values(column("id", Uuid), column("name", ShareRecipient.named_as.type), name="recipients").data(pairs)
    owns_address = and_(users.c.email == named.c.name, users.c.email_verified_at.is_not(None))
    is_pending = and_(named.c.name.contains("@"), not_(owns_address))
    # Joined, because a user may have been deleted since the lookup.
    rows = select(share.c.id, users.c.id, named.c.name, is_pending).select_from(named).join(users, users.c.id == named.c.id)
    return ["share_id", "user_id", "named_as", "is_pending"], rows.join(share, true())


def _opens_managed(file_id: UUID, user: User) -> ColumnElement[bool]:
    has_file = exists().where(ShareFile.share_id == Share.id, ShareFile.file_id == file_id).correlate(Share)
    return and_(has_file, exists().where(File.id == file_id, manageable_by(user)))


def _with_details(link: Any) -> Select[Any]:
    files = select(func.array_agg(aggregate_order_by(ShareFile.file_id, ShareFile.position)))
    names = select(func.array_agg(aggregate_order_by(ShareRecipient.named_as, ShareRecipient.named_as)))
    pending = names.where(ShareRecipient.share_id == link.id, ShareRecipient.is_pending)
    return select(
        link,
        files.where(ShareFile.share_id == link.id).scalar_subquery().label("file_ids"),
        names.where(ShareRecipient.share_id == link.id).scalar_subquery().label("recipients"),
        pending.scalar_subquery().label("pending_recipients"),
    ).execution_options(populate_existing=True)


def _as_details(row: Any) -> ShareDetails:
    return ShareDetails(row[0], row.file_ids or [], row.recipients or [], row.pending_recipients or [])


def _audit_details(details: ShareDetails) -> dict[str, Any]:
    share = details.share
    return {
        "file_ids": [str(file_id) for file_id in details.file_ids],
        "audience": share.audience,
        "expires_at": share.expires_at,
        "max_downloads": share.max_downloads,
        "has_password": share.hashed_password is not None,
        "allows_download": share.allows_download,
    }
