"""The table of who asked for mail to whom, for the limits of it."""

from datetime import datetime

from sqlalchemy import Index, String
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from lambda_app.models.base import Base

PARTY_LENGTH = 16
"""Characters of the hash by which a party is named in the other's list: it has to tell a few dozen apart."""


class MailAllowance(Base):
    """What one address was sent, or one asker has asked for, since the window began. Keys are hashes: what was typed is not kept."""

    __tablename__ = "mail_allowance"
    __table_args__ = (Index("ix_mail_allowance_since", "since"),)

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    since: Mapped[datetime]
    parties: Mapped[list[str]] = mapped_column(ARRAY(String(PARTY_LENGTH)))
    """The other party of each mail: of an address who asked, of an asker whom they asked it for."""
