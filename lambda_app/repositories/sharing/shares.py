"""Queries of those who make links and look after them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    CTE,
    ColumnElement,
    Integer,
    Select,
    Uuid,
    and_,
    column,
    delete,
    exists,
    func,
    insert,
    literal,
    select,
    true,
    tuple_,
    update,
    values,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased

from lambda_app.core import clock
from lambda_app.core.errors import ConflictError, NotFoundError
from lambda_app.db.session import violated_constraint
from lambda_app.models import Archive, ArchiveStatus, File, IdempotencyKey, Share, ShareFile, ShareRecipient, User
from lambda_app.repositories.audit import audit_insert_for, lock_users
from lambda_app.repositories.files.file_access import links_manageable_by, manageable_by, shareable_by
from lambda_app.schemas.page import Cursor

SLUG_CONSTRAINT = "uq_share_slug"

_OWN_TRANSACTION = {"own_transaction": True, "synchronize_session": False, "populate_existing": True}


class NoSuchShareError(NotFoundError):
    """There is no such link, or it is somebody else's."""

    code = "share_not_found"
    message = "Share not found"


class SlugTakenError(ConflictError):
    """Another link has, or had, this address."""

    code = "slug_taken"
    message = "This slug is taken; choose another"


class ShareDetails(NamedTuple):
    """A link with its files and the users it names."""

    share: Share
    file_ids: list[UUID]
    recipients: list[str]


class ShareRepository:
    """Reads and writes the rows of `share` and what belongs to them."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, kept: ShareDetails, owner: User, user_ids: Mapping[str, UUID], *, shares_max: int, with_key: bool) -> bool:
        """Insert the link, durably, if the owner may share every file and has fewer than `shares_max` links; False if not.

        With `with_key` also note on the idempotency key that names this link that it was made; False if the key does not name it any
        more. Raises SlugTakenError.
        """
        share = kept.share
        found = _found(kept.file_ids, owner)
        may = [
            select(func.count()).select_from(found).scalar_subquery() == len(kept.file_ids),
            _live_of(share.owner_id).scalar_subquery() < shares_max,
        ]
        if with_key:
            named = (IdempotencyKey.user_id == owner.id, IdempotencyKey.resource_id == share.id, IdempotencyKey.is_done.is_(False))
            locked = select(IdempotencyKey.resource_id).where(*named).with_for_update().cte("locked")
            may.append(exists(select(locked.c.resource_id)))
        made = _made(share, may)
        linked = insert(ShareFile).from_select(
            ["share_id", "file_id", "position"], select(made.c.id, found.c.id, found.c.position).join_from(made, found, true())
        )
        parts = [linked.returning(ShareFile.share_id).cte("linked")]
        if user_ids:
            parts.append(
                insert(ShareRecipient).from_select(*_recipient_rows(user_ids, made)).returning(ShareRecipient.share_id).cte("named")
            )
        if with_key:
            noted = update(IdempotencyKey).where(IdempotencyKey.resource_id == made.c.id, IdempotencyKey.user_id == owner.id)
            parts.append(noted.values(is_done=True).returning(IdempotencyKey.user_id).cte("noted"))
        parts.append(lock_users(share.owner_id, *user_ids.values(), behind=parts))
        logged = audit_insert_for(made, "share.created", kind=Share.__tablename__, details=_audited(share, kept), behind=parts)
        statement = select(made.c.id).add_cte(*parts, logged.cte("logged"))
        return self._execute(statement).scalar_one_or_none() is not None

    def count_live(self, owner_id: UUID) -> int:
        """Return how many links of the user's were not revoked."""
        return self._session.execute(_live_of(owner_id)).scalar_one()

    def may_share(self, file_ids: Sequence[UUID], user: User) -> ColumnElement[bool]:
        """Return the condition that the user may share every one of these files now, for a statement of its own."""
        return select(func.count()).select_from(_found(file_ids, user)).scalar_subquery() == len(file_ids)

    def may_change(self, share_id: UUID, user: User) -> ColumnElement[bool]:
        """Return the condition that it is a link of the user's that was not revoked, for a statement of its own."""
        return exists(select(Share.id).where(*_changeable(share_id, user)))

    def require(self, share_id: UUID, user: User) -> ShareDetails:
        """Return the link. Raises NoSuchShareError."""
        row = self._session.execute(_kept(Share).where(Share.id == share_id, links_manageable_by(user))).one_or_none()
        if row is None:
            raise NoSuchShareError
        return _as_kept(row)

    def page_of_owner(self, user: User, *, limit: int, after: Cursor | None) -> list[ShareDetails]:
        """Return up to `limit` of the user's own links behind the cursor, newest first."""
        return self._page(Share.owner_id == user.id, limit=limit, after=after)

    def page_of_file(self, file_id: UUID, user: User, *, limit: int, after: Cursor | None) -> list[ShareDetails]:
        """Return up to `limit` links, whoever made them, to a file that the user may manage, newest first."""
        return self._page(_leads_to(file_id, user), limit=limit, after=after)

    def update(
        self, share_id: UUID, user: User, changes: Mapping[str, Any], *, user_ids: Mapping[str, UUID] | None, fields: Sequence[str]
    ) -> ShareDetails | None:
        """Change a link that was not revoked, and if given whom it names, durably; None when there is no such link of the user's.

        `fields` is what the log says was changed.
        """
        change = update(Share).where(*_changeable(share_id, user))
        changed = change.values(**changes, updated_at=clock.now()).returning(*Share.__table__.c).cte("changed")
        parts = []
        if user_ids is not None:
            others = ShareRecipient.user_id.not_in(user_ids.values())
            gone = delete(ShareRecipient).where(ShareRecipient.share_id == changed.c.id, others)
            parts.append(gone.returning(ShareRecipient.user_id).cte("gone"))
        if user_ids:
            named = upsert(ShareRecipient).from_select(*_recipient_rows(user_ids, changed)).on_conflict_do_nothing()
            parts.append(named.returning(ShareRecipient.user_id).cte("named"))
            parts.append(lock_users(*user_ids.values(), behind=parts))
        logged = audit_insert_for(changed, "share.updated", kind=Share.__tablename__, details={"fields": sorted(fields)}, behind=parts)
        row = self._execute(_kept(aliased(Share, changed)).add_cte(*parts, logged.cte("logged"))).one_or_none()
        if row is None:
            return None
        kept = _as_kept(row)
        # What the statement itself changed, it does not see.
        return kept if user_ids is None else kept._replace(recipients=sorted(user_ids))

    def revoke(self, share_id: UUID, user: User) -> bool:
        """Revoke a link, durably; False when there is none of the user's that was not revoked before."""
        return bool(self._revoke(Share.id == share_id, links_manageable_by(user)))

    def revoke_all_of_file(self, file_id: UUID, user: User) -> int:
        """Revoke every link to a file that the user may manage, whoever made it, durably; return how many."""
        return len(self._revoke(_leads_to(file_id, user)))

    def _revoke(self, *conditions: ColumnElement[bool]) -> list[Share]:
        now = clock.now()
        change = update(Share).where(*conditions, Share.revoked_at.is_(None)).values(revoked_at=now)
        revoked = change.returning(*Share.__table__.c).cte("revoked")
        # Its zips end with it: a worker's next step finds nothing, and the sweep removes the bytes.
        of_it = (Archive.holder_id == revoked.c.owner_id, Archive.share_id == revoked.c.id, Archive.status != ArchiveStatus.DELETING)
        over = update(Archive).where(*of_it).values(status=ArchiveStatus.DELETING, lease_id=None, updated_at=now)
        ended = over.returning(Archive.id).cte("ended")
        logged = audit_insert_for(revoked, "share.revoked", kind=Share.__tablename__, behind=[ended])
        return list(self._execute(select(aliased(Share, revoked)).add_cte(ended, logged.cte("logged"))).scalars())

    def _page(self, condition: ColumnElement[bool], *, limit: int, after: Cursor | None) -> list[ShareDetails]:
        query = _kept(Share).where(condition).order_by(Share.created_at.desc(), Share.id.desc()).limit(limit)
        if after is not None:
            last = tuple_(literal(after.value, Share.created_at.type), literal(after.id, Share.id.type))
            query = query.where(tuple_(Share.created_at, Share.id) < last)
        return [_as_kept(row) for row in self._session.execute(query)]

    def _execute(self, statement: Select[Any]) -> Any:
        try:
            return self._session.execute(statement.execution_options(**_OWN_TRANSACTION))
        except IntegrityError as error:
            raise SlugTakenError if violated_constraint(error) == SLUG_CONSTRAINT else error from error


def _live_of(owner_id: UUID) -> Select[int]:
    return select(func.count()).select_from(Share).where(Share.owner_id == owner_id, Share.revoked_at.is_(None))


def _made(share: Share, may: Sequence[ColumnElement[bool]]) -> CTE:
    given = {column.key: (getattr(share, column.key), column.type) for column in Share.__table__.c}
    columns = {name: literal(value, type_) for name, (value, type_) in given.items() if value is not None}
    inserted = insert(Share).from_select(list(columns), select(*columns.values()).where(*may), include_defaults=False)
    return inserted.returning(Share.id).cte("made")


def _found(file_ids: Sequence[UUID], owner: User) -> Any:
    wanted = values(column("id", Uuid), column("position", Integer), name="wanted").data([(id_, at) for at, id_ in enumerate(file_ids)])
    return select(File.id, wanted.c.position).join(wanted, wanted.c.id == File.id).where(shareable_by(owner)).cte("found")


def _changeable(share_id: UUID, user: User) -> tuple[ColumnElement[bool], ...]:
    return Share.id == share_id, Share.revoked_at.is_(None), links_manageable_by(user)


def _recipient_rows(user_ids: Mapping[str, UUID], share: Any) -> tuple[list[str], Select[Any]]:
    pairs = [(user_id, name) for name, user_id in user_ids.items()]
    named = values(column("id", Uuid), column("name", ShareRecipient.named_as.type), name="recipients").data(pairs)
    # Joined, because a user may have gone since they were looked up.
    rows = select(share.c.id, User.id, named.c.name).select_from(named).join(User, User.id == named.c.id).join(share, true())
    return ["share_id", "user_id", "named_as"], rows


def _leads_to(file_id: UUID, user: User) -> ColumnElement[bool]:
    linked = exists().where(ShareFile.share_id == Share.id, ShareFile.file_id == file_id).correlate(Share)
    return and_(linked, exists().where(File.id == file_id, manageable_by(user)))


def _kept(link: Any) -> Select[Any]:
    files = select(func.array_agg(aggregate_order_by(ShareFile.file_id, ShareFile.position)))
    names = select(func.array_agg(aggregate_order_by(ShareRecipient.named_as, ShareRecipient.named_as)))
    return select(
        link,
        files.where(ShareFile.share_id == link.id).scalar_subquery().label("file_ids"),
        names.where(ShareRecipient.share_id == link.id).scalar_subquery().label("recipients"),
    ).execution_options(populate_existing=True)


def _as_kept(row: Any) -> ShareDetails:
    return ShareDetails(row[0], row.file_ids or [], row.recipients or [])


def _audited(share: Share, kept: ShareDetails) -> dict[str, Any]:
    return {
        "file_ids": [str(file_id) for file_id in kept.file_ids],
        "audience": share.audience,
        "expires_at": share.expires_at,
        "max_downloads": share.max_downloads,
        "has_password": share.hashed_password is not None,
        "allows_download": share.allows_download,
    }
