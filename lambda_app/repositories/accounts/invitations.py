"""Queries on invitations."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, delete, exists, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, aliased

from lambda_app.core import clock
from lambda_app.models import File, Invitation, User
from lambda_app.repositories.audit import audit_insert_for, audited_change
from lambda_app.repositories.batch_delete import delete_in_batches
from lambda_app.repositories.statements import newest_page
from lambda_app.schemas.page import Cursor


class InvitationRepository:
    """Reads and writes the rows of `invitation` within the caller's transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def put(self, invitation: Invitation) -> Invitation:
        """Add the invitation and audit it. An earlier one of the same address, for the same file, gets the new token and role.

        No account is read, so neither the result nor the time depends on whether the address has one.
        """
        values = {column.key: getattr(invitation, column.key) for column in Invitation.__table__.c}
        inserted = insert(Invitation).values(**values)
        changed = {name: inserted.excluded[name] for name in ("inviter_id", "role", "token_hash", "sent_at", "expires_at")}
        is_about_file = Invitation.file_id.is_not(None)
        if invitation.file_id is None:
            change = inserted.on_conflict_do_update(index_elements=["email"], index_where=Invitation.file_id.is_(None), set_=changed)
        else:
            change = inserted.on_conflict_do_update(index_elements=["email", "file_id"], index_where=is_about_file, set_=changed)
        statement = audited_change(
            change.returning(*Invitation.__table__.c), Invitation, "invitation.sent", details={"file_id": invitation.file_id}
        )
        return self._session.execute(statement.execution_options(populate_existing=True)).scalar_one()

    def count_pending(self, inviter_id: UUID) -> int:
        """Return how many invitations of the user wait for their recipients."""
        pending = Invitation.inviter_id == inviter_id, Invitation.expires_at > clock.now()
        return self._session.execute(select(func.count()).where(*pending)).scalar_one()

    def get_valid(self, token_hash: str, *, for_files: bool) -> Invitation | None:
        """Return the invitation of a token that is in force; None if there is none.

        It is in force while the inviter may still invite. Without `for_files`, only superusers may invite to a file.
        """
        query = select(Invitation).where(Invitation.token_hash == token_hash, *_in_force(for_files=for_files))
        return self._session.execute(query).scalar_one_or_none()

    def admits(self, email: str, *, for_files: bool) -> bool:
        """Whether an invitation that is in force admits a new account with this address."""
        query = select(Invitation.id).where(Invitation.email == email, *_in_force(for_files=for_files)).limit(1)
        return self._session.execute(query).scalar_one_or_none() is not None

    def renew(self, invitation_id: UUID, editor: User, *, token_hash: str, expires_at: datetime) -> Invitation | None:
        """Give the invitation a new token and audit it; None if the editor has no such invitation."""
        change = (
            update(Invitation)
            .where(Invitation.id == invitation_id, _managed_by(editor))
            .values(token_hash=token_hash, sent_at=clock.now(), expires_at=expires_at)
            .returning(*Invitation.__table__.c)
        )
        statement = audited_change(change, Invitation, "invitation.sent")
        return self._session.execute(statement.execution_options(populate_existing=True)).scalar_one_or_none()

    def get(self, invitation_id: UUID, editor: User) -> Invitation | None:
        """Return the invitation; None if the editor has no such invitation."""
        query = select(Invitation).where(Invitation.id == invitation_id, _managed_by(editor))
        return self._session.execute(query).scalar_one_or_none()

    def withdraw(self, invitation_id: UUID, editor: User) -> bool:
        """Delete the invitation and audit it; False if the editor has no such invitation."""
        return self._remove(Invitation.id == invitation_id, _managed_by(editor), action="invitation.withdrawn")

    def redeem(self, token_hash: str) -> bool:
        """Use up the invitation of a token and audit it; False if a concurrent request has done so.

        The row stays until the end of the transaction's `NamedAccessRepository.activate`, which gives effect to it and deletes it: the
        lock on it admits one of two concurrent requests, and the new hash refuses the other.
        """
        change = (
            update(Invitation)
            .where(Invitation.token_hash == token_hash)
            .values(token_hash=func.concat("-", func.substr(Invitation.token_hash, 2)))
            .returning(*Invitation.__table__.c)
        )
        statement = audited_change(change, Invitation, "invitation.accepted")
        return self._session.execute(statement.execution_options(populate_existing=True)).scalar_one_or_none() is not None

    def page(self, viewer: User, *, of_all: bool, file_id: UUID | None, limit: int, after: Cursor | None) -> list[Invitation]:
        """Return up to `limit` invitations after the cursor, newest first: those of the viewer, or of all inviters."""
        query = select(Invitation)
        if not of_all:
            query = query.where(Invitation.inviter_id == viewer.id)
        if file_id is not None:
            query = query.where(Invitation.file_id == file_id)
        return list(self._session.execute(newest_page(query, Invitation, limit=limit, after=after)).scalars())

    def purge(self, *, expired_before: datetime) -> int:
        """Delete invitations that expired before this time, in batches; return how many."""
        return delete_in_batches(self._session, Invitation, Invitation.expires_at < expired_before)

    def _remove(self, *conditions: ColumnElement[bool], action: str) -> bool:
        removed = delete(Invitation).where(*conditions).returning(Invitation.id).cte("removed")
        logged = audit_insert_for(removed, action, kind=Invitation.__tablename__)
        return self._session.execute(select(removed.c.id).add_cte(logged.cte("logged"))).scalar_one_or_none() is not None


def _managed_by(editor: User) -> ColumnElement[bool]:
    return Invitation.id.is_not(None) if editor.is_superuser else Invitation.inviter_id == editor.id


def _in_force(*, for_files: bool) -> tuple[ColumnElement[bool], ...]:
    conditions = Invitation.expires_at > clock.now(), is_by_permitted_inviter()
    if for_files:
        return conditions
    is_by_superuser = exists(select(User.id).where(User.id == Invitation.inviter_id, User.is_superuser)).correlate(Invitation)
    return *conditions, or_(Invitation.file_id.is_(None), is_by_superuser)


def is_by_permitted_inviter() -> ColumnElement[bool]:
    """Whether the inviter may still invite: an active superuser, or the active owner of the file."""
    inviter: Any = aliased(User)
    owns_file = exists(select(File.id).where(File.id == Invitation.file_id, File.owner_id == inviter.id)).correlate(Invitation, inviter)
    is_permitted = or_(inviter.is_superuser, owns_file)
    return exists(select(inviter.id).where(inviter.id == Invitation.inviter_id, inviter.is_active, is_permitted)).correlate(Invitation)
