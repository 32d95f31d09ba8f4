"""Counting who asks for mail to whom (docs/adr/0012-mail-rate-limits.md)."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import CTE, String, and_, case, func, literal, or_, select
from sqlalchemy.dialects.postgresql import array, insert
from sqlalchemy.orm import Session

from lambda_app.core import clock
from lambda_app.core.security.random_tokens import hash_secret
from lambda_app.models import MailAllowance
from lambda_app.models.accounts.mail_allowances import PARTY_LENGTH
from lambda_app.repositories.batch_delete import forget

MAIL_WINDOW = timedelta(minutes=30)
"""What the limits are counted in. No link dies sooner: whoever is refused another has one in the inbox that is still good."""
MAILS_FOR_ADDRESS_BY_REQUESTER = 3
MAILS_FOR_ADDRESS = 5
"""By all askers together: nobody's inbox shall be filled by strangers, however many."""
MAILS_BY_NETWORK = 50
"""To all addresses together; a whole office may share a network."""
MAILS_BY_ACCOUNT = 5
"""The same for somebody who is signed in, and can name addresses that have no account."""


@dataclass(frozen=True, slots=True)
class MailRequester:
    """Who asks, and how many mails they may ask for."""

    name: str
    mails: int


class MailAllowanceRepository:
    """Reads and writes the rows of `mail_allowance`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def take(self, kind: str, *, email: str, asker: MailRequester) -> bool:
        """Count one mail of a kind to the address, durably, if it and the asker have one left; tell whether they had.

        One statement, and the same for every address, whether there is an account or not. The address's whole state is one row, so
        that of many requests at once each sees what the one before it has left. The asker's comes first: who has none left uses up
        nothing of the address's.
        """
        asker_key, address_key = hash_secret(f"{kind}|by|{asker.name}"), hash_secret(f"{kind}|to|{email}")
        by_asker = _take(asker_key, party=address_key, most=asker.mails, most_of_party=asker.mails).cte("by_asker")
        to_address = _take(
            address_key, party=asker_key, most=MAILS_FOR_ADDRESS, most_of_party=MAILS_FOR_ADDRESS_BY_REQUESTER, after=by_asker
        )
        taken = to_address.cte("to_address")
        query = select(func.count()).select_from(taken).execution_options(own_transaction=True)
        return self._session.execute(query).scalar_one() == 1

    def purge(self) -> int:
        """Remove what would begin anew anyway, durably; return how many."""
        return forget(self._session, MailAllowance, MailAllowance.since < clock.now() - MAIL_WINDOW)


def _take(key: str, *, party: str, most: int, most_of_party: int, after: CTE | None = None) -> Any:
    """Return the statement that adds the party to the row's list if there is room, and returns the row if there was."""
    now: datetime = clock.now()
    short = literal(party[:PARTY_LENGTH], String(PARTY_LENGTH))
    values = {"key": literal(key), "since": literal(now, MailAllowance.since.type), "parties": array([short])}
    rows = select(*values.values())
    if after is not None:
        rows = rows.select_from(after)
    is_over = MailAllowance.since <= now - MAIL_WINDOW
    has_room = and_(
        func.cardinality(MailAllowance.parties) < most,
        func.cardinality(func.array_positions(MailAllowance.parties, short)) < most_of_party,
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
