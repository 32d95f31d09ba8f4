"""Lists of files in the order of their last change."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the index. For a million files, it is built in about 1 s."""
    op.create_index("ix_file_owner_id_updated_at", "file", ["owner_id", sa.text("updated_at DESC"), sa.text("id DESC")])


def downgrade() -> None:
    """Drop it."""
    op.drop_index("ix_file_owner_id_updated_at", "file")
