"""Titles of share links."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column. Links of before have no title."""
    op.add_column("share", sa.Column("title", sa.String(200), nullable=True))


def downgrade() -> None:
    """Drop the column, and the titles with it."""
    op.drop_column("share", "title")
