"""Queries on sessions, their refresh tokens, and whose credential an access token or an API key is."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Interval, Update, and_, bindparam, func, insert, literal, or_, select, update
from sqlalchemy.orm import Session

from lambda_app.core import clock
from lambda_app.core.request_context import request_context
from lambda_app.models import RefreshToken, User, UserSession
from lambda_app.repositories.audit import audit_entry, audit_insert_for, audited_change, audited_writes
from lambda_app.repositories.batch_delete import forget

SESSION_MAX_AGE = timedelta(days=90)
"""However often it is refreshed, a session ends; then the password is asked for again."""
SESSIONS_OF_A_BATCH = 200
"""How many are removed at once: each of them takes its tokens along, which can be thousands."""

_TIME = UserSession.created_at.type


def _is_live(now: datetime | ColumnElement[datetime]) -> Any:
    return and_(
        UserSession.user_id == User.id,
        UserSession.revoked_at.is_(None),
        UserSession.expires_at > now,
        UserSession.token_epoch == User.token_epoch,
        User.is_active,
    )


# Nearly every request asks this: made once, it costs a third less than made anew.
_USER_OF_SESSION = (
    select(User)
    .join(UserSession, _is_live(bindparam("now", type_=_TIME)))
    .where(User.id == bindparam("user_id"), UserSession.id == bindparam("session_id"), User.token_epoch == bindparam("token_epoch"))
)


class SessionRepository:
    """Reads and writes the rows of `user_session` and `refresh_token`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get_user_of(self, session_id: UUID, user_id: UUID, token_epoch: int) -> User | None:
        """Return the active user of a live session, if the epoch still is the user's: one query is the whole of authentication."""
        values = {"now": clock.now(), "user_id": user_id, "session_id": session_id, "token_epoch": token_epoch}
        return self._session.execute(_USER_OF_SESSION, values).scalar_one_or_none()

    def open(self, session: UserSession, token_hash: str, *release: Update) -> None:
        """Add a session and its first refresh token, audit it, and carry out `release`, in one round trip of the caller's transaction."""
        columns = {column.key: getattr(session, column.key) for column in UserSession.__table__.c}
        token = {"token_hash": token_hash, "session_id": session.id, "created_at": session.created_at}
        entry = audit_entry("sign_in.succeeded", actor_id=session.user_id, subject=f"user_session:{session.id}")
        writes = (insert(UserSession).values(**columns), insert(RefreshToken).values(**token))
        self._session.execute(audited_writes(*release, *writes, entry=entry, keeping=session.user_id))

    def rotate(self, token_hash: str, *, new_hash: str, lifetime: timedelta) -> tuple[UserSession, User] | None:
        """Use up a refresh token and add its successor, durably; None if it is not good, or not any more.

        One statement: of two callers with the same token the second waits for the first, and then finds it used.
        """
        now = clock.now()
        used = (
            update(RefreshToken)
            .where(
                RefreshToken.token_hash == token_hash,
                RefreshToken.used_at.is_(None),
                RefreshToken.session_id == UserSession.id,
                _is_live(now),
            )
            .values(used_at=now)
            .returning(RefreshToken.session_id, UserSession.user_id)
            .cte("used")
        )
        successor = {"token_hash": literal(new_hash), "session_id": used.c.session_id, "created_at": literal(now, _TIME)}
        added = insert(RefreshToken).from_select(list(successor), select(*successor.values()))
        latest = UserSession.created_at + literal(SESSION_MAX_AGE, Interval)
        kept = (
            update(UserSession)
            .where(UserSession.id == used.c.session_id)
            .values(last_used_at=now, expires_at=func.least(latest, literal(now + lifetime, _TIME)))
            .returning(UserSession.id, UserSession.user_id)
            .cte("kept")
        )
        # From the session's row and not from the token's, so that the chain's head is locked last, as everywhere.
        logged = audit_insert_for(kept, "token.refreshed", kind=UserSession.__tablename__, actor="user_id")
        query = (
            select(UserSession, User)
            .join(used, UserSession.id == used.c.session_id)
            .join(User, User.id == used.c.user_id)
            .add_cte(added.cte("added"), kept, logged.cte("logged"))
            .execution_options(own_transaction=True, populate_existing=True)
        )
        row = self._session.execute(query).one_or_none()
        return None if row is None else (row[0], row[1])

    def revoke_reused(self, token_hash: str) -> UUID | None:
        """End the session whose refresh token was used before, durably; return the session, None if there is no such token."""
        query = select(RefreshToken.session_id, UserSession.user_id).join(UserSession, UserSession.id == RefreshToken.session_id)
        row = self._session.execute(query.where(RefreshToken.token_hash == token_hash, RefreshToken.used_at.is_not(None))).one_or_none()
        if row is None:
            return None
        # Audited each time: every use of a stolen token is news.
        entry = audit_entry("token.reused", actor_id=row.user_id, subject=f"user_session:{row.session_id}")
        revoked = (
            update(UserSession)
            .where(UserSession.id == row.session_id)
            .values(revoked_at=func.coalesce(UserSession.revoked_at, clock.now()))
        )
        self._session.execute(audited_writes(revoked, entry=entry).execution_options(own_transaction=True))
        session_id: UUID = row.session_id
        return session_id

    def end_by_refresh_token(self, token_hash: str) -> UserSession | None:
        """End the session of a refresh token, used or not, within the caller's transaction; None if there is nothing to end."""
        named = select(RefreshToken.session_id).where(RefreshToken.token_hash == token_hash).scalar_subquery()
        return self._end(UserSession.id == named, action="session.signed_out")

    def end(self, session_id: UUID, *, user_id: UUID, action: str) -> UserSession | None:
        """End one session of the user within the caller's transaction; None if the user has no such live session."""
        return self._end(UserSession.id == session_id, UserSession.user_id == user_id, action=action)

    def list_live(self, user: User) -> list[UserSession]:
        """Return the user's live sessions, newest first."""
        query = (
            select(UserSession)
            .where(
                UserSession.user_id == user.id,
                UserSession.revoked_at.is_(None),
                UserSession.expires_at > clock.now(),
                UserSession.token_epoch == user.token_epoch,
            )
            .order_by(UserSession.created_at.desc(), UserSession.id)
        )
        return list(self._session.execute(query).scalars())

    def purge(self, *, ended_before: datetime) -> int:
        """Remove sessions that ended before then, with their tokens, durably; return how many."""
        is_over = or_(UserSession.expires_at < ended_before, UserSession.revoked_at < ended_before)
        return forget(self._session, UserSession, is_over, batch_rows=SESSIONS_OF_A_BATCH)

    def _end(self, *conditions: ColumnElement[bool], action: str) -> UserSession | None:
        change = (
            update(UserSession)
            .where(*conditions, UserSession.revoked_at.is_(None))
            .values(revoked_at=clock.now())
            .returning(*UserSession.__table__.c)
        )
        statement = audited_change(change, UserSession, action, actor=None if request_context().actor_id else "user_id")
        return self._session.execute(statement.execution_options(populate_existing=True)).scalar_one_or_none()
