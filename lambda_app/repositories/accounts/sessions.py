"""Queries on sessions and their refresh tokens."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Interval, Select, and_, bindparam, case, func, insert, literal, or_, select, update
from sqlalchemy.orm import Session, aliased

from lambda_app.core import clock
from lambda_app.core.request_context import request_context
from lambda_app.models import RefreshToken, User, UserSession
from lambda_app.repositories.accounts.sign_in_attempts import AttemptKeys, reset_attempt
from lambda_app.repositories.audit import (
    ENTRY,
    audit_entry,
    audit_insert_for,
    audited_change,
    audited_writes,
    entry_parameters,
    with_event,
)
from lambda_app.repositories.batch_delete import delete_in_batches
from lambda_app.repositories.statements import OWN_TRANSACTION, Bound, built_once, newest_page
from lambda_app.schemas.page import Cursor

SESSION_MAX_AGE = timedelta(days=90)
"""Longest lifetime of a session, however often it is refreshed."""
REUSE_AUDIT_INTERVAL = timedelta(minutes=15)
"""Shortest time between two audit events for the reuse of one refresh token."""
REFRESH_WINDOW = timedelta(hours=1)
REFRESHES_PER_WINDOW = 120
"""Refreshes of one session in REFRESH_WINDOW. Each adds a row and an audit event, and all used tokens are kept to detect reuse. A client
needs one refresh for each access token, and the web app one for each page that it loads."""
SESSIONS_PER_BATCH = 200
"""Sessions deleted per statement; the foreign key deletes their tokens too, which can be thousands each."""

_TIME = UserSession.created_at.type


def is_live_session(now: datetime | ColumnElement[datetime]) -> Any:
    """Return the condition that joins a user with a session that is in force."""
    return and_(
        UserSession.user_id == User.id,
        UserSession.revoked_at.is_(None),
        UserSession.expires_at > now,
        UserSession.token_epoch == User.token_epoch,
        User.is_active,
    )


# Nearly every request executes this. Built once, it takes a third less time than built per request.
_USER_OF_SESSION = (
    select(User)
    .join(UserSession, is_live_session(bindparam("now", type_=_TIME)))
    .where(User.id == bindparam("user_id"), UserSession.id == bindparam("session_id"), User.token_epoch == bindparam("token_epoch"))
)

_NEW_SESSION = (
    "id",
    "user_id",
    "token_epoch",
    "created_at",
    "last_used_at",
    "expires_at",
    "source_address",
    "user_agent",
)
"""The columns of a new session. The others have defaults."""


@cache
def _open(*, resets_attempt: bool) -> Select[int]:
    columns = UserSession.__table__.c
    new = {name: bindparam(f"new_{name}", type_=columns[name].type) for name in _NEW_SESSION}
    token = {
        "token_hash": bindparam("new_token_hash", type_=RefreshToken.token_hash.type),
        "session_id": new["id"],
        "created_at": new["created_at"],
    }
    writes = (insert(UserSession).values(**new), insert(RefreshToken).values(**token))
    return audited_writes(*((reset_attempt(),) if resets_attempt else ()), *writes, entry=ENTRY)


@cache
def _rotate() -> Select[UserSession, User]:
    now, next_hash = bindparam("refreshed_at", type_=_TIME), bindparam("next_hash", type_=RefreshToken.token_hash.type)
    is_new_window = or_(
        UserSession.refreshes_since.is_(None), UserSession.refreshes_since <= bindparam("window_before_refresh", type_=_TIME)
    )
    used = (
        update(RefreshToken)
        .where(
            RefreshToken.token_hash == bindparam("exchanged_hash"),
            RefreshToken.used_at.is_(None),
            RefreshToken.session_id == UserSession.id,
            is_live_session(now),
            or_(is_new_window, UserSession.refresh_count < bindparam("refreshes_max")),
        )
        .values(used_at=now, successor_hash=next_hash)
        .returning(RefreshToken.session_id, UserSession.user_id)
        .cte("used")
    )
    columns = {"token_hash": next_hash, "session_id": used.c.session_id, "created_at": now}
    added = insert(RefreshToken).from_select(list(columns), select(*columns.values()))
    latest = UserSession.created_at + literal(SESSION_MAX_AGE, Interval)
    extended = (
        update(UserSession)
        .where(UserSession.id == used.c.session_id)
        .values(
            last_used_at=now,
            expires_at=func.least(latest, bindparam("extended_until", type_=_TIME)),
            refresh_key_id=bindparam("next_key_id", type_=UserSession.refresh_key_id.type),
            refreshes_since=case((is_new_window, now), else_=UserSession.refreshes_since),
            refresh_count=case((is_new_window, 1), else_=UserSession.refresh_count + 1),
        )
        .returning(*UserSession.__table__.c)
        .cte("extended")
    )
    logged = audit_insert_for(extended, kind=UserSession.__tablename__, actor="user_id")
    query = select(aliased(UserSession, extended), User).join_from(extended, User, User.id == extended.c.user_id)
    return query.add_cte(added.cte("added"), logged.cte("logged"))


@dataclass(frozen=True, slots=True)
class Successor:
    """The hash of the refresh token that replaces another, and the id of the key that derived it."""

    token_hash: str
    key_id: str


@dataclass(frozen=True, slots=True)
class Exchange:
    """Whether and how a refresh token was exchanged for its successor."""

    session: UserSession
    user: User
    used_at: datetime | None
    """None: the token is unused."""
    successor_hash: str | None
    """None: exchanged before successors were derived."""
    is_successor_used: bool
    is_session_live: bool
    is_repeat_recorded: bool

    @property
    def refused_until(self) -> datetime | None:
        """When the session can be refreshed again; None if it is not at its limit."""
        since = self.session.refreshes_since
        return None if since is None or self.session.refresh_count < REFRESHES_PER_WINDOW else since + REFRESH_WINDOW


class SessionRepository:
    """Reads and writes the rows of `user_session` and `refresh_token`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get_user_of(self, session_id: UUID, user_id: UUID, token_epoch: int) -> User | None:
        """Return the active user of a live session with this token epoch, in one query; None if there is none."""
        values = {"now": clock.now(), "user_id": user_id, "session_id": session_id, "token_epoch": token_epoch}
        return self._session.execute(_USER_OF_SESSION, values).scalar_one_or_none()

    def open(
        self,
        session: UserSession,
        token_hash: str,
        *,
        attempt: AttemptKeys | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        """Add a session and its first refresh token, audit it, and reset the counters of `attempt`, within the caller's transaction."""
        entry = audit_entry("sign_in.succeeded", actor_id=session.user_id, subject=f"user_session:{session.id}", details=details)
        values = {f"new_{name}": getattr(session, name) for name in _NEW_SESSION}
        values |= {"new_token_hash": token_hash, **entry_parameters(entry)}
        if attempt is not None:
            values |= attempt.parameters
        self._session.execute(_open(resets_attempt=attempt is not None), values)

    def mark_proved(self, session_id: UUID) -> None:
        """Record, within the caller's transaction, that the user of the session has just proved who they are; audit it."""
        self._session.execute(*with_event(_prove(session_id=session_id, now=clock.now()), "session.proved"))

    def has_proof(self, session_id: UUID, *, user_id: UUID, since: datetime) -> bool:
        """Whether the user proved in this session who they are, after this time."""
        proof = _proof(session_id=session_id, user_id=user_id, since=since)
        return self._session.execute(*proof).scalar_one_or_none() is not None

    def rotate(self, token_hash: str, *, successor: Successor, lifetime: timedelta) -> tuple[UserSession, User] | None:
        """Use up a refresh token, add its successor and commit; None if the token is used or not valid, or the session is at its limit.

        Lock order: the token, the session. The second of two concurrent callers with the same token waits
        for the row lock and then finds the token used.
        """
        now = clock.now()
        values = {
            "refreshed_at": now,
            "window_before_refresh": now - REFRESH_WINDOW,
            "extended_until": now + lifetime,
            "refreshes_max": REFRESHES_PER_WINDOW,
            "exchanged_hash": token_hash,
            "next_hash": successor.token_hash,
            "next_key_id": successor.key_id,
            **entry_parameters(audit_entry("token.refreshed")),
        }
        row = self._session.execute(_rotate(), values, execution_options=OWN_TRANSACTION).one_or_none()
        return None if row is None else (row[0], row[1])

    def get_exchange(self, token_hash: str) -> Exchange | None:
        """Return whether and how a refresh token was exchanged; None if it is unknown."""
        row = self._session.execute(*_exchange(token_hash=token_hash, now=clock.now())).one_or_none()
        if row is None:
            return None
        token, session, user, successor_used_at, is_live = row
        return Exchange(
            session=session,
            user=user,
            used_at=token.used_at,
            successor_hash=token.successor_hash,
            is_successor_used=successor_used_at is not None,
            is_session_live=is_live,
            is_repeat_recorded=token.repeated_at is not None,
        )

    def record_repeat(self, token_hash: str) -> None:
        """Audit the first repetition of an exchange within the grace period, and commit. Further ones add no event."""
        self._session.execute(*with_event(_record_repeat(token_hash=token_hash, now=clock.now()), "token.refresh_repeated"))

    def revoke_reused(self, token_hash: str) -> None:
        """Revoke the session of a used refresh token, audit the reuse and commit.

        The reuses of one token add at most one event per REUSE_AUDIT_INTERVAL, also after the session ended: otherwise one old token
        could fill the audit log. Lock order: the token, the session.
        """
        self._session.execute(*with_event(_revoke_reused(token_hash=token_hash, now=clock.now()), "token.reused"))

    def end_by_refresh_token(self, token_hash: str) -> UserSession | None:
        """Revoke the session of a refresh token, used or not, within the caller's transaction; None if it has no live session."""
        return self._end(_end_by_token(_actor(), token_hash=token_hash, now=clock.now()), "session.signed_out")

    def end(self, session_id: UUID, *, user_id: UUID, action: str) -> UserSession | None:
        """Revoke one session of the user within the caller's transaction; None if the user has no such live session."""
        return self._end(_end_one(_actor(), session_id=session_id, user_id=user_id, now=clock.now()), action)

    def page_live(self, user: User, *, limit: int, after: Cursor | None) -> list[UserSession]:
        """Return up to `limit` of the user's live sessions, after the cursor, newest first."""
        page = _page_live(user_id=user.id, token_epoch=user.token_epoch, now=clock.now(), limit=limit, after=after)
        return list(self._session.execute(*page).scalars())

    def purge(self, *, ended_before: datetime) -> int:
        """Delete sessions that ended before this time, with their tokens, in batches; return how many."""
        has_ended = or_(UserSession.expires_at < ended_before, UserSession.revoked_at < ended_before)
        return delete_in_batches(self._session, UserSession, has_ended, batch_rows=SESSIONS_PER_BATCH)

    def _end(self, ended: Bound[Select[UserSession]], action: str) -> UserSession | None:
        return self._session.execute(*with_event(ended, action)).scalar_one_or_none()


def _actor() -> str | None:
    """Return the column that holds the acting user, if the request has no authenticated caller."""
    return None if request_context().actor_id else "user_id"


@built_once
def _prove(*, session_id: UUID, now: datetime) -> Select[UserSession]:
    change = update(UserSession).where(UserSession.id == session_id).values(proved_at=now).returning(*UserSession.__table__.c)
    return audited_change(change, UserSession).execution_options(populate_existing=True)


@built_once
def _proof(*, session_id: UUID, user_id: UUID, since: datetime) -> Select[int]:
    return select(literal(1)).where(UserSession.id == session_id, UserSession.user_id == user_id, UserSession.proved_at > since)


@built_once
def _exchange(*, token_hash: str, now: datetime) -> Select[Any]:
    successor = aliased(RefreshToken)
    return (
        select(RefreshToken, UserSession, User, successor.used_at, is_live_session(now))
        .join_from(RefreshToken, UserSession, UserSession.id == RefreshToken.session_id)
        .join(User, User.id == UserSession.user_id)
        .outerjoin(successor, successor.token_hash == RefreshToken.successor_hash)
        .where(RefreshToken.token_hash == token_hash)
        .execution_options(populate_existing=True)
    )


@built_once
def _record_repeat(*, token_hash: str, now: datetime) -> Select[int]:
    recorded = (
        update(RefreshToken)
        .where(RefreshToken.token_hash == token_hash, RefreshToken.repeated_at.is_(None), RefreshToken.session_id == UserSession.id)
        .values(repeated_at=now)
        .returning(RefreshToken.session_id, UserSession.user_id)
        .cte("recorded")
    )
    kind = UserSession.__tablename__
    logged = audit_insert_for(recorded, kind=kind, key="session_id", actor="user_id")
    return select(literal(1)).add_cte(logged.cte("logged")).execution_options(**OWN_TRANSACTION)


@built_once
def _revoke_reused(*, token_hash: str, now: datetime) -> Select[int]:
    is_due = or_(RefreshToken.reuse_recorded_at.is_(None), RefreshToken.reuse_recorded_at <= now - REUSE_AUDIT_INTERVAL)
    recorded = (
        update(RefreshToken)
        .where(RefreshToken.token_hash == token_hash, RefreshToken.used_at.is_not(None), is_due)
        .values(reuse_recorded_at=now)
        .returning(RefreshToken.session_id)
        .cte("recorded")
    )
    revoked = (
        update(UserSession)
        .where(UserSession.id == recorded.c.session_id)
        .values(revoked_at=func.coalesce(UserSession.revoked_at, now))
        .returning(UserSession.id, UserSession.user_id)
        .cte("revoked")
    )
    logged = audit_insert_for(revoked, kind=UserSession.__tablename__, actor="user_id")
    return select(literal(1)).add_cte(logged.cte("logged")).execution_options(**OWN_TRANSACTION)


def _ended(*conditions: ColumnElement[bool], actor: str | None, now: datetime) -> Select[UserSession]:
    change = update(UserSession).where(*conditions, UserSession.revoked_at.is_(None)).values(revoked_at=now)
    statement = audited_change(change.returning(*UserSession.__table__.c), UserSession, actor=actor)
    return statement.execution_options(populate_existing=True)


@built_once
def _end_by_token(actor: str | None, *, token_hash: str, now: datetime) -> Select[UserSession]:
    named = select(RefreshToken.session_id).where(RefreshToken.token_hash == token_hash).scalar_subquery()
    return _ended(UserSession.id == named, actor=actor, now=now)


@built_once
def _end_one(actor: str | None, *, session_id: UUID, user_id: UUID, now: datetime) -> Select[UserSession]:
    return _ended(UserSession.id == session_id, UserSession.user_id == user_id, actor=actor, now=now)


@built_once
def _page_live(*, user_id: UUID, token_epoch: int, now: datetime, limit: int, after: Cursor | None) -> Select[UserSession]:
    query = select(UserSession).where(
        UserSession.user_id == user_id,
        UserSession.revoked_at.is_(None),
        UserSession.expires_at > now,
        UserSession.token_epoch == token_epoch,
    )
    return newest_page(query, UserSession, limit=limit, after=after)
