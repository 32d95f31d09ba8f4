"""Indexes that find file requests which expire soon, and the archives of a link that is deleted."""

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the indexes. They take a lock against writes: a deployment has few file requests and archives, compared with files."""
    op.create_index("ix_file_request_expires_at_live", "file_request", ["expires_at", "id"], postgresql_where=sa.text("revoked_at IS NULL"))
    op.create_index("ix_archive_share_id", "archive", ["share_id"], postgresql_where=sa.text("share_id IS NOT NULL"))


def downgrade() -> None:
    """Drop the indexes."""
    op.drop_index("ix_archive_share_id", table_name="archive")
    op.drop_index("ix_file_request_expires_at_live", table_name="file_request")
