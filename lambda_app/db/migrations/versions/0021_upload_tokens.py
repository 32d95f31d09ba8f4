"""Upload tokens: short-lived secrets in the path, with which an uploader without other credentials uploads for a user."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "upload_token",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("api_key_id", sa.Uuid(), nullable=True),
        sa.Column("token_epoch", sa.Integer(), nullable=False),
        sa.Column("token_hash", sa.String(64), nullable=False),
        sa.Column("max_bytes", sa.BigInteger(), nullable=False),
        sa.Column("max_files", sa.Integer(), nullable=False),
        sa.Column("max_size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("allowed_content_types", postgresql.ARRAY(sa.String(100)), nullable=True),
        sa.Column("bytes_started", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("files_started", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("bytes_started >= 0 AND bytes_started <= max_bytes", name=op.f("ck_upload_token_bytes_started")),
        sa.CheckConstraint("files_started <= max_files", name=op.f("ck_upload_token_files_started")),
        sa.ForeignKeyConstraint(["owner_id"], ["user.id"], name=op.f("fk_upload_token_owner_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["api_key_id"], ["api_key.id"], name=op.f("fk_upload_token_api_key_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_upload_token")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_upload_token_token_hash")),
    )
    op.create_index("ix_upload_token_owner_id", "upload_token", ["owner_id"])
    op.create_index("ix_upload_token_api_key_id", "upload_token", ["api_key_id"], postgresql_where=sa.text("api_key_id IS NOT NULL"))
    op.create_index("ix_upload_token_expires_at", "upload_token", ["expires_at"])
    op.create_table(
        "upload_token_file",
        sa.Column("file_id", sa.Uuid(), nullable=False),
        sa.Column("upload_token_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["file_id"], ["file.id"], name=op.f("fk_upload_token_file_file_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["upload_token_id"], ["upload_token.id"], name=op.f("fk_upload_token_file_upload_token_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("file_id", name=op.f("pk_upload_token_file")),
    )
    op.create_index("ix_upload_token_file_upload_token_id", "upload_token_file", ["upload_token_id"])


def downgrade() -> None:
    """Drop the tables. The uploads that were started remain."""
    op.drop_table("upload_token_file")
    op.drop_table("upload_token")
