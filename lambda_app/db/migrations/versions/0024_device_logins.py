"""Device sign-ins: a program without a browser signs in with the consent of a user at a browser."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "device_login",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("device_code_hash", sa.String(64), nullable=False),
        sa.Column("user_code", sa.String(9), nullable=False),
        sa.Column("client", sa.String(100), nullable=False),
        sa.Column("source_address", sa.String(45), nullable=True),
        sa.Column("network", sa.String(50), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("token_epoch", sa.Integer(), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("is_approved", sa.Boolean(), nullable=False),
        sa.CheckConstraint("(decided_at IS NULL) = (user_id IS NULL)", name=op.f("ck_device_login_decided")),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name=op.f("fk_device_login_user_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_device_login")),
        sa.UniqueConstraint("device_code_hash", name=op.f("uq_device_login_device_code_hash")),
        sa.UniqueConstraint("user_code", name=op.f("uq_device_login_user_code")),
    )
    op.create_index("ix_device_login_network_expires_at", "device_login", ["network", "expires_at"])
    op.create_index("ix_device_login_expires_at", "device_login", ["expires_at"])
    op.create_index("ix_device_login_user_id", "device_login", ["user_id"])


def downgrade() -> None:
    """Drop the table. Programs that are signed in stay signed in."""
    op.drop_table("device_login")
