"""Finding users by address or id without revealing which addresses have an account (docs/adr/0014-file-grants.md)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from sqlalchemy import Integer, Select, SmallInteger, String, case, column, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningInsert

from lambda_app.core import clock
from lambda_app.db.session import own_transaction
from lambda_app.models import AttemptKind, SignInAttempt, User
from lambda_app.repositories.accounts.attempt_counters import count_attempts, delay_after
from lambda_app.repositories.accounts.sign_in_attempts import (
    FREE_ATTEMPTS_PER_ADDRESS,
    FREE_ATTEMPTS_PER_PAIR,
    RESET_ADDRESS_AFTER,
    RESET_AFTER,
    AttemptKeys,
    reset_before,
)
from lambda_app.repositories.statements import as_column, built_once, json_rows, json_text, table_of


@dataclass(frozen=True, slots=True)
class FoundRecipients:
    """The result of one lookup."""

    user_ids: dict[str, UUID]
    """Active users, by the name that the requester entered. Not to be disclosed unless `is_admitted`."""
    is_admitted: bool
    """Whether the throttle admits the requester."""
    blocked_until: datetime | None
    unconfirmed: frozenset[str] = frozenset()
    """The addresses that their users have not confirmed. Not to be disclosed unless `is_admitted`."""


class RecipientLookupRepository:
    """Finds users by name. Addresses without an account count as failed attempts, on the rows of `sign_in_attempt`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def find(self, requester: User, names: Sequence[str]) -> FoundRecipients:
        """Return the active users of these addresses and ids; count each address without one, and commit.

        Ids are not counted, because they cannot be guessed.
        """
        emails = [name for name in names if "@" in name]
        by_id = self._find_ids({name: UUID(name) for name in names if "@" not in name})
        if not emails:
            return FoundRecipients(by_id, is_admitted=True, blocked_until=None)
        with own_transaction(self._session):
            found = self._find_emails(requester, emails)
        return replace(found, user_ids=by_id | found.user_ids)

    def count(self, requester: User, email: str) -> datetime | None:
        """Count one question about an address, with any answer, and commit; return the end of the requester's delay if there is one.

        For requests whose result reveals whether the address has an account. Questions during a delay are not counted. Lock order as
        in `find`.
        """
        now, (requester_key, pair_keys) = clock.now(), _keys(requester, [email])
        with own_transaction(self._session):
            _, blocked_until = self._lock_counter(requester_key, now)
            if blocked_until is None or blocked_until <= now:
                self._count(requester_key, list(pair_keys.values()), now)
                return None
        return blocked_until

    def _find_ids(self, ids: Mapping[str, UUID]) -> dict[str, UUID]:
        if not ids:
            return {}
        found = set(self._session.execute(*_active(user_ids=list(ids.values()))).scalars())
        return {name: user_id for name, user_id in ids.items() if user_id in found}

    def _find_emails(self, requester: User, emails: Sequence[str]) -> FoundRecipients:
        """Lock order: the requester's counter, then the counters of the requester with each address.

        The first lock serialises the lookups of one requester, so that concurrent lookups reveal no more than sequential ones.
        """
        now, (requester_key, pair_keys) = clock.now(), _keys(requester, emails)
        failures, requester_blocked_until = self._lock_counter(requester_key, now)
        user_ids, unconfirmed, delays = {}, set(), [requester_blocked_until]
        for email, user_id, is_confirmed, pair_blocked_until in self._list_users(pair_keys):
            delays.append(pair_blocked_until)
            if user_id is not None:
                user_ids[email] = user_id
                if not is_confirmed:
                    unconfirmed.add(email)
        blocked_until = max((delay for delay in delays if delay is not None and delay > now), default=None)
        if blocked_until is not None:
            return FoundRecipients({}, is_admitted=False, blocked_until=blocked_until)
        missing = [pair_keys[email] for email in emails if email not in user_ids]
        if missing or failures > FREE_ATTEMPTS_PER_ADDRESS:
            failures, blocked_until = self._count(requester_key, missing, now)
        # Sequential lookups of several unknown addresses would be delayed in between.
        is_admitted = len(missing) <= 1 or failures <= FREE_ATTEMPTS_PER_ADDRESS
        return FoundRecipients(user_ids, is_admitted, blocked_until, frozenset(unconfirmed))

    def _lock_counter(self, key: str, now: datetime) -> tuple[int, datetime | None]:
        """Lock the counter, which is created if there is none, and return its failures and the end of its delay."""
        failures, blocked_until = self._session.execute(*_lock_counter(counter_key=key, now=now)).one()
        return failures, blocked_until

    def _list_users(self, pair_keys: Mapping[str, str]) -> list[tuple[str, UUID | None, bool, datetime | None]]:
        """Return each address with its active user, whether the user has confirmed it, and the end of the delay of its counter."""
        pairs = json_text({"email": email, "pair": pair} for email, pair in pair_keys.items())
        return [(row[0], row[1], row[2], row[3]) for row in self._session.execute(*_users(pairs=pairs))]

    def _count(self, requester_key: str, missing: Sequence[str], now: datetime) -> tuple[int, datetime | None]:
        """Count the missing addresses; return the requester's failures and the end of the longest delay that follows."""
        counters = [{"key": requester_key, "kind": AttemptKind.ADDRESS, "failures": len(missing)}]
        counters += [{"key": key, "kind": AttemptKind.PAIR, "failures": 1} for key in sorted(missing)]
        counted = self._session.execute(
            *_count(counters=json_text(counters), now=now, hour_before=now - RESET_ADDRESS_AFTER, day_before=now - RESET_AFTER)
        ).all()
        failures = next(row.failures for row in counted if row.key == requester_key)
        return failures, max((row.blocked_until for row in counted if row.blocked_until is not None), default=None)


@built_once
def _active(*, user_ids: list[UUID]) -> Select[UUID]:
    return select(User.id).where(User.id.in_(user_ids), User.is_active)


@built_once
def _lock_counter(*, counter_key: str, now: datetime) -> ReturningInsert[int, datetime | None]:
    new = insert(table_of(SignInAttempt)).values(key=counter_key, kind=AttemptKind.ADDRESS.value, failures=0, since=now)
    locked = new.on_conflict_do_update(index_elements=[SignInAttempt.key], set_={"key": new.excluded.key})
    return locked.returning(SignInAttempt.failures, SignInAttempt.blocked_until)


@built_once
def _users(*, pairs: str) -> Select[str, UUID, bool, datetime | None]:
    requested = json_rows("requested", pairs, column("email", User.email.type), column("pair", SignInAttempt.key.type))
    return (
        select(requested.c.email, User.id, User.email_verified_at.is_not(None), SignInAttempt.blocked_until)
        .select_from(requested)
        .outerjoin(User, (User.email == requested.c.email) & User.is_active)
        .outerjoin(SignInAttempt, SignInAttempt.key == requested.c.pair)
    )


@built_once
def _count(*, counters: str, now: datetime, hour_before: datetime, day_before: datetime) -> ReturningInsert[str, int, int, datetime | None]:
    rows = json_rows("rows", counters, column("key", String), column("kind", SmallInteger), column("failures", Integer))
    free = case((SignInAttempt.kind == AttemptKind.ADDRESS, FREE_ATTEMPTS_PER_ADDRESS), else_=FREE_ATTEMPTS_PER_PAIR)
    return count_attempts(
        select(rows.c.key, rows.c.kind, rows.c.failures),
        now=now,
        reset_before=reset_before(
            of_networks=as_column(hour_before, SignInAttempt.since.type), of_others=as_column(day_before, SignInAttempt.since.type)
        ),
        blocked_until=lambda failures: delay_after(failures - free, now),
    )


def _keys(requester: User, emails: Sequence[str]) -> tuple[str, dict[str, str]]:
    """Return the keys of the requester's counter and of the requester's counter for each address."""
    network = f"user:{requester.id}"
    pairs = {email: AttemptKeys.of(account=f"grant:{email}", network=network).pair for email in emails}
    return AttemptKeys.of(account="", network=network).address, pairs
