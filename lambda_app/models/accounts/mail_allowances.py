"""The table of mails sent per requester and per address, for rate limits."""

from datetime import datetime

from sqlalchemy import Index, String
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from lambda_app.models.base import Base

PARTY_LENGTH = 16
"""Characters of the hash that identifies the other party; enough to distinguish a few dozen."""


class MailAllowance(Base):
    """The mails to one address, or by one requester, in the current window. Keys are hashes, so no address is stored."""

    __tablename__ = "mail_allowance"
    __table_args__ = (Index("ix_mail_allowance_since", "since"),)

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    since: Mapped[datetime]
    parties: Mapped[list[str]] = mapped_column(ARRAY(String(PARTY_LENGTH)))
    """The other party of each mail: the requester in the row of an address, the address in the row of a requester."""
