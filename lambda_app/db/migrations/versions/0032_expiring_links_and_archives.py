"""Indexes for expiring file requests and for archives of deleted links. Whether an account had a confirmed address."""

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the column and the indexes, under a lock against writes: file requests and archives are few, compared with files."""
    op.create_index("ix_file_request_expires_at_live", "file_request", ["expires_at", "id"], postgresql_where=sa.text("revoked_at IS NULL"))
    op.add_column("user", sa.Column("had_verified_email", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.create_index("ix_archive_share_id", "archive", ["share_id"], postgresql_where=sa.text("share_id IS NOT NULL"))


def downgrade() -> None:
    """Drop the indexes and the column."""
    op.drop_index("ix_archive_share_id", table_name="archive")
    op.drop_column("user", "had_verified_email")
    op.drop_index("ix_file_request_expires_at_live", table_name="file_request")
