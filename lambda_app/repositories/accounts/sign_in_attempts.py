"""Counters of sign-in attempts, in the database because many Lambda instances serve one attacker (docs/adr/0011-sign-in-throttling.md)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    Select,
    SmallInteger,
    String,
    Update,
    and_,
    any_,
    bindparam,
    case,
    cast,
    column,
    func,
    literal,
    null,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session, aliased
from sqlalchemy.sql.dml import ReturningInsert

from lambda_app.core import clock
from lambda_app.core.security.random_tokens import hash_secret
from lambda_app.models import AttemptKind, SignInAttempt, User
from lambda_app.repositories.accounts.attempt_counters import count_attempts, delay_after
from lambda_app.repositories.audit import ENTRY, audit_insert_each, audited_writes, entry_parameters
from lambda_app.repositories.batch_delete import delete_in_batches
from lambda_app.repositories.statements import OWN_TRANSACTION

FREE_ATTEMPTS_PER_PAIR = 5
"""Wrong passwords for one account from one address before the first delay."""
FREE_ATTEMPTS_PER_ADDRESS = 50
"""Attempts from one address for all accounts together; an office may share one address."""
FREE_ATTEMPTS_PER_WIDER_NETWORK = {AttemptKind.NETWORK_56: 100, AttemptKind.NETWORK_48: 200}
"""The same for the wider networks of an IPv6 address. One customer may have a /48; a mobile network has many in it."""
ATTACKED_ACCOUNT_FAILURES = 100
"""Failures that mark an account as under attack: each address then has one free attempt, which is enough for the owner."""
RESET_ADDRESS_AFTER = timedelta(hours=1)
"""Age at which the counter of an address or network starts again, so that the failures of a busy office do not accumulate."""
RESET_AFTER = timedelta(hours=24)
"""Age at which the other counters start again."""

# The parameters of the statements, which are built once.
_TIME = SignInAttempt.since.type
_NOW = bindparam("attempted_at", type_=_TIME)
_DAY_BEFORE, _HOUR_BEFORE = bindparam("day_before_attempt", type_=_TIME), bindparam("hour_before_attempt", type_=_TIME)
_KEYS = bindparam("attempt_keys", type_=ARRAY(String))
_KEY_KINDS = bindparam("attempt_kinds", type_=ARRAY(SmallInteger))
_ACCOUNT_KEY = bindparam("attempt_account", type_=SignInAttempt.key.type)
_EMAIL = bindparam("attempt_email", type_=User.email.type)

_KINDS = (AttemptKind.ACCOUNT, AttemptKind.ADDRESS, AttemptKind.PAIR)
_NETWORK_KINDS = (AttemptKind.ADDRESS, *FREE_ATTEMPTS_PER_WIDER_NETWORK)


@dataclass(frozen=True, slots=True)
class AttemptKeys:
    """The counters of one attempt. Hashed, because users sometimes type a password into the e-mail field."""

    account: str
    address: str
    pair: str
    wider: tuple[str, ...] = ()
    """The counters of the /56 and the /48 network of an IPv6 address."""

    @classmethod
    def of(cls, *, account: str, network: str, wider: Sequence[str] = ()) -> "AttemptKeys":
        """Return the counters for the name of an account, the caller's network and the wider networks around it."""
        return cls(
            account=hash_secret(f"account|{account}"),
            address=hash_secret(f"address|{network}"),
            pair=hash_secret(f"pair|{network}|{account}"),
            wider=tuple(hash_secret(f"address|{network}") for network in wider),
        )

    @property
    def all(self) -> tuple[str, ...]:
        """All of them, in the order of their kinds."""
        return self.account, self.address, self.pair, *self.wider

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameter of `reset_attempt`."""
        return {_KEYS.key: list(self.all)}

    @property
    def kinds(self) -> tuple[AttemptKind, ...]:
        """The kind of each of `all`."""
        return (*_KINDS, *tuple(FREE_ATTEMPTS_PER_WIDER_NETWORK)[: len(self.wider)])


@dataclass(frozen=True, slots=True)
class Admission:
    """The decision about one attempt."""

    user: User | None
    """The user with the address; None if there is none."""
    is_admitted: bool
    blocked_until: datetime | None
    is_first_refusal: bool
    """Whether the audit log has no event yet for the current delay."""


class SignInAttemptRepository:
    """Reads and writes the rows of `sign_in_attempt`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def admit(self, keys: AttemptKeys, *, email: str | None) -> Admission:
        """Count an attempt before the password is checked, commit, and return the user with this address and the decision.

        Counting first counts a thousand concurrent attempts as a thousand. One statement, because every sign-in executes it. Lock order:
        the counters by kind (account, address, pair, wider networks). An attempt while one of them blocks is not counted and inserts no
        counters, so that a flood of refused attempts does not fill the table.
        """
        now = clock.now()
        values = {
            **keys.parameters,
            _KEY_KINDS.key: list(map(int, keys.kinds)),
            _ACCOUNT_KEY.key: keys.account,
            _EMAIL.key: email,
            _NOW.key: now,
            _DAY_BEFORE.key: now - RESET_AFTER,
            _HOUR_BEFORE.key: now - RESET_ADDRESS_AFTER,
        }
        row = self._session.execute(_admit(), values, execution_options=OWN_TRANSACTION).one()
        return Admission(
            user=row[0],
            is_admitted=row.own_count == len(keys.all) - 1 and row.blocked_until is None,
            blocked_until=row.blocked_until,
            is_first_refusal=bool(row.is_unrecorded),
        )

    def record_refusal(self, keys: AttemptKeys, entry: Mapping[str, Any]) -> None:
        """Add the event that attempts are being refused, and commit, unless the current delay has one.

        A flood of attempts therefore adds one event per delay.
        """
        values = {**keys.parameters, **entry_parameters(entry), _NOW.key: clock.now()}
        self._session.execute(_record_refusal(), values, execution_options=OWN_TRANSACTION)

    def reset_refused(self, keys: AttemptKeys, entry: Mapping[str, Any]) -> None:
        """Take an attempt back, add the event and commit; for a request that is refused for another reason."""
        self._session.execute(audited_reset(), keys.parameters | entry_parameters(entry), execution_options=OWN_TRANSACTION)

    def reset_durably(self, keys: AttemptKeys) -> None:
        """Take an attempt back after its success and commit, even if the request is refused later."""
        self._session.execute(reset_attempt(), keys.parameters, execution_options=OWN_TRANSACTION)

    def purge(self) -> int:
        """Delete counters that would start again anyway, in batches; return how many."""
        return delete_in_batches(self._session, SignInAttempt, SignInAttempt.since < clock.now() - RESET_AFTER)


@cache
def reset_attempt() -> Update:
    """Return the statement that takes an attempt back after its success: the pair starts again, the others count one less.

    Its parameters are `AttemptKeys.parameters`. Lock order: the counters by kind, as in `SignInAttemptRepository.admit`.
    """
    locked = (
        select(SignInAttempt.key)
        .where(SignInAttempt.key == any_(_KEYS))
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


@cache
def audited_reset() -> Select[int]:
    """Return the statement of `reset_attempt` that also adds an event. Its parameters are `AttemptKeys.parameters` and ENTRY."""
    return audited_writes(reset_attempt(), entry=ENTRY)


def reset_before(*, of_networks: ColumnElement[datetime], of_others: ColumnElement[datetime]) -> ColumnElement[datetime]:
    """Return the time before which a counter must have begun to start again: see RESET_ADDRESS_AFTER and RESET_AFTER."""
    return case((SignInAttempt.kind.in_(_NETWORK_KINDS), of_networks), else_=of_others)


def _blocks() -> ColumnElement[bool]:
    return and_(SignInAttempt.key == any_(_KEYS), SignInAttempt.blocked_until > _NOW)


def _is_unrecorded() -> ColumnElement[bool]:
    """The counters whose delay has no event in the audit log."""
    return SignInAttempt.noted_until.is_distinct_from(SignInAttempt.blocked_until)


@cache
def _admit() -> Select[Any]:
    # One row: the end of the longest delay, and whether one of them has no event; NULL if no counter blocks.
    delays = (
        select(
            func.max(SignInAttempt.blocked_until).label("blocked_until"),
            func.bool_or(_is_unrecorded()).label("is_unrecorded"),
        )
        .where(_blocks())
        .cte("delays")
    )
    counted = _count(delays).cte("counted")
    # The counter of the account never blocks. A concurrent attempt can block the others while this one waits for their locks.
    own_count = select(func.count()).select_from(counted).where(counted.c.kind != AttemptKind.ACCOUNT).scalar_subquery()
    return select(User, own_count.label("own_count"), delays).select_from(delays.outerjoin(User, User.email == _EMAIL))


@cache
def _record_refusal() -> Select[Any]:
    longest = (
        select(SignInAttempt.key)
        .where(_blocks(), _is_unrecorded())
        .order_by(SignInAttempt.blocked_until.desc())
        .limit(1)
        .with_for_update()
        .cte("longest")
        .prefix_with("MATERIALIZED", dialect="postgresql")
    )
    recorded = (
        update(SignInAttempt)
        .where(SignInAttempt.key.in_(select(longest.c.key)))
        .values(noted_until=SignInAttempt.blocked_until)
        .returning(SignInAttempt.key)
        .cte("recorded")
    )
    logged = audit_insert_each(recorded, ENTRY).cte("logged")
    return select(literal(1)).add_cte(recorded, logged)


def _count(delays: CTE) -> ReturningInsert[str, int, int, datetime | None]:
    """Return the upsert that counts the attempt on its counters, unless one of them blocks."""
    # Not VALUES, which SQLAlchemy would compile again for each sign-in: 10 ms.
    arrays = _KEYS, cast(_KEY_KINDS, ARRAY(SmallInteger))
    columns = column("key", String), column("kind", SmallInteger)
    counters = func.unnest(*arrays).table_valued(*columns, name="counters").render_derived()
    rows = select(counters.c.key, counters.c.kind, literal(1)).join_from(counters, delays, delays.c.blocked_until.is_(None))
    account = aliased(SignInAttempt)
    is_attacked = (
        select(account.key)
        .where(account.key == _ACCOUNT_KEY, account.failures >= ATTACKED_ACCOUNT_FAILURES, account.since >= _DAY_BEFORE)
        .exists()
    )
    free = case(
        (SignInAttempt.kind == AttemptKind.ADDRESS, FREE_ATTEMPTS_PER_ADDRESS),
        *((SignInAttempt.kind == kind, free) for kind, free in FREE_ATTEMPTS_PER_WIDER_NETWORK.items()),
        (is_attacked, 1),
        else_=FREE_ATTEMPTS_PER_PAIR,
    )
    return count_attempts(
        rows.order_by(counters.c.kind),
        now=_NOW,
        reset_before=reset_before(of_networks=_HOUR_BEFORE, of_others=_DAY_BEFORE),
        blocked_until=lambda failures: case((SignInAttempt.kind == AttemptKind.ACCOUNT, null()), else_=delay_after(failures - free, _NOW)),
    )
