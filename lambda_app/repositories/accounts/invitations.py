"""Queries on invitations."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, delete, exists, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, aliased

from lambda_app.core import clock
from lambda_app.models import File, Invitation, User
from lambda_app.repositories.audit import audit_insert_for, audited_change, with_event
from lambda_app.repositories.batch_delete import delete_in_batches
from lambda_app.repositories.statements import built_once, newest_page
from lambda_app.schemas.page import Cursor


class InvitationRepository:
    """Reads and writes the rows of `invitation` within the caller's transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def put(self, invitation: Invitation) -> Invitation:
        """Add the invitation and audit it. An earlier one of the same address, for the same file, gets the new token and role.

        No account is read, so neither the result nor the time depends on whether the address has one.
        """
        columns = {column.key: getattr(invitation, column.key) for column in Invitation.__table__.c}
        statement = with_event(_put(**columns), "invitation.sent", details={"file_id": invitation.file_id})
        put: Invitation = self._session.execute(*statement).scalar_one()
        return put

    def count_pending(self, inviter_id: UUID) -> int:
        """Return how many invitations of the user wait for their recipients."""
        return int(self._session.execute(*_count_pending(inviter_id=inviter_id, now=clock.now())).scalar_one())

    def get_valid(self, token_hash: str, *, for_files: bool) -> Invitation | None:
        """Return the invitation of a token that is in force; None if there is none.

        It is in force while the inviter may still invite. Without `for_files`, only superusers may invite to a file.
        """
        return self._session.execute(*_valid(for_files, token_hash=token_hash, now=clock.now())).scalar_one_or_none()

    def admits(self, email: str, *, for_files: bool) -> bool:
        """Whether an invitation that is in force admits a new account with this address."""
        return self._session.execute(*_admitting(for_files, email=email, now=clock.now())).scalar_one_or_none() is not None

    def renew(self, invitation_id: UUID, editor: User, *, token_hash: str, expires_at: datetime) -> Invitation | None:
        """Give the invitation a new token and audit it; None if the editor has no such invitation."""
        editor_id = None if editor.is_superuser else editor.id
        token = {"token_hash": token_hash, "sent_at": clock.now(), "expires_at": expires_at}
        renewed = _renew(invitation_id=invitation_id, editor_id=editor_id, **token)
        return self._session.execute(*with_event(renewed, "invitation.sent")).scalar_one_or_none()

    def get(self, invitation_id: UUID, editor: User) -> Invitation | None:
        """Return the invitation; None if the editor has no such invitation."""
        editor_id = None if editor.is_superuser else editor.id
        return self._session.execute(*_get(invitation_id=invitation_id, editor_id=editor_id)).scalar_one_or_none()

    def withdraw(self, invitation_id: UUID, editor: User) -> bool:
        """Delete the invitation and audit it; False if the editor has no such invitation."""
        editor_id = None if editor.is_superuser else editor.id
        withdrawn = with_event(_withdraw(invitation_id=invitation_id, editor_id=editor_id), "invitation.withdrawn")
        return self._session.execute(*withdrawn).scalar_one_or_none() is not None

    def redeem(self, token_hash: str) -> bool:
        """Use up the invitation of a token and audit it; False if a concurrent request has done so.

        The row stays until the end of the transaction's `NamedAccessRepository.activate`, which gives effect to it and deletes it: the
        lock on it admits one of two concurrent requests, and the new hash refuses the other.
        """
        redeemed = with_event(_redeem(token_hash=token_hash), "invitation.accepted")
        return self._session.execute(*redeemed).scalar_one_or_none() is not None

    def page(self, viewer: User, *, of_all: bool, file_id: UUID | None, limit: int, after: Cursor | None) -> list[Invitation]:
        """Return up to `limit` invitations after the cursor, newest first: those of the viewer, or of all inviters."""
        page = _page(inviter_id=None if of_all else viewer.id, file_id=file_id, limit=limit, after=after)
        return list(self._session.execute(*page).scalars())

    def purge(self, *, expired_before: datetime) -> int:
        """Delete invitations that expired before this time, in batches; return how many."""
        return delete_in_batches(self._session, Invitation, Invitation.expires_at < expired_before)


def _managed_by(editor_id: UUID | None) -> ColumnElement[bool]:
    """The invitations that the editor may change: all for a superuser (None)."""
    return Invitation.id.is_not(None) if editor_id is None else Invitation.inviter_id == editor_id


def _in_force(now: datetime, *, for_files: bool) -> tuple[ColumnElement[bool], ...]:
    conditions = Invitation.expires_at > now, is_by_permitted_inviter()
    if for_files:
        return conditions
    is_by_superuser = exists(select(User.id).where(User.id == Invitation.inviter_id, User.is_superuser)).correlate(Invitation)
    return *conditions, or_(Invitation.file_id.is_(None), is_by_superuser)


@built_once
def _put(*, file_id: UUID | None, **columns: Any) -> Select[Invitation]:
    inserted = insert(Invitation).values(file_id=file_id, **columns)
    changed = {name: inserted.excluded[name] for name in ("inviter_id", "role", "token_hash", "sent_at", "expires_at")}
    if file_id is None:
        change = inserted.on_conflict_do_update(index_elements=["email"], index_where=Invitation.file_id.is_(None), set_=changed)
    else:
        is_about_file = Invitation.file_id.is_not(None)
        change = inserted.on_conflict_do_update(index_elements=["email", "file_id"], index_where=is_about_file, set_=changed)
    statement = audited_change(change.returning(*Invitation.__table__.c), Invitation)
    return statement.execution_options(populate_existing=True)


@built_once
def _count_pending(*, inviter_id: UUID, now: datetime) -> Select[int]:
    return select(func.count()).where(Invitation.inviter_id == inviter_id, Invitation.expires_at > now)


@built_once
def _valid(for_files: bool, *, token_hash: str, now: datetime) -> Select[Invitation]:
    return select(Invitation).where(Invitation.token_hash == token_hash, *_in_force(now, for_files=for_files))


@built_once
def _admitting(for_files: bool, *, email: str, now: datetime) -> Select[UUID]:
    return select(Invitation.id).where(Invitation.email == email, *_in_force(now, for_files=for_files)).limit(1)


@built_once
def _renew(*, invitation_id: UUID, editor_id: UUID | None, **token: Any) -> Select[Invitation]:
    change = update(Invitation).where(Invitation.id == invitation_id, _managed_by(editor_id)).values(**token)
    statement = audited_change(change.returning(*Invitation.__table__.c), Invitation)
    return statement.execution_options(populate_existing=True)


@built_once
def _get(*, invitation_id: UUID, editor_id: UUID | None) -> Select[Invitation]:
    return select(Invitation).where(Invitation.id == invitation_id, _managed_by(editor_id))


@built_once
def _withdraw(*, invitation_id: UUID, editor_id: UUID | None) -> Select[UUID]:
    statement = delete(Invitation).where(Invitation.id == invitation_id, _managed_by(editor_id))
    removed = statement.returning(Invitation.id).cte("removed")
    logged = audit_insert_for(removed, kind=Invitation.__tablename__)
    return select(removed.c.id).add_cte(logged.cte("logged"))


@built_once
def _redeem(*, token_hash: str) -> Select[Invitation]:
    used = func.concat("-", func.substr(Invitation.token_hash, 2))
    change = update(Invitation).where(Invitation.token_hash == token_hash).values(token_hash=used)
    statement = audited_change(change.returning(*Invitation.__table__.c), Invitation)
    return statement.execution_options(populate_existing=True)


@built_once
def _page(*, inviter_id: UUID | None, file_id: UUID | None, limit: int, after: Cursor | None) -> Select[Invitation]:
    query = select(Invitation)
    if inviter_id is not None:
        query = query.where(Invitation.inviter_id == inviter_id)
    if file_id is not None:
        query = query.where(Invitation.file_id == file_id)
    return newest_page(query, Invitation, limit=limit, after=after)


def is_by_permitted_inviter() -> ColumnElement[bool]:
    """Whether the inviter may still invite: an active superuser, or the active owner of the file."""
    inviter: Any = aliased(User)
    owns_file = exists(select(File.id).where(File.id == Invitation.file_id, File.owner_id == inviter.id)).correlate(Invitation, inviter)
    is_permitted = or_(inviter.is_superuser, owns_file)
    return exists(select(inviter.id).where(inviter.id == Invitation.inviter_id, inviter.is_active, is_permitted)).correlate(Invitation)
