"""The index that finds file requests which expire soon."""

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the index. It takes a lock against writes: a deployment has few file requests, compared with files."""
    op.create_index("ix_file_request_expires_at_live", "file_request", ["expires_at", "id"], postgresql_where=sa.text("revoked_at IS NULL"))


def downgrade() -> None:
    """Drop the index."""
    op.drop_index("ix_file_request_expires_at_live", table_name="file_request")
