"""Previews: what the preview worker has reported about a file."""

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "file_preview",
        sa.Column("file_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("request_count", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("reason", sa.String(20), nullable=True),
        sa.Column("width", sa.Integer(), nullable=True),
        sa.Column("height", sa.Integer(), nullable=True),
        sa.Column("small_width", sa.Integer(), nullable=True),
        sa.Column("small_height", sa.Integer(), nullable=True),
        sa.Column("large_width", sa.Integer(), nullable=True),
        sa.Column("large_height", sa.Integer(), nullable=True),
        sa.Column("duration_seconds", sa.Float(), nullable=True),
        sa.Column("page_count", sa.Integer(), nullable=True),
        sa.CheckConstraint("state IN ('pending', 'ready', 'failed')", name=op.f("ck_file_preview_state")),
        sa.CheckConstraint("state <> 'ready' OR (width > 0 AND height > 0)", name=op.f("ck_file_preview_size")),
        sa.ForeignKeyConstraint(["file_id"], ["file.id"], name=op.f("fk_file_preview_file_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("file_id", name=op.f("pk_file_preview")),
    )
    op.create_index("ix_file_preview_pending", "file_preview", ["requested_at", "file_id"], postgresql_where=sa.text("state = 'pending'"))


def downgrade() -> None:
    """Drop the table. The images remain until the files are deleted."""
    op.drop_table("file_preview")
