"""Finding accounts by address for a signed-in user, who shall not find out by it who has one (docs/adr/0014-file-grants.md)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CTE,
    ColumnElement,
    SmallInteger,
    String,
    and_,
    case,
    column,
    exists,
    func,
    literal,
    not_,
    null,
    or_,
    select,
    union_all,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, aliased

from lambda_app.core import clock
from lambda_app.models import AttemptKind, SignInAttempt, User
from lambda_app.repositories.accounts.sign_in_attempts import (
    FREE_ATTEMPTS_PER_ADDRESS,
    FREE_ATTEMPTS_PER_PAIR,
    RESET_ADDRESS_AFTER,
    RESET_AFTER,
    AttemptKeys,
    delayed,
)
from lambda_app.repositories.archives.archives import entries_parameter


@dataclass(frozen=True, slots=True)
class Lookup:
    """What a look at several names led to."""

    user_ids: dict[str, UUID]
    """Active users by the name that was given."""
    is_allowed: bool
    """Whether the condition held; if not, nothing was looked up, and nothing counted."""
    is_admitted: bool
    """Whether the asker may be told."""
    blocked_until: datetime | None


class RecipientLookupRepository:
    """Looks for the users of names, and counts the addresses that have none on the rows of `sign_in_attempt`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def find(self, asker: User, names: Sequence[str], *, where: ColumnElement[bool]) -> Lookup:
        """Return the active users of these addresses and ids if the condition holds; each address without one is counted, durably.

        One statement looks and counts, and locks the asker's counter even if nothing is to be counted: many at once are told no more
        than one after the other. Ids are not counted: nobody guesses one.
        """
        now = clock.now()
        emails = {name: AttemptKeys.of(account=f"grant:{name}", network=f"user:{asker.id}") for name in names if "@" in name}
        ids = {name: UUID(name) for name in names if "@" not in name}
        allowed = select(literal(1).label("one")).where(where).cte("allowed")
        may = exists(select(allowed.c.one))
        # As one value: RDS Proxy pins a client whose statement is longer than 16 kB.
        pairs = entries_parameter([{"email": email, "pair": keys.pair} for email, keys in emails.items()])
        given = func.jsonb_to_recordset(pairs).table_valued(column("email", User.email.type), column("pair", SignInAttempt.key.type))
        named = select(given.render_derived(name="given", with_types=True)).cte("named")
        is_meant = or_(User.email.in_(select(named.c.email)), User.id.in_(ids.values()))
        found = select(User.id, User.email).where(User.is_active, is_meant, may).cte("meant")
        address = AttemptKeys.of(account="", network=f"user:{asker.id}").address
        counted = _count(address, named, found, may, now) if emails else _nothing()
        until = select(func.max(SignInAttempt.blocked_until)).where(
            _is_one_of(SignInAttempt, address, named), SignInAttempt.blocked_until > now
        )
        facts = select(
            may.label("may"),
            select(func.count()).select_from(counted).scalar_subquery().label("counted"),
            select(func.max(counted.c.failures)).where(counted.c.kind == AttemptKind.ADDRESS).scalar_subquery().label("misses"),
            func.greatest(until.scalar_subquery(), select(func.max(counted.c.blocked_until)).scalar_subquery()).label("until"),
        ).subquery()
        query = select(facts, found.c.id, found.c.email).select_from(facts.outerjoin(found, literal(True)))
        rows = self._session.execute(query.execution_options(own_transaction=True)).all()
        by_email = {row.email: row.id for row in rows if row.id is not None}
        known = set(by_email.values())
        user_ids = {name: by_email.get(name) or ids[name] for name in names if name in by_email or ids.get(name) in known}
        missed = sum(name not in by_email for name in emails)
        # Of many unknown ones at once nobody is told more than of one after the other, which has to wait in between.
        is_within = missed <= 1 or (rows[0].misses or 0) <= FREE_ATTEMPTS_PER_ADDRESS
        is_admitted = not emails or (rows[0].counted == 1 + missed and is_within)
        return Lookup(user_ids, bool(rows[0].may), is_admitted, rows[0].until)


def _nothing() -> CTE:
    counter = SignInAttempt.__table__.c
    return select(counter.kind, counter.failures, counter.blocked_until).where(literal(False)).cte("counted")


def _is_one_of(counter: Any, address: str, named: CTE) -> ColumnElement[bool]:
    return or_(counter.key == address, counter.key.in_(select(named.c.pair)))


def _count(address: str, named: CTE, found: CTE, may: ColumnElement[bool], now: datetime) -> CTE:
    """Count what is missing, on the asker's counter and that of each address, unless one is blocked; return the counters that took it."""
    other: Any = aliased(SignInAttempt)
    # Who is blocked leaves no new row either, or a flood of refused looks would fill the table.
    counts = and_(may, not_(exists(select(other.key).where(_is_one_of(other, address, named), other.blocked_until > now))))
    missing = select(named.c.pair).where(named.c.email.not_in(select(found.c.email)), counts).cte("missing")
    tally = union_all(
        select(
            literal(address, String).label("key"),
            literal(AttemptKind.ADDRESS.value, SmallInteger).label("kind"),
            select(func.count()).select_from(missing).scalar_subquery().label("failures"),
        ).where(counts),
        select(missing.c.pair, literal(AttemptKind.PAIR.value, SmallInteger), literal(1)),
    ).subquery("tally")
    since = literal(now, SignInAttempt.since.type)
    # In the order in which every other statement locks counters.
    rows = select(tally.c.key, tally.c.kind, tally.c.failures, since, _next_free(tally.c.kind, tally.c.failures, now))
    new = insert(SignInAttempt).from_select(
        ["key", "kind", "failures", "since", "blocked_until"], rows.order_by(tally.c.kind, tally.c.key), include_defaults=False
    )
    is_old = SignInAttempt.since < case((SignInAttempt.kind == AttemptKind.ADDRESS, now - RESET_ADDRESS_AFTER), else_=now - RESET_AFTER)
    failures = case((is_old, new.excluded.failures), else_=SignInAttempt.failures + new.excluded.failures)
    return (
        new.on_conflict_do_update(
            index_elements=[SignInAttempt.key],
            set_={
                "failures": failures,
                "since": case((is_old, now), else_=SignInAttempt.since),
                "blocked_until": _next_free(SignInAttempt.kind, failures, now),
            },
            # Those before it may have got it blocked while this one waited.
            where=or_(SignInAttempt.blocked_until.is_(None), SignInAttempt.blocked_until <= now),
        )
        .returning(SignInAttempt.kind, SignInAttempt.failures, SignInAttempt.blocked_until)
        .cte("counted")
    )


def _next_free(kind: Any, failures: ColumnElement[int], now: datetime) -> ColumnElement[datetime | None]:
    free = case((kind == AttemptKind.ADDRESS, FREE_ATTEMPTS_PER_ADDRESS), else_=FREE_ATTEMPTS_PER_PAIR)
    return case((failures <= free, null()), else_=delayed(failures - free, now))
