"""The audit log: rows are only ever added, and each carries the hash of the one before it (docs/adr/0010-audit-hash-chain.md)."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, FetchedValue, Index, SmallInteger, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from lambda_app.models.accounts.sessions import ADDRESS_MAX_LENGTH
from lambda_app.models.base import Base

GENESIS_HASH = "0" * 64
"""`previous_hash` of the first row."""


class AuditEvent(Base):
    """One audited action. A trigger sets `seq`, `previous_hash` and `hash`, and rejects every UPDATE and DELETE."""

    __tablename__ = "audit_event"
    __table_args__ = (
        Index("ix_audit_event_actor_id_seq", "actor_id", "seq"),
        Index("ix_audit_event_subject_seq", "subject", "seq"),
        Index("ix_audit_event_action_seq", "action", "seq"),
        Index("ix_audit_event_at_seq", "at", "seq"),
    )

    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False, server_default=FetchedValue())
    at: Mapped[datetime]
    action: Mapped[str] = mapped_column(String(64))
    actor_id: Mapped[UUID | None]
    """The user; None for anonymous callers and operators. No foreign key: the row outlives the user."""
    credential: Mapped[str | None] = mapped_column(String(64))
    """The credential that authenticated the actor, as `session:<id>` or `api_key:<id>`."""
    subject: Mapped[str | None] = mapped_column(String(100))
    """The object of the action, as `user:<id>`."""
    details: Mapped[str] = mapped_column(Text, server_default=text("'{}'"))
    """A JSON object, stored as text because the hash covers its exact bytes."""
    source_address: Mapped[str | None] = mapped_column(String(ADDRESS_MAX_LENGTH))
    request_id: Mapped[str | None] = mapped_column(String(128))
    previous_hash: Mapped[str] = mapped_column(String(64), server_default=FetchedValue())
    hash: Mapped[str] = mapped_column(String(64), server_default=FetchedValue())


class AuditHead(Base):
    """The end of the hash chain, in one row. Adding an event locks it, so every transaction locks it last."""

    __tablename__ = "audit_head"

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    seq: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[str] = mapped_column(String(64))
