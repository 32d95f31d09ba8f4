"""Counting sign-in attempts in the database, because many Lambda instances serve one attacker (docs/adr/0011-sign-in-throttling.md)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Interval,
    SmallInteger,
    String,
    Update,
    and_,
    case,
    func,
    literal,
    not_,
    null,
    or_,
    select,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, aliased

from lambda_app.core import clock
from lambda_app.core.security.random_tokens import hash_secret
from lambda_app.models import AttemptKind, SignInAttempt, User
from lambda_app.repositories.audit import audit_insert_each, audited_writes
from lambda_app.repositories.batch_delete import forget

FREE_ATTEMPTS_PER_PAIR = 5
"""Wrong passwords for one account from one address before there is a delay."""
FREE_ATTEMPTS_PER_ADDRESS = 50
"""Attempts from one address, whatever the account; a whole office may share it."""
ATTACKED_ACCOUNT_FAILURES = 100
"""From so many on an account counts as attacked: every address then has one free attempt, which is all that its owner needs."""
LONGEST_DELAY_SECONDS = 900
RESET_ADDRESS_AFTER = timedelta(hours=1)
"""How long after its first attempt the counter of an address begins anew: a busy office must not add up for ever."""
RESET_AFTER = timedelta(hours=24)
"""The same for the other counters."""

_LARGEST_EXPONENT = 16
_KINDS = (AttemptKind.ACCOUNT, AttemptKind.ADDRESS, AttemptKind.PAIR)


@dataclass(frozen=True, slots=True)
class AttemptKeys:
    """The counters of one attempt. Hashed, because people type passwords into the wrong field."""

    account: str
    address: str
    pair: str

    @classmethod
    def of(cls, *, account: str, network: str) -> "AttemptKeys":
        """Return the counters of an account's name and the caller's network."""
        return cls(
            account=hash_secret(f"account|{account}"),
            address=hash_secret(f"address|{network}"),
            pair=hash_secret(f"pair|{network}|{account}"),
        )

    @property
    def all(self) -> tuple[str, str, str]:
        """All three."""
        return self.account, self.address, self.pair


@dataclass(frozen=True, slots=True)
class Admission:
    """Whether an attempt may be made, and for whom."""

    user: User | None
    is_admitted: bool
    blocked_until: datetime | None
    is_first_refusal: bool
    """Whether the audit log does not know yet that attempts are being refused."""


class SignInAttemptRepository:
    """Reads and writes the rows of `sign_in_attempt`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def admit(self, keys: AttemptKeys, *, email: str | None) -> Admission:
        """Count an attempt before it is made, durably, and return the user of the address with the verdict.

        Counted first, so that a thousand at once are counted as a thousand. One statement, one round trip.
        """
        now = clock.now()
        counted = _count(keys, now).cte("counted")
        own = select(func.count()).select_from(counted).where(counted.c.kind != AttemptKind.ACCOUNT).scalar_subquery()
        until = (
            select(func.max(SignInAttempt.blocked_until))
            .where(SignInAttempt.key.in_(keys.all), SignInAttempt.blocked_until > now)
            .scalar_subquery()
        )
        unnoted = select(SignInAttempt.key).where(_is_unnoted(keys, now)).exists()
        one = select(literal(1).label("one")).subquery()
        query = (
            select(User, own.label("own"), until.label("until"), unnoted.label("unnoted"))
            .select_from(one.outerjoin(User, User.email == literal(email, User.email.type)))
            .execution_options(own_transaction=True, populate_existing=True)
        )
        row = self._session.execute(query).one()
        is_admitted = row.own == 2 and row.until is None
        return Admission(user=row[0], is_admitted=is_admitted, blocked_until=row.until, is_first_refusal=row.unnoted)

    def record_refusal(self, keys: AttemptKeys, entry: Mapping[str, Any]) -> None:
        """Add the event that attempts are being refused, durably, unless the delay they are refused by has its event.

        So a flood of attempts leaves one event for each delay, of which there is one for each attempt that was admitted.
        """
        longest = (
            select(SignInAttempt.key)
            .where(_is_unnoted(keys, clock.now()))
            .order_by(SignInAttempt.blocked_until.desc())
            .limit(1)
            .with_for_update()
            .cte("longest")
            .prefix_with("MATERIALIZED", dialect="postgresql")
        )
        noted = (
            update(SignInAttempt)
            .where(SignInAttempt.key.in_(select(longest.c.key)))
            .values(noted_until=SignInAttempt.blocked_until)
            .returning(SignInAttempt.key)
            .cte("noted")
        )
        logged = audit_insert_each(noted, entry).cte("logged")
        self._session.execute(select(literal(1)).add_cte(noted, logged).execution_options(own_transaction=True))

    def reset(self, keys: AttemptKeys) -> None:
        """Take an attempt back because it succeeded, within the caller's transaction."""
        self._session.execute(self.release(keys))

    def reset_refused(self, keys: AttemptKeys, entry: Mapping[str, Any]) -> None:
        """Take an attempt back and add the event, durably, although the answer is a refusal."""
        self._session.execute(audited_writes(self.release(keys), entry=entry).execution_options(own_transaction=True))

    def reset_durably(self, keys: AttemptKeys) -> None:
        """Take an attempt back because it succeeded, whatever becomes of the rest."""
        self._session.execute(self.release(keys).execution_options(own_transaction=True))

    def release(self, keys: AttemptKeys) -> Update:
        """Return the statement that takes an attempt back because it succeeded; the pair begins anew.

        The rows are locked in the order in which `admit` locks them.
        """
        locked = (
            select(SignInAttempt.key)
            .where(SignInAttempt.key.in_(keys.all))
            .order_by(SignInAttempt.kind)
            .with_for_update()
            .cte("locked")
            .prefix_with("MATERIALIZED", dialect="postgresql")
        )
        is_pair = SignInAttempt.kind == AttemptKind.PAIR
        return (
            update(SignInAttempt)
            .where(SignInAttempt.key.in_(select(locked.c.key)))
            .values(failures=case((is_pair, 0), else_=func.greatest(SignInAttempt.failures - 1, 0)), blocked_until=null())
            .execution_options(synchronize_session=False)
        )

    def purge(self) -> int:
        """Remove counters that would start again anyway, durably; return how many."""
        return forget(self._session, SignInAttempt, SignInAttempt.since < clock.now() - RESET_AFTER)


def _is_unnoted(keys: AttemptKeys, now: datetime) -> ColumnElement[bool]:
    """The counters that refuse attempts now, by a delay that the audit log does not know of."""
    is_unnoted = SignInAttempt.noted_until.is_distinct_from(SignInAttempt.blocked_until)
    return and_(SignInAttempt.key.in_(keys.all), SignInAttempt.blocked_until > now, is_unnoted)


def _count(keys: AttemptKeys, now: datetime) -> Any:
    """Count the attempt on every counter of which none is blocked; return the counters that took it."""
    counters = union_all(
        *(
            select(literal(key, String).label("key"), literal(kind.value, SmallInteger).label("kind"))
            for key, kind in zip(keys.all, _KINDS, strict=True)
        )
    ).subquery("counters")
    other = aliased(SignInAttempt)
    # Who is blocked leaves no new row either, or a flood of refused attempts would fill the table.
    is_blocked = select(other.key).where(other.key.in_(keys.all), other.blocked_until > now).exists()
    rows = select(counters.c.key, counters.c.kind, literal(1), literal(now, SignInAttempt.since.type)).where(not_(is_blocked))
    forgets_at = case((SignInAttempt.kind == AttemptKind.ADDRESS, now - RESET_ADDRESS_AFTER), else_=now - RESET_AFTER)
    is_old = SignInAttempt.since < forgets_at
    failures = case((is_old, 1), else_=SignInAttempt.failures + 1)
    return (
        insert(SignInAttempt)
        .from_select(["key", "kind", "failures", "since"], rows.order_by(counters.c.kind), include_defaults=False)
        .on_conflict_do_update(
            index_elements=[SignInAttempt.key],
            set_={
                "failures": failures,
                "since": case((is_old, now), else_=SignInAttempt.since),
                "blocked_until": _next_free(failures, keys, now),
            },
            # Those before it may have got it blocked while this one waited.
            where=or_(SignInAttempt.blocked_until.is_(None), SignInAttempt.blocked_until <= now),
        )
        .returning(SignInAttempt.kind)
    )


def _next_free(failures: ColumnElement[int], keys: AttemptKeys, now: datetime) -> ColumnElement[datetime | None]:
    """When the next attempt may be made: 1, 2, 4, … seconds after the first that is not free; None is at once."""
    account = aliased(SignInAttempt)
    is_attacked = (
        select(account.key)
        .where(account.key == keys.account, account.failures >= ATTACKED_ACCOUNT_FAILURES, account.since >= now - RESET_AFTER)
        .exists()
    )
    free = case(
        (SignInAttempt.kind == AttemptKind.ADDRESS, FREE_ATTEMPTS_PER_ADDRESS),
        (is_attacked, 1),
        else_=FREE_ATTEMPTS_PER_PAIR,
    )
    is_free = or_(SignInAttempt.kind == AttemptKind.ACCOUNT, failures <= free)
    return case((is_free, null()), else_=delayed(failures - free, now))


def delayed(excess: ColumnElement[int], now: datetime, *, first_seconds: int = 1) -> ColumnElement[datetime]:
    """Return the end of the delay that follows the first, second, … attempt that is not free: it doubles each time."""
    exponent = func.least(excess, _LARGEST_EXPONENT)
    seconds = func.least(first_seconds * func.power(2, exponent - 1), LONGEST_DELAY_SECONDS)
    return literal(now, SignInAttempt.since.type) + seconds * literal(timedelta(seconds=1), Interval)
