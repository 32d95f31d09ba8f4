"""Queries on share links, for their owners and superusers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    CTE,
    ColumnElement,
    Insert,
    Integer,
    Select,
    Text,
    Update,
    Uuid,
    and_,
    collate,
    column,
    delete,
    exists,
    func,
    insert,
    literal,
    not_,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased

from lambda_app.core import clock
from lambda_app.core.errors import ConflictError, NotFoundError
from lambda_app.db.session import own_transaction, violated_constraint
from lambda_app.models import (
    Archive,
    ArchiveStatus,
    File,
    LinkSummary,
    NotificationKind,
    Share,
    ShareDetails,
    ShareFile,
    ShareRecipient,
    User,
)
from lambda_app.models.sharing.shares import SUMMARY_NAMES
from lambda_app.repositories.audit import audit_insert_for, with_event
from lambda_app.repositories.files.file_access import Viewer, ViewerOf, links_manageable_by, manageable_by, offered_by, shareable_by
from lambda_app.repositories.files.idempotency import complete_key, lock_key
from lambda_app.repositories.notifications.settings import default_of
from lambda_app.repositories.sharing.states import in_state
from lambda_app.repositories.statements import (
    OWN_TRANSACTION,
    Bound,
    as_column,
    built_once,
    json_rows,
    json_text,
    newest_page,
    set_columns,
    table_of,
    typed_columns,
)
from lambda_app.schemas.page import Cursor
from lambda_app.schemas.sharing.states import LinkFilter, LinkState

SLUG_CONSTRAINT = "uq_share_slug"


class NoSuchShareError(NotFoundError):
    """There is no such link, or the user may not manage it."""

    code = "share_not_found"
    message = "Share not found"


class SlugTakenError(ConflictError):
    """Another link, possibly a revoked one, has this slug."""

    code = "slug_taken"
    message = "This slug is taken; choose another"


@dataclass(frozen=True, slots=True)
class ShareLimits:
    """Limits of one owner's links, of which a new link must not exceed any: see `_has_room`."""

    shares: int
    """Links that are not revoked."""
    slugs: int
    """Slugs of links that are not revoked, or were revoked after `slug_kept_since`."""
    slug_kept_since: datetime
    """A slug of a link that was revoked before this time is free for every account."""

    @property
    def parameters(self) -> dict[str, Any]:
        """The limits as parameters of a statement."""
        return {"shares_max": self.shares, "slugs_max": self.slugs, "kept_since": self.slug_kept_since}


class LockedFile(NamedTuple):
    """A file that its sharer has locked."""

    id: UUID
    owner_id: UUID
    filename: str
    size_bytes: int


class ShareRepository:
    """Reads and writes the rows of `share`, `share_file` and `share_recipient`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(
        self, details: ShareDetails, owner: User, user_ids: Mapping[str, UUID], *, limits: ShareLimits, with_key: bool
    ) -> ShareDetails | None:
        """Insert the link, commit, and return it with its summary; None if the owner may not share every file, or has no room for it.

        With `with_key`, also mark the idempotency key that holds the id of this link as done; None if another request has taken the
        key over. Raises SlugTakenError.

        Lock order: the idempotency key, the files by id, the owner and the recipients by id, the link that had the slug.
        The lock on the owner makes the limits exact: of two concurrent requests of one owner, the second counts the link
        of the first. The locks on the recipients exclude a concurrent confirmation (`NamedAccessRepository.activate`).
        """
        share = details.share
        with own_transaction(self._session):
            if with_key and self._session.execute(*_lock_key(owner_id=owner.id, share_id=share.id)).one_or_none() is None:
                return None
            locked = {file.id: file for file in lock_files(self._session, details.file_ids, owner, user_ids.values())}
            if len(locked) < len(details.file_ids):
                return None
            files = [locked[file_id] for file_id in details.file_ids]
            share.needs_superuser = any(file.owner_id != owner.id for file in files)
            if share.slug is not None:
                self._session.execute(*_release_slug(owner_id=owner.id, slug=share.slug, **limits.parameters))
            created = _create(
                with_key,
                **set_columns(share),
                **limits.parameters,
                files=json_text({"id": file_id, "position": position} for position, file_id in enumerate(details.file_ids)),
                recipients=_recipients(user_ids) if user_ids else None,
                user_ids=list(user_ids.values()) if user_ids else None,
            )
            row = self._execute(with_event(created, "share.created", details=_audit_details(details))).one_or_none()
            if row is None:
                return None
            share.notify_on_download = row[0]
        names = [file.filename for file in files[:SUMMARY_NAMES]]
        return details._replace(summary=LinkSummary(len(files), sum(file.size_bytes for file in files), names))

    def count_live(self, owner_id: UUID) -> int:
        """Return the number of the user's links that are not revoked."""
        return int(self._session.execute(*_count_live(owner_id=owner_id)).scalar_one())

    def count_slugs(self, owner_id: UUID, *, kept_since: datetime) -> int:
        """Return the number of slugs that the user's links hold: those that are not revoked, or were after `kept_since`."""
        return int(self._session.execute(*_count_slugs(owner_id=owner_id, kept_since=kept_since)).scalar_one())

    def can_share(self, file_ids: Sequence[UUID], user: User) -> bool:
        """Whether the user may currently share every one of these files."""
        count = _count_shareable(user.is_superuser, file_ids=list(file_ids), user_id=user.id)
        return bool(self._session.execute(*count).scalar_one() == len(file_ids))

    def require(self, share_id: UUID, user: User) -> ShareDetails:
        """Return a link that the user may manage. Raises NoSuchShareError."""
        row = self._session.execute(*_get(user.is_superuser, share_id=share_id, user_id=user.id)).one_or_none()
        if row is None:
            raise NoSuchShareError
        return _as_details(row)

    def page_of_owner(self, user: User, filters: LinkFilter, *, limit: int, after: Cursor | None) -> list[ShareDetails]:
        """Return up to `limit` of the user's own links that the user may manage, after the cursor, newest first.

        With a title, only links that are not revoked and whose title contains the text, in any case. An account has a bounded number of
        links that are not revoked, so PostgreSQL reads them all.
        """
        now, title = clock.now(), filters.title
        page = _page_of_owner(user.is_superuser, filters.state, owner_id=user.id, title=title, now=now, limit=limit, after=after)
        return self._list(page)

    def page_of_user(self, owner_id: UUID, *, state: LinkState | None, limit: int, after: Cursor | None) -> list[ShareDetails]:
        """Return up to `limit` links of the owner after the cursor, newest first. For superusers, who may manage all links."""
        return self._list(_page_of_user(state, owner_id=owner_id, now=clock.now(), limit=limit, after=after))

    def page_of_file(self, file_id: UUID, user: User, *, limit: int, after: Cursor | None) -> list[ShareDetails]:
        """Return up to `limit` links of all owners to a file that the user may manage, newest first."""
        return self._list(_page_of_file(user.is_superuser, file_id=file_id, user_id=user.id, limit=limit, after=after))

    def update(
        self, share_id: UUID, user: User, changes: Mapping[str, Any], *, user_ids: Mapping[str, UUID] | None, fields: Sequence[str]
    ) -> ShareDetails | None:
        """Change a link that is not revoked, and commit; None if there is none that the user may manage.

        `user_ids` replaces the recipients; None leaves them. `fields` are the names of the changed fields for the audit log.
        The result has the recipients from before the change.
        Lock order: the link, the users other than its owner, the link's recipients.
        """
        with own_transaction(self._session):
            if user_ids is not None:
                locked = _lock_recipients(user.is_superuser, share_id=share_id, user_id=user.id, user_ids=list(user_ids.values()))
                if self._session.execute(*locked).one_or_none() is None:
                    return None
            changed = _update(
                user.is_superuser,
                share_id=share_id,
                user_id=user.id,
                recipients=_recipients(user_ids) if user_ids else None,
                user_ids=None if user_ids is None else list(user_ids.values()),
                now=clock.now(),
                **changes,
            )
            row = self._execute(with_event(changed, "share.updated", details={"fields": sorted(fields)})).one_or_none()
        return None if row is None else _as_details(row)

    def revoke(self, share_id: UUID, user: User) -> bool:
        """Revoke a link and commit; False if there is no unrevoked one that the user may manage."""
        return bool(self._revoke(_revoke_one(user.is_superuser, share_id=share_id, user_id=user.id, now=clock.now())))

    def revoke_all_that_need_superuser(self, owner_id: UUID) -> None:
        """Revoke the links that the user could create only as a superuser, within the caller's transaction."""
        self._revoke(_revoke_those_that_need_superuser(owner_id=owner_id, now=clock.now()))

    def revoke_all_of_file(self, file_id: UUID, user: User) -> int:
        """Revoke the links of all owners to a file that the user may manage, and commit; return how many."""
        return len(self._revoke(_revoke_of_file(user.is_superuser, file_id=file_id, user_id=user.id, now=clock.now())))

    def replace_token(self, share_id: UUID, owner: User, *, token_hash: str, encrypted_token: str) -> ShareDetails | None:
        """Replace the token of a link that is not revoked, and commit; None if `owner` has no such link, or it has a slug."""
        replaced = _replace_token(
            owner.is_superuser,
            share_id=share_id,
            owner_id=owner.id,
            token_hash=token_hash,
            encrypted_token=encrypted_token,
            now=clock.now(),
        )
        row = self._execute(with_event(replaced, "share.address_replaced")).one_or_none()
        return None if row is None else _as_details(row)

    def _revoke(self, revoked: Bound[Select[Share]]) -> list[Share]:
        return list(self._execute(with_event(revoked, "share.revoked")).scalars())

    def _list(self, page: Bound[Select[Any]]) -> list[ShareDetails]:
        return [_as_details(row) for row in self._session.execute(*page)]

    def _execute(self, bound: Bound[Select[Any]]) -> Any:
        try:
            return self._session.execute(*bound, execution_options=OWN_TRANSACTION)
        except IntegrityError as error:
            raise SlugTakenError if violated_constraint(error) == SLUG_CONSTRAINT else error from error


def lock_files(session: Session, file_ids: Sequence[UUID], owner: User, recipient_ids: Iterable[UUID] = ()) -> list[LockedFile]:
    """Lock those of the files that the owner may share, then the users; return the files.

    The files are locked in the mode of a foreign key. The owner and the recipients are locked in one order, so that two users can
    name each other at the same time. Nothing if the owner may not share all of the files, or the credentials of the request have
    ended since it was authenticated: then the owner's role may have changed too.
    """
    locked = _lock_files(
        owner.is_superuser,
        file_ids=list(file_ids),
        files=len(file_ids),
        owner_id=owner.id,
        token_epoch=owner.token_epoch,
        user_ids=list({owner.id, *recipient_ids}),
    )
    return [LockedFile(*row) for row in session.execute(*locked)]


@built_once
def _lock_key(*, owner_id: UUID, share_id: UUID) -> Select[UUID]:
    return lock_key(user_id=owner_id, resource_id=share_id)


@built_once
def _lock_files(
    is_superuser: bool, *, file_ids: list[UUID], files: int, owner_id: UUID, token_epoch: int, user_ids: list[UUID]
) -> Select[UUID, UUID, str, int]:
    columns = (File.id, File.owner_id, File.filename, File.size_bytes)
    shareable = select(*columns).where(File.id.in_(file_ids), shareable_by(ViewerOf(owner_id, is_superuser))).order_by(File.id)
    shared = shareable.with_for_update(read=True, key_share=True).cte("shared_files")
    has_all = select(func.count()).select_from(shared).scalar_subquery() == files
    users = select(User.id, User.token_epoch, User.is_active).where(User.id.in_(user_ids), has_all)
    locked = users.order_by(User.id).with_for_update(key_share=True).cte("locked_users")
    is_current = and_(locked.c.id == owner_id, locked.c.token_epoch == token_epoch, locked.c.is_active)
    return select(*shared.c).where(exists(select(locked.c.id).where(is_current)))


def _as_searched(text: Any) -> ColumnElement[str]:
    return collate(func.lower(func.normalize(text)), "C")


def _live_of(owner_id: Any) -> Select[int]:
    return select(func.count()).select_from(Share).where(Share.owner_id == owner_id, Share.revoked_at.is_(None))


def _slugs_of(owner_id: Any, *, kept_since: Any) -> Select[int]:
    is_kept = or_(Share.revoked_at.is_(None), Share.revoked_at >= kept_since)
    return select(func.count()).select_from(Share).where(Share.owner_id == owner_id, Share.slug.is_not(None), is_kept)


def _has_room(*, owner_id: UUID, slug: str | None, shares_max: int, slugs_max: int, kept_since: datetime) -> list[ColumnElement[bool]]:
    """Return the conditions for the owner of a new link to have room for it: see `ShareLimits`."""
    room = [_live_of(owner_id).scalar_subquery() < shares_max]
    if slug is not None:
        others = _slugs_of(owner_id, kept_since=kept_since).where(Share.slug != slug)
        room.append(others.scalar_subquery() < slugs_max)
    return room


@built_once
def _count_live(*, owner_id: UUID) -> Select[int]:
    return _live_of(owner_id)


@built_once
def _count_slugs(*, owner_id: UUID, kept_since: datetime) -> Select[int]:
    return _slugs_of(owner_id, kept_since=kept_since)


@built_once
def _count_shareable(is_superuser: bool, *, file_ids: list[UUID], user_id: UUID) -> Select[int]:
    return select(func.count()).select_from(File).where(File.id.in_(file_ids), shareable_by(ViewerOf(user_id, is_superuser)))


@built_once
def _release_slug(*, owner_id: UUID, slug: str, shares_max: int, slugs_max: int, kept_since: datetime) -> Update:
    """Return the update that takes the slug from a revoked link, if the owner has room for the new one.

    The link is one of the same owner, or one of any owner that was revoked before `kept_since`.
    """
    is_free = or_(and_(Share.owner_id == owner_id, Share.revoked_at.is_not(None)), Share.revoked_at < kept_since)
    room = _has_room(owner_id=owner_id, slug=slug, shares_max=shares_max, slugs_max=slugs_max, kept_since=kept_since)
    return update(table_of(Share)).where(Share.slug == slug, is_free, *room).values(slug=None)


@built_once
def _create(
    with_key: bool,
    *,
    owner_id: UUID,
    shares_max: int,
    slugs_max: int,
    kept_since: datetime,
    files: str,
    recipients: str | None,
    user_ids: list[UUID] | None,
    **columns: Any,
) -> Select[bool]:
    """Return the statement that inserts a link with its files and recipients, if its owner has room for it."""
    new = typed_columns(Share, owner_id=owner_id, **columns)
    new.setdefault("notify_on_download", default_of(NotificationKind.LINK_DOWNLOADS, owner_id))
    room = _has_room(owner_id=owner_id, slug=columns.get("slug"), shares_max=shares_max, slugs_max=slugs_max, kept_since=kept_since)
    created = (
        insert(Share)
        .from_select(list(new), select(*new.values()).where(*room), include_defaults=False)
        .returning(Share.id, Share.owner_id, Share.notify_on_download)
        .cte("created")
    )
    linked = json_rows("files", files, column("id", Uuid), column("position", Integer))
    links = select(created.c.id, linked.c.id, linked.c.position).join_from(created, linked, true())
    parts: list[Insert | Update] = [insert(ShareFile).from_select(["share_id", "file_id", "position"], links)]
    if user_ids is not None:
        parts.append(insert(ShareRecipient).from_select(*_recipient_rows(recipients, created, _named_users(user_ids))))
    if with_key:
        parts.append(complete_key(user_id=created.c.owner_id, resource_id=created.c.id))
    done = [part.returning(literal(1).label("done")).cte(f"part_{number}") for number, part in enumerate(parts)]
    logged = audit_insert_for(created, kind=Share.__tablename__)
    return select(created.c.notify_on_download).add_cte(*done, logged.cte("logged"))


@built_once
def _get(is_superuser: bool, *, share_id: UUID, user_id: UUID) -> Select[Any]:
    return _with_details(Share).where(Share.id == share_id, links_manageable_by(ViewerOf(user_id, is_superuser)))


def _page(condition: ColumnElement[bool], *, limit: int, after: Cursor | None) -> Select[Any]:
    return newest_page(_with_details(Share).where(condition), Share, limit=limit, after=after)


@built_once
def _page_of_owner(
    is_superuser: bool, state: LinkState | None, *, owner_id: UUID, title: str | None, now: datetime, limit: int, after: Cursor | None
) -> Select[Any]:
    condition = and_(Share.owner_id == owner_id, links_manageable_by(ViewerOf(owner_id, is_superuser)))
    if title is not None:
        has_title = func.strpos(_as_searched(Share.title), _as_searched(as_column(title, Text()))) > 0
        condition = and_(condition, Share.revoked_at.is_(None), has_title)
    if state is not None:
        condition = and_(condition, in_state(Share, state, at=now))
    return _page(condition, limit=limit, after=after)


@built_once
def _page_of_user(state: LinkState | None, *, owner_id: UUID, now: datetime, limit: int, after: Cursor | None) -> Select[Any]:
    condition: ColumnElement[bool] = Share.owner_id == owner_id
    if state is not None:
        condition = and_(condition, in_state(Share, state, at=now))
    return _page(condition, limit=limit, after=after)


@built_once
def _page_of_file(is_superuser: bool, *, file_id: UUID, user_id: UUID, limit: int, after: Cursor | None) -> Select[Any]:
    return _page(_opens_managed(file_id, ViewerOf(user_id, is_superuser)), limit=limit, after=after)


def _changeable(share_id: UUID, viewer: Viewer) -> tuple[ColumnElement[bool], ...]:
    return Share.id == share_id, Share.revoked_at.is_(None), links_manageable_by(viewer)


@built_once
def _lock_recipients(is_superuser: bool, *, share_id: UUID, user_id: UUID, user_ids: list[UUID]) -> Select[UUID, int]:
    # Locked first: a statement that waits for a concurrent change would not see, and so not replace, the recipients of that.
    changeable = _changeable(share_id, ViewerOf(user_id, is_superuser))
    link = select(Share.id, Share.owner_id).where(*changeable).with_for_update(key_share=True).cte("link")
    # Locked against a concurrent confirmation (`NamedAccessRepository.activate`). Not the link's owner: a demotion locks the
    # owner before the links, so both would wait for each other. The owner may open the link in any case, so a recipient that
    # stays pending has no effect.
    users = select(User.id).where(User.id.in_(user_ids), User.id != select(link.c.owner_id).scalar_subquery())
    named = users.order_by(User.id).with_for_update(read=True).cte("named")
    return select(link.c.id, select(func.count()).select_from(named).scalar_subquery())


@built_once
def _update(
    is_superuser: bool,
    *,
    share_id: UUID,
    user_id: UUID,
    recipients: str | None,
    user_ids: list[UUID] | None,
    now: datetime,
    **changes: Any,
) -> Select[Any]:
    if "hashed_password" in changes:
        # Invalidates the share tokens that prove the previous password.
        changes = {**changes, "password_version": Share.password_version + 1}
    change = update(Share).where(*_changeable(share_id, ViewerOf(user_id, is_superuser)))
    changed = change.values(**changes, updated_at=now).returning(*Share.__table__.c).cte("changed")
    parts = []
    if user_ids is not None:
        removed = delete(ShareRecipient).where(ShareRecipient.share_id == changed.c.id, ShareRecipient.user_id.not_in(user_ids))
        parts.append(removed.returning(ShareRecipient.user_id).cte("removed"))
    if user_ids is not None and recipients is not None:
        added = upsert(ShareRecipient).from_select(*_recipient_rows(recipients, changed, _named_users(user_ids)))
        new = added.excluded
        # A recipient whom the owner names again keeps the access that the first name gave.
        added = added.on_conflict_do_update(
            constraint="pk_share_recipient",
            set_={"named_as": new.named_as, "is_pending": new.is_pending},
            where=ShareRecipient.is_pending.is_(True),
        )
        parts.append(added.returning(ShareRecipient.user_id).cte("added"))
    logged = audit_insert_for(changed, kind=Share.__tablename__)
    return _with_details(aliased(Share, changed)).add_cte(*parts, logged.cte("logged"))


@built_once
def _replace_token(
    is_superuser: bool, *, share_id: UUID, owner_id: UUID, token_hash: str, encrypted_token: str, now: datetime
) -> Select[Any]:
    is_theirs = (Share.owner_id == owner_id, links_manageable_by(ViewerOf(owner_id, is_superuser)))
    change = update(Share).where(Share.id == share_id, *is_theirs, Share.revoked_at.is_(None), Share.slug.is_(None))
    change = change.values(token_hash=token_hash, encrypted_token=encrypted_token, updated_at=now)
    changed = change.returning(*Share.__table__.c).cte("changed")
    logged = audit_insert_for(changed, kind=Share.__tablename__)
    return _with_details(aliased(Share, changed)).add_cte(logged.cte("logged"))


def _revoked(*conditions: ColumnElement[bool], now: datetime) -> Select[Share]:
    """Lock order: the links, their archives."""
    change = update(Share).where(*conditions, Share.revoked_at.is_(None)).values(revoked_at=now, encrypted_token=None)
    revoked = change.returning(*Share.__table__.c).cte("revoked")
    # The link's archives end with it. A worker's next step finds no archive, and the sweep deletes the object.
    of_link = (Archive.holder_id == revoked.c.owner_id, Archive.share_id == revoked.c.id, Archive.status != ArchiveStatus.DELETING)
    deletion = update(Archive).where(*of_link).values(status=ArchiveStatus.DELETING, lease_id=None, updated_at=now)
    ended = deletion.returning(Archive.id).cte("ended")
    logged = audit_insert_for(revoked, kind=Share.__tablename__)
    return select(aliased(Share, revoked)).add_cte(ended, logged.cte("logged"))


@built_once
def _revoke_one(is_superuser: bool, *, share_id: UUID, user_id: UUID, now: datetime) -> Select[Share]:
    return _revoked(Share.id == share_id, links_manageable_by(ViewerOf(user_id, is_superuser)), now=now)


@built_once
def _revoke_those_that_need_superuser(*, owner_id: UUID, now: datetime) -> Select[Share]:
    return _revoked(Share.owner_id == owner_id, Share.needs_superuser.is_(True), now=now)


@built_once
def _revoke_of_file(is_superuser: bool, *, file_id: UUID, user_id: UUID, now: datetime) -> Select[Share]:
    return _revoked(_opens_managed(file_id, ViewerOf(user_id, is_superuser)), now=now)


def _recipients(user_ids: Mapping[str, UUID]) -> str:
    return json_text({"id": user_id, "name": name} for name, user_id in user_ids.items())


def _named_users(user_ids: list[UUID]) -> CTE:
    """Return the CTE of the users and their addresses. The caller has locked them."""
    return select(User.id, User.email, User.email_verified_at).where(User.id.in_(user_ids)).cte("named_users")


def _recipient_rows(recipients: Any, share: CTE, users: CTE) -> tuple[list[str], Select[Any]]:
    named = json_rows("recipients", recipients, column("id", Uuid), column("name", ShareRecipient.named_as.type))
    owns_address = and_(users.c.email == named.c.name, users.c.email_verified_at.is_not(None))
    is_pending = and_(named.c.name.contains("@"), not_(owns_address))
    # Joined, because a user may have been deleted since the lookup.
    rows = select(share.c.id, users.c.id, named.c.name, is_pending).select_from(named).join(users, users.c.id == named.c.id)
    return ["share_id", "user_id", "named_as", "is_pending"], rows.join(share, true())


def _opens_managed(file_id: UUID, viewer: Viewer) -> ColumnElement[bool]:
    has_file = exists().where(ShareFile.share_id == Share.id, ShareFile.file_id == file_id).correlate(Share)
    return and_(has_file, exists().where(File.id == file_id, manageable_by(viewer)))


def _with_details(link: Any) -> Select[Any]:
    files = select(func.array_agg(aggregate_order_by(ShareFile.file_id, ShareFile.position)))
    names = select(func.array_agg(aggregate_order_by(ShareRecipient.named_as, ShareRecipient.named_as)))
    pending = names.where(ShareRecipient.share_id == link.id, ShareRecipient.is_pending)
    # A link has at most 100 files, so a page of links reads a bounded number of rows, each by its key.
    first_names = func.array_agg(aggregate_order_by(File.filename, ShareFile.position, File.id))
    numbers = func.json_build_array(func.count(), func.coalesce(func.sum(File.size_bytes), 0), func.to_json(first_names[1:SUMMARY_NAMES]))
    summary = select(numbers).select_from(ShareFile).join(File, File.id == ShareFile.file_id)
    return select(
        link,
        files.where(ShareFile.share_id == link.id).scalar_subquery().label("file_ids"),
        names.where(ShareRecipient.share_id == link.id).scalar_subquery().label("recipients"),
        pending.scalar_subquery().label("pending_recipients"),
        summary.where(ShareFile.share_id == link.id, offered_by(link)).scalar_subquery().label("summary"),
    ).execution_options(populate_existing=True)


def _as_details(row: Any) -> ShareDetails:
    return ShareDetails(row[0], row.file_ids or [], row.recipients or [], row.pending_recipients or [], _as_summary(row.summary))


def _as_summary(numbers: Sequence[Any]) -> LinkSummary:
    file_count, size_bytes, names = numbers
    return LinkSummary(file_count, size_bytes, names or [])


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
