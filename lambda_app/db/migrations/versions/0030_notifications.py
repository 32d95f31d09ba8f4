"""Notifications by mail: settings, what waits to be sent, and the networks and browsers of earlier sign-ins."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)
_KINDS = "('link_downloads', 'request_uploads', 'link_expiry', 'new_sign_ins')"


def upgrade() -> None:
    """Create the tables and columns. Events and links of before are not announced: the cursor starts at the end."""
    op.add_column("share", sa.Column("notify_on_download", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.add_column("file_request", sa.Column("notify_on_upload", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.create_table(
        "notification_setting",
        _user_id(),
        sa.Column("link_downloads", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("request_uploads", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("link_expiry", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("new_sign_ins", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        *_keys("notification_setting", "user_id"),
    )
    op.create_index("ix_notification_setting_link_expiry", "notification_setting", ["user_id"], postgresql_where=sa.text("link_expiry"))
    op.create_table(
        "notification_cursor",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("event_id", sa.BigInteger(), nullable=False),
        sa.Column("expiry_until", _TIME, nullable=False),
        sa.Column("expiry_share_id", sa.Uuid(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notification_cursor")),
    )
    op.execute(
        "INSERT INTO notification_cursor (id, event_id, expiry_until) "
        "SELECT 1, (SELECT coalesce(max(id), 0) FROM published_event), now() + interval '24 hours'"
    )
    op.create_table(
        "notification",
        _user_id(),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("subject", sa.String(100), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("items", postgresql.JSONB(), nullable=False),
        sa.Column("first_at", _TIME, nullable=False),
        sa.Column("last_at", _TIME, nullable=False),
        sa.CheckConstraint(f"kind IN {_KINDS}", name=op.f("ck_notification_kind")),
        *_keys("notification", "user_id", "kind", "subject"),
    )
    op.create_table(
        "notification_digest",
        _user_id(),
        sa.Column("due_at", _TIME, nullable=True),
        sa.Column("sent_at", _TIME, nullable=True),
        sa.Column("claimed_until", _TIME, nullable=True),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("content", postgresql.JSONB(), nullable=True),
        *_keys("notification_digest", "user_id"),
    )
    op.create_index("ix_notification_digest_due_at", "notification_digest", ["due_at"], postgresql_where=sa.text("due_at IS NOT NULL"))
    op.create_table(
        "sign_in_place",
        _user_id(),
        sa.Column("place_hash", sa.String(64), nullable=False),
        sa.Column("seen_at", _TIME, nullable=False),
        *_keys("sign_in_place", "user_id", "place_hash"),
    )
    op.create_index("ix_sign_in_place_seen_at", "sign_in_place", ["seen_at"])
    # Finds the links that expire within a day.
    condition = sa.text("revoked_at IS NULL AND expires_at IS NOT NULL")
    op.create_index("ix_share_expires_at_live", "share", ["expires_at"], postgresql_where=condition)


def downgrade() -> None:
    """Drop the tables and columns. Notifications that wait are lost."""
    op.drop_index("ix_share_expires_at_live", "share")
    for table in ("sign_in_place", "notification_digest", "notification", "notification_cursor", "notification_setting"):
        op.drop_table(table)
    op.drop_column("file_request", "notify_on_upload")
    op.drop_column("share", "notify_on_download")


def _user_id() -> sa.Column[Any]:
    return sa.Column("user_id", sa.Uuid(), nullable=False)


def _keys(table: str, *columns: str) -> tuple[sa.ForeignKeyConstraint, sa.PrimaryKeyConstraint]:
    return (
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name=op.f(f"fk_{table}_user_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint(*columns, name=op.f(f"pk_{table}")),
    )
