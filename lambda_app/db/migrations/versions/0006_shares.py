"""Share links: their files, their recipients, and the downloads granted in the last hour."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "share",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("token_hash", sa.String(64), nullable=True),
        sa.Column("slug", sa.String(64), nullable=True),
        sa.Column("hashed_password", sa.String(255), nullable=True),
        sa.Column("password_version", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("expires_at", TIME, nullable=True),
        sa.Column("max_downloads", sa.Integer(), nullable=True),
        sa.Column("download_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("open_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("last_opened_at", TIME, nullable=True),
        sa.Column("audience", sa.String(16), server_default="anyone", nullable=False),
        sa.Column("allows_download", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("note", sa.String(1000), nullable=True),
        sa.Column("revoked_at", TIME, nullable=True),
        sa.Column("created_at", TIME, server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", TIME, server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("num_nonnulls(token_hash, slug) = 1", name="ck_share_address"),
        sa.CheckConstraint("audience IN ('anyone', 'signed_in', 'named')", name="ck_share_audience"),
        sa.CheckConstraint("max_downloads > 0", name="ck_share_max_downloads"),
        sa.CheckConstraint("download_count >= 0 AND open_count >= 0", name="ck_share_counts"),
        sa.ForeignKeyConstraint(["owner_id"], ["user.id"], name="fk_share_owner_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_share"),
        sa.UniqueConstraint("token_hash", name="uq_share_token_hash"),
        sa.UniqueConstraint("slug", name="uq_share_slug"),
    )
    op.create_index("ix_share_owner_id_created_at_id", "share", ["owner_id", sa.text("created_at DESC"), sa.text("id DESC")])
    op.create_table(
        "share_file",
        sa.Column("share_id", sa.Uuid(), nullable=False),
        sa.Column("file_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["share_id"], ["share.id"], name="fk_share_file_share_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["file_id"], ["file.id"], name="fk_share_file_file_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("share_id", "file_id", name="pk_share_file"),
    )
    op.create_index("ix_share_file_file_id", "share_file", ["file_id"])
    op.create_table(
        "share_recipient",
        sa.Column("share_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("named_as", sa.String(254), nullable=False),
        sa.ForeignKeyConstraint(["share_id"], ["share.id"], name="fk_share_recipient_share_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name="fk_share_recipient_user_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("share_id", "user_id", name="pk_share_recipient"),
    )
    op.create_index("ix_share_recipient_user_id", "share_recipient", ["user_id"])
    op.create_table(
        "share_download",
        sa.Column("share_id", sa.Uuid(), nullable=False),
        sa.Column("file_id", sa.Uuid(), nullable=False),
        sa.Column("visitor", sa.String(64), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["share_id", "file_id"],
            ["share_file.share_id", "share_file.file_id"],
            name="fk_share_download_share_id_file_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("share_id", "file_id", "visitor", name="pk_share_download"),
    )
    op.create_index("ix_share_download_at", "share_download", ["at"])


def downgrade() -> None:
    """Drop the tables. All share links stop working."""
    for table in ("share_download", "share_recipient", "share_file", "share"):
        op.drop_table(table)
