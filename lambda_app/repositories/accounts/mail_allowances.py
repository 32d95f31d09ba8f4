"""Rate limits for mail and registrations, per requester and per address (docs/adr/0012-mail-rate-limits.md)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import CTE, Select, String, and_, case, func, or_, select
from sqlalchemy.dialects.postgresql import array, insert
from sqlalchemy.orm import Session

from lambda_app.core import clock
from lambda_app.core.security.random_tokens import hash_secret
from lambda_app.models import MailAllowance
from lambda_app.models.accounts.mail_allowances import PARTY_LENGTH
from lambda_app.repositories.batch_delete import delete_in_batches
from lambda_app.repositories.statements import OWN_TRANSACTION, as_column, built_once

MAIL_WINDOW = timedelta(minutes=30)
"""Window of the limits. Mailed links stay valid at least as long, so a refused requester still has a valid link in the inbox."""
MAILS_FOR_ADDRESS_BY_REQUESTER = 3
MAILS_FOR_ADDRESS = 5
"""From all requesters together, so that strangers cannot flood an inbox."""
MAILS_BY_NETWORK = 50
"""To all addresses together; an office may share one network."""
MAILS_BY_WIDER_NETWORKS = (100, 200)
"""To all addresses together, from the /56 and the /48 of an IPv6 address: a site with a /48 has 65,536 networks."""
MAILS_BY_ACCOUNT = 5
"""To all addresses together, for a signed-in user, who may enter addresses without an account."""

_HOSTS_THAT_IGNORE_DOTS = frozenset({"gmail.com", "googlemail.com"})


@dataclass(frozen=True, slots=True)
class MailRequester:
    """Who requests a mail: a name unique among requesters, and their limit per window."""

    name: str
    mails: int


class MailAllowanceRepository:
    """Reads and writes the rows of `mail_allowance`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def consume(self, kind: str, *, email: str, requester: MailRequester, wider: Sequence[MailRequester] = ()) -> bool:
        """Count one mail of a kind to the address and commit, if no limit is reached; return whether it was counted.

        `wider` are the networks that contain the requester, the narrowest first. Lock order: the requester's row, then those of
        `wider`, then the address's. A requester at a limit leaves the rows after its own unchanged. One statement, which is the same
        whether or not the address has an account, so that the response time does not reveal it.
        """
        parties = (requester, *wider)
        keys = {f"key_{number}": hash_secret(f"{kind}|by|{party.name}") for number, party in enumerate(parties)}
        limits = tuple(party.mails for party in parties)
        address_key = hash_secret(f"{kind}|to|{counted_address(email)}")
        now = clock.now()
        counted = _consume(limits, address_key=address_key, now=now, ended_before=now - MAIL_WINDOW, **keys, **_short(address_key, keys))
        return bool(self._session.execute(*counted).scalar_one() == 1)

    def full_until(self, kind: str, requester: MailRequester, *, mails: int) -> datetime | None:
        """Return until when the requester's limit does not admit so many mails of the kind; None if it does. `consume` checks again."""
        key = hash_secret(f"{kind}|by|{requester.name}")
        full = _full_since(key=key, since=clock.now() - MAIL_WINDOW, mails=mails, limit=requester.mails)
        since = self._session.execute(*full).scalar_one_or_none()
        return None if since is None else since + MAIL_WINDOW

    def purge(self) -> int:
        """Delete rows whose window has ended, in batches; return how many."""
        return delete_in_batches(self._session, MailAllowance, MailAllowance.since < clock.now() - MAIL_WINDOW)


def _short(address_key: str, keys: Mapping[str, str]) -> dict[str, str]:
    """Return the parties of the counted rows, as the rows store them."""
    return {"address_party": address_key[:PARTY_LENGTH], "requester_party": keys["key_0"][:PARTY_LENGTH]}


@built_once
def _full_since(*, key: str, since: datetime, mails: int, limit: int) -> Select[datetime]:
    sent = func.cardinality(MailAllowance.parties)
    return select(MailAllowance.since).where(MailAllowance.key == key, MailAllowance.since > since, sent + mails > limit)


@built_once
def _consume(
    limits: tuple[int, ...],
    *,
    address_key: str,
    address_party: str,
    requester_party: str,
    now: datetime,
    ended_before: datetime,
    **keys: str,
) -> Select[int]:
    """Return the statement that counts a mail by parties with these limits, to one address."""
    counted: CTE | None = None
    for number, limit in enumerate(limits):
        by = _count(
            keys[f"key_{number}"], party=address_party, now=now, ended_before=ended_before, limit=limit, limit_of_party=limit, after=counted
        )
        counted = by.cte(f"by_requester_{number}")
    to_address = _count(
        address_key,
        party=requester_party,
        now=now,
        ended_before=ended_before,
        limit=MAILS_FOR_ADDRESS,
        limit_of_party=MAILS_FOR_ADDRESS_BY_REQUESTER,
        after=counted,
    )
    return select(func.count()).select_from(to_address.cte("to_address")).execution_options(**OWN_TRANSACTION)


def _count(key: str, *, party: str, now: datetime, ended_before: datetime, limit: int, limit_of_party: int, after: CTE | None) -> Any:
    """Return the upsert that adds the party to the row's list if neither limit is reached; it returns the row if it did."""
    short = as_column(party, String(PARTY_LENGTH))
    values = {"key": as_column(key, MailAllowance.key.type), "since": as_column(now, MailAllowance.since.type), "parties": array([short])}
    rows = select(*values.values())
    if after is not None:
        rows = rows.select_from(after)
    is_over = MailAllowance.since <= ended_before
    has_room = and_(
        func.cardinality(MailAllowance.parties) < limit,
        func.cardinality(func.array_positions(MailAllowance.parties, short)) < limit_of_party,
    )
    return (
        insert(MailAllowance)
        .from_select(list(values), rows)
        .on_conflict_do_update(
            index_elements=[MailAllowance.key],
            set_={
                "since": case((is_over, now), else_=MailAllowance.since),
                "parties": case((is_over, array([short])), else_=func.array_append(MailAllowance.parties, short)),
            },
            where=or_(is_over, has_room),
        )
        .returning(MailAllowance.key)
    )


def counted_address(email: str) -> str:
    """Return the address under which mail to `email` is counted. All tagged addresses (`name+tag@host`) of a mailbox count as one.

    The mailbox's own address counts apart: otherwise requests for tagged addresses could use up its mails, and the owner would be
    refused without a valid link in the inbox.
    """
    name, _, host = email.partition("@")
    mailbox, plus, _ = name.partition("+")
    if host in _HOSTS_THAT_IGNORE_DOTS:
        mailbox = mailbox.replace(".", "")
    return f"{mailbox}{plus}@{host}"
