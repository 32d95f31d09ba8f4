"""Published events, which a dispatcher derives from the sealed audit log, and webhooks with their deliveries."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)

# Events before the migration are not published: they may be many, and clients expect none of them.
START = """
INSERT INTO event_cursor (id, era, xid, seq)
SELECT 1, (SELECT max(era) FROM audit_era), pg_current_xact_id()::text::bigint, 0
"""


def upgrade() -> None:
    """Create the tables. The dispatcher starts with the events of later transactions."""
    op.create_table(
        "published_event",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("type", sa.String(64), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("subject", sa.String(100), nullable=False),
        sa.Column("data", postgresql.JSONB(), nullable=False),
        sa.ForeignKeyConstraint(["owner_id"], ["user.id"], name=op.f("fk_published_event_owner_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_published_event")),
    )
    op.create_index("ix_published_event_owner_id_id", "published_event", ["owner_id", "id"])
    op.create_index("ix_published_event_owner_id_type_id", "published_event", ["owner_id", "type", "id"])
    op.create_index("ix_published_event_at", "published_event", ["at"])
    op.create_table(
        "event_cursor",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("era", sa.Integer(), nullable=False),
        sa.Column("xid", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event_cursor")),
    )
    op.execute(START)
    op.create_table(
        "webhook",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("for_all_users", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("url", sa.String(2000), nullable=False),
        sa.Column("description", sa.String(200), nullable=True),
        sa.Column("event_types", postgresql.ARRAY(sa.String(64)), nullable=True),
        sa.Column("is_enabled", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("disabled_reason", sa.String(32), nullable=True),
        sa.Column("failing_since", TIME, nullable=True),
        sa.Column("failure_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_due_at", TIME, nullable=True),
        sa.Column("lease_id", sa.Uuid(), nullable=True),
        sa.Column("leased_until", TIME, nullable=True),
        sa.Column("encrypted_secret", sa.String(400), nullable=False),
        sa.Column("encrypted_previous_secret", sa.String(400), nullable=True),
        sa.Column("previous_secret_until", TIME, nullable=True),
        sa.Column("deleted_at", TIME, nullable=True),
        sa.Column("created_at", TIME, server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", TIME, server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["owner_id"], ["user.id"], name=op.f("fk_webhook_owner_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook")),
    )
    op.create_index("ix_webhook_owner_id", "webhook", ["owner_id"])
    op.create_index("ix_webhook_next_due_at", "webhook", ["next_due_at"], postgresql_where=sa.text("is_enabled"))
    is_leased = sa.text("leased_until IS NOT NULL")
    op.create_index("ix_webhook_leased_until", "webhook", ["leased_until"], postgresql_where=is_leased)
    op.create_index("ix_webhook_for_all_users", "webhook", ["id"], postgresql_where=sa.text("for_all_users"))
    op.create_index("ix_webhook_deleted_at", "webhook", ["deleted_at"], postgresql_where=sa.text("deleted_at IS NOT NULL"))
    op.create_table(
        "webhook_delivery",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("webhook_id", sa.Uuid(), nullable=False),
        sa.Column("event_id", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(16), server_default="pending", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("first_attempt_at", TIME, nullable=True),
        sa.Column("next_attempt_at", TIME, nullable=False),
        sa.Column("attempted_at", TIME, nullable=True),
        sa.Column("response_status", sa.Integer(), nullable=True),
        sa.Column("response_body", sa.Text(), nullable=True),
        sa.Column("error", sa.String(32), nullable=True),
        sa.Column("duration_ms", sa.Integer(), nullable=True),
        sa.CheckConstraint("status IN ('pending', 'delivered', 'failed')", name=op.f("ck_webhook_delivery_status")),
        sa.ForeignKeyConstraint(["webhook_id"], ["webhook.id"], name=op.f("fk_webhook_delivery_webhook_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["event_id"], ["published_event.id"], name=op.f("fk_webhook_delivery_event_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_delivery")),
        sa.UniqueConstraint("webhook_id", "event_id", name="uq_webhook_delivery_webhook_id_event_id"),
    )
    op.create_index("ix_webhook_delivery_event_id", "webhook_delivery", ["event_id"])
    op.create_index("ix_webhook_delivery_webhook_id_status_event_id", "webhook_delivery", ["webhook_id", "status", "event_id"])
    is_pending = sa.text("status = 'pending'")
    op.create_index("ix_webhook_delivery_pending", "webhook_delivery", ["webhook_id", "next_attempt_at"], postgresql_where=is_pending)


def downgrade() -> None:
    """Drop the tables."""
    for table in ("webhook_delivery", "webhook", "event_cursor", "published_event"):
        op.drop_table(table)
