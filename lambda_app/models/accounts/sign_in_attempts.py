"""The table of counters of failed attempts, for the throttles."""

from datetime import datetime
from enum import IntEnum

from sqlalchemy import Index, SmallInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from lambda_app.models.base import Base


class AttemptKind(IntEnum):
    """What a counter counts. Statements lock counters in this order, so that concurrent attempts do not deadlock."""

    ACCOUNT = 1
    """All attempts at one account. Never blocks, because an attacker could lock the owner out."""
    ADDRESS = 2
    """All attempts from one address."""
    PAIR = 3
    """The attempts at one account from one address."""
    GUEST = 4
    """Uploads from one network at one file request, in points: see `repositories/sharing/guest_throttle`."""
    NETWORK_56 = 5
    """All attempts from the /56 network of an IPv6 address."""
    NETWORK_48 = 6
    """All attempts from its /48 network."""
    GUEST_56 = 7
    """As GUEST, from the /56 network of an IPv6 address."""
    GUEST_48 = 8
    """As GUEST, from its /48 network."""


class SignInAttempt(Base):
    """One counter. Its key is a hash, because users sometimes type a password into the e-mail field."""

    __tablename__ = "sign_in_attempt"
    __table_args__ = (Index("ix_sign_in_attempt_since", "since"),)

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    kind: Mapped[int] = mapped_column(SmallInteger)
    failures: Mapped[int]
    since: Mapped[datetime]
    """When the first counted attempt was made."""
    blocked_until: Mapped[datetime | None]
    noted_until: Mapped[datetime | None]
    """The `blocked_until` for which the audit log has an event: one event per delay, however many attempts it refuses."""
