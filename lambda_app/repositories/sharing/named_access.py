"""Access that was given to an e-mail address: it has an effect once the account with this address has confirmed it."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Delete, Select, Text, and_, delete, func, literal, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from lambda_app.core import clock
from lambda_app.models import File, FileGrant, FileStatus, Invitation, ShareRecipient, User
from lambda_app.models.sharing.grants import GRANTS_PER_FILE
from lambda_app.repositories.accounts.invitations import is_by_permitted_inviter
from lambda_app.repositories.audit import audit_insert_for, details_of, with_event
from lambda_app.repositories.statements import built_once, table_of


def is_confirmed(email: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether the row of `user` has this address and has confirmed it."""
    return and_(User.email == email, User.email_verified_at.is_not(None))


class NamedAccessRepository:
    """Gives effect to pending grants, pending recipients of share links, and invitations."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def activate(self, user_id: UUID, *, email: str) -> None:
        """Give effect to everything that is pending for the user at this confirmed address, within the caller's transaction.

        The caller must have locked the user in an earlier statement: a grant that waits for that lock must be visible here, or see
        the confirmed address. Lock order: the user, grants, recipients, invitations.
        """
        self._session.execute(*_activate(user_id=user_id, email=email))
        self._accept_invitations(user_id, email)

    def _accept_invitations(self, user_id: UUID, email: str) -> None:
        """Make grants of the invitations of the address that are in force, and delete all of them.

        The limit of grants per file is not exact here: the files are not locked, because transitions lock a file before its users.
        """
        self._session.execute(
            *with_event(_accept(user_id=user_id, email=email, now=clock.now(), grants_max=GRANTS_PER_FILE), "file.shared")
        )
        self._session.execute(*_delete_invitations(email=email))


@built_once
def _activate(*, user_id: UUID, email: str) -> Select[int]:
    grants = update(FileGrant).where(FileGrant.user_id == user_id, FileGrant.email == email, FileGrant.is_pending)
    recipients = update(ShareRecipient).where(
        ShareRecipient.user_id == user_id, ShareRecipient.named_as == email, ShareRecipient.is_pending
    )
    activated = grants.values(is_pending=False).returning(literal(1)).cte("activated_grants")
    named = recipients.values(is_pending=False).returning(literal(1)).cte("activated_recipients")
    return select(literal(1)).add_cte(activated, named)


@built_once
def _accept(*, user_id: UUID, email: str, now: datetime, grants_max: int) -> Select[int]:
    others = select(func.count()).where(FileGrant.file_id == File.id, FileGrant.user_id != user_id).correlate(File).scalar_subquery()
    columns = FileGrant.__table__.c
    values: dict[str, Any] = {
        "file_id": File.id,
        "user_id": user_id,
        "owner_id": File.owner_id,
        "file_created_at": File.created_at,
        "role": Invitation.role,
        "email": Invitation.email,
        "is_pending": literal(False),
        "created_at": now,
        "updated_at": now,
    }
    rows = select(*values.values()).join_from(Invitation, File, File.id == Invitation.file_id)
    rows = rows.where(
        Invitation.email == email,
        Invitation.expires_at > now,
        is_by_permitted_inviter(),
        File.status != FileStatus.DELETING,
        File.owner_id != user_id,
        others < grants_max,
    )
    added = insert(FileGrant).from_select(list(values), rows)
    changes = {"role": added.excluded.role, "email": added.excluded.email, "is_pending": False, "updated_at": now}
    granted = added.on_conflict_do_update(constraint="pk_file_grant", set_=changes).returning(*columns).cte("granted")
    members = {name: granted.c[name] for name in ("user_id", "role", "owner_id", "is_pending")}
    details = details_of(by=literal("invitation", Text), **members)
    logged = audit_insert_for(granted, kind="file", key="file_id", details=details)
    return select(literal(1)).add_cte(granted, logged.cte("logged"))


@built_once
def _delete_invitations(*, email: str) -> Delete:
    return delete(table_of(Invitation)).where(Invitation.email == email)
