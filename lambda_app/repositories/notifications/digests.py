"""The mails that are due: claims, confirmations and retries."""

from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Select, Update, case, delete, exists, or_, select, update
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningDelete

from lambda_app.db.session import own_transaction, release_connection
from lambda_app.models import Notification, NotificationDigest, User
from lambda_app.repositories.statements import built_once, table_of


class Recipient(NamedTuple):
    """Who gets a mail, and how times and texts are shown to that user."""

    user_id: UUID
    email: str
    locale: str | None
    time_zone: str | None


class ClaimedDigest(NamedTuple):
    """A mail that this sender alone may send until its claim ends. Without a recipient there is nothing to send."""

    user_id: UUID
    recipient: Recipient | None
    content: list[dict[str, Any]]
    attempts: int
    """Earlier attempts to send this mail."""


class DigestRepository:
    """Reads and writes the rows of `notification_digest`, and takes the notifications of a mail."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def claim(self, *, now: datetime, lease: timedelta) -> ClaimedDigest | None:
        """Claim the mail that has been due for longest, and commit; None if none is due. Concurrent senders get different ones.

        The notifications move into the claim. Those that are added later belong to the next mail, and a retry sends the same mail.
        """
        with own_transaction(self._session):
            row = self._session.execute(*_lock_due(now=now)).one_or_none()
            if row is None:
                return None
            content = self._take(row.user_id) if row.content is None else row.content
            values = {"content": content, "claimed_until": now + lease, "attempts": row.attempts + 1}
            self._session.execute(*_set(recipient_id=row.user_id, **values))
            return ClaimedDigest(row.user_id, self._recipient(row.user_id), content, row.attempts)

    def complete(self, user_id: UUID, *, now: datetime, pause: timedelta, was_sent: bool) -> None:
        """End the claim and commit. If notifications wait already, the next mail is due after `pause`."""
        sent = {"sent_at": now} if was_sent else {}
        with own_transaction(self._session):
            # A collector holds this lock while it adds notifications. The next statement sees them, because it has a newer snapshot.
            self._session.execute(*_lock(user_id=user_id))
            self._session.execute(*_complete(recipient_id=user_id, next_due_at=now + pause, **sent))

    def postpone(self, user_id: UUID, *, until: datetime, attempts: int) -> None:
        """End the claim and commit, so that the same mail is sent at a later time, after this number of attempts."""
        with own_transaction(self._session):
            self._session.execute(*_set(recipient_id=user_id, claimed_until=None, due_at=until, attempts=attempts))

    def release_connection(self) -> None:
        """Return the connection to the pool while a mail is sent."""
        release_connection(self._session)

    def _take(self, user_id: UUID) -> list[dict[str, Any]]:
        rows = self._session.execute(*_take(user_id=user_id)).mappings()
        taken = [{name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()} for row in rows]
        return sorted(taken, key=lambda each: (each["kind"], each["first_at"], each["subject"]))

    def _recipient(self, user_id: UUID) -> Recipient | None:
        """Return the user if mail may be sent: the account is active, and the address belongs to it."""
        row = self._session.execute(*_recipient(user_id=user_id)).one_or_none()
        return None if row is None else Recipient(*row)


@built_once
def _lock_due(*, now: datetime) -> Select[Any]:
    table = NotificationDigest
    is_free = or_(table.claimed_until.is_(None), table.claimed_until < now)
    query = select(table.user_id, table.content, table.attempts).where(table.due_at <= now, is_free)
    return query.order_by(table.due_at).limit(1).with_for_update(skip_locked=True)


@built_once
def _lock(*, user_id: UUID) -> Select[UUID]:
    return select(NotificationDigest.user_id).where(NotificationDigest.user_id == user_id).with_for_update()


@built_once
def _set(*, recipient_id: UUID, **values: Any) -> Update:
    return update(table_of(NotificationDigest)).where(NotificationDigest.user_id == recipient_id).values(values)


@built_once
def _complete(*, recipient_id: UUID, next_due_at: datetime, **sent: Any) -> Update:
    has_more = exists().where(Notification.user_id == recipient_id)
    values = {"content": None, "claimed_until": None, "attempts": 0, "due_at": case((has_more, next_due_at), else_=None), **sent}
    return update(table_of(NotificationDigest)).where(NotificationDigest.user_id == recipient_id).values(values)


@built_once
def _take(*, user_id: UUID) -> ReturningDelete[Any]:
    columns = [column for column in Notification.__table__.c if column.key != "user_id"]
    return delete(table_of(Notification)).where(Notification.user_id == user_id).returning(*columns)


@built_once
def _recipient(*, user_id: UUID) -> Select[UUID, str, str | None, str | None]:
    query = select(User.id, User.email, User.locale, User.time_zone)
    return query.where(User.id == user_id, User.is_active, User.email_verified_at.is_not(None))
