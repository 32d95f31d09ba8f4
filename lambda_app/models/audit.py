"""The audit log: events, the Merkle tree over them, and the closed hash chain of earlier versions (docs/adr/0028-transparency-log.md)."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, FetchedValue, Index, Sequence, SmallInteger, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from lambda_app.models.accounts.sessions import ADDRESS_MAX_LENGTH
from lambda_app.models.base import Base

GENESIS_HASH = "0" * 64
"""`previous_hash` of the first row of the chain."""

EVENT_SEQUENCE = "audit_event_seq"
Sequence(EVENT_SEQUENCE, metadata=Base.metadata)


class AuditEvent(Base):
    """One audited action. A trigger sets era, xid, salts and leaf, and rejects a `seq` that is not the default.

    Others reject DELETE, and every UPDATE except an erasure. Migrations and the sealer create the partitions.
    """

    __tablename__ = "audit_event"
    __table_args__ = (
        Index("ix_audit_event_seq", "seq", unique=True),
        Index("ix_audit_event_actor_id_seq", "actor_id", "seq"),
        Index("ix_audit_event_subject_seq", "subject", "seq"),
        Index("ix_audit_event_action_seq", "action", "seq"),
        Index("ix_audit_event_at_seq", "at", "seq"),
        {"postgresql_partition_by": "RANGE (seq)"},
    )

    era: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, server_default=FetchedValue())
    """The tree to which the event belongs. A restored database starts a new one."""
    xid: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False, server_default=FetchedValue())
    """The transaction that wrote it (xid8)."""
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False, server_default=text(f"nextval('{EVENT_SEQUENCE}')"))
    """A number that grows, with gaps. Concurrent transactions may commit in another order. It decides the partition."""
    at: Mapped[datetime]
    action: Mapped[str] = mapped_column(String(64))
    actor_id: Mapped[UUID | None]
    """The user; None for anonymous callers and operators. No foreign key: the row outlives the user."""
    credential: Mapped[str | None] = mapped_column(String(64))
    """The credential that authenticated the actor, as `session:<id>` or `api_key:<id>`."""
    subject: Mapped[str | None] = mapped_column(String(100))
    """The object of the action, as `user:<id>`."""
    details: Mapped[str | None] = mapped_column(Text, server_default=text("'{}'"))
    """A JSON object, stored as text because the hash covers its exact bytes. None after its erasure."""
    source_address: Mapped[str | None] = mapped_column(String(ADDRESS_MAX_LENGTH))
    request_id: Mapped[str | None] = mapped_column(String(128))
    salts: Mapped[bytes] = mapped_column(server_default=FetchedValue(), deferred=True)
    """The salts of the field hashes, 16 bytes each, in the order of `core/audit_leaf.FIELDS`. Zeros after an erasure."""
    erased: Mapped[str | None] = mapped_column(Text)
    """The hashes of erased fields, as a JSON object of hex; None if none was erased."""
    leaf: Mapped[bytes] = mapped_column(server_default=FetchedValue())
    """SHA-256 of the hashes of all fields."""

    @property
    def hash(self) -> str:
        """The leaf in hex."""
        return self.leaf.hex()


class AuditEra(Base):
    """One Merkle tree. The newest era gets all new events."""

    __tablename__ = "audit_era"

    era: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    started_at: Mapped[datetime]
    xid: Mapped[int] = mapped_column(BigInteger)
    """The transaction that started it."""


class AuditCheckpoint(Base):
    """A signed root of the tree of an era."""

    __tablename__ = "audit_checkpoint"
    __table_args__ = (UniqueConstraint("era", "cutoff", name="uq_audit_checkpoint_era_cutoff"),)

    era: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    size: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    """Number of events below the root."""
    cutoff: Mapped[int] = mapped_column(BigInteger)
    """The tree contains the events of exactly the transactions with a lower id."""
    last_seq: Mapped[int] = mapped_column(BigInteger)
    """The highest number that was in use. A later number in an earlier transaction was not written regularly."""
    root: Mapped[bytes]
    sealed_at: Mapped[datetime]
    note: Mapped[str] = mapped_column(Text)
    """The checkpoint as a signed note (C2SP tlog-checkpoint)."""


class AuditTile(Base):
    """Up to 256 consecutive hashes of one level of the tree. A level has the roots of the full tiles below it."""

    __tablename__ = "audit_tile"

    era: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    level: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    hashes: Mapped[bytes]


class AuditLogKey(Base):
    """A public key that has signed checkpoints. Receipts need it after its rotation too."""

    __tablename__ = "audit_log_key"

    vkey: Mapped[str] = mapped_column(String(400), primary_key=True)
    """The key in the format of C2SP signed-note."""
    era: Mapped[int]
    used_from: Mapped[datetime]


class AuditChainEvent(Base):
    """An event of the hash chain that earlier versions wrote. The table is closed."""

    __tablename__ = "audit_chain_event"
    __table_args__ = (
        Index("ix_audit_chain_event_actor_id_seq", "actor_id", "seq"),
        Index("ix_audit_chain_event_subject_seq", "subject", "seq"),
        Index("ix_audit_chain_event_action_seq", "action", "seq"),
        Index("ix_audit_chain_event_at_seq", "at", "seq"),
    )

    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    action: Mapped[str] = mapped_column(String(64))
    actor_id: Mapped[UUID | None]
    credential: Mapped[str | None] = mapped_column(String(64))
    subject: Mapped[str | None] = mapped_column(String(100))
    details: Mapped[str] = mapped_column(Text, server_default=text("'{}'"))
    source_address: Mapped[str | None] = mapped_column(String(ADDRESS_MAX_LENGTH))
    request_id: Mapped[str | None] = mapped_column(String(128))
    previous_hash: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64))


class AuditHead(Base):
    """The end of the closed hash chain, in one row."""

    __tablename__ = "audit_head"

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    seq: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[str] = mapped_column(String(64))
