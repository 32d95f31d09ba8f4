"""The table of sign-in attempts that were not followed by a success, counted for the throttle."""

from datetime import datetime
from enum import IntEnum

from sqlalchemy import Index, SmallInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from lambda_app.models.base import Base


class AttemptKind(IntEnum):
    """What is counted; rows are locked in this order, so that two sign-ins never wait for each other."""

    ACCOUNT = 1
    """All attempts at one account. Never blocks: an attacker could lock the owner out."""
    ADDRESS = 2
    """All attempts from one address."""
    PAIR = 3
    """The attempts at one account from one address."""
    GUEST = 4
    """What one network tried at one file request, in points: see `repositories/guest_tries`."""


class SignInAttempt(Base):
    """One counter; its key is a hash, so that what was typed is not kept."""

    __tablename__ = "sign_in_attempt"
    __table_args__ = (Index("ix_sign_in_attempt_since", "since"),)

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    kind: Mapped[int] = mapped_column(SmallInteger)
    failures: Mapped[int]
    since: Mapped[datetime]
    """When the first of the counted attempts was made."""
    blocked_until: Mapped[datetime | None]
    noted_until: Mapped[datetime | None]
    """The `blocked_until` of the delay that the audit log knows of: one event for each, however many attempts it refuses."""
