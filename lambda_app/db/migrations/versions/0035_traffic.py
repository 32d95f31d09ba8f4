"""Bytes, downloads and storage of each hour, beside its number of uploads, for the charts of the statistics."""

import sqlalchemy as sa
from alembic import op

revision = "0035"
down_revision = "0033"
branch_labels = None
depends_on = None

COLUMNS = ("bytes", "downloads", "stored_bytes")


def upgrade() -> None:
    """Add the columns; without values, because the hours before were counted without them."""
    for column in COLUMNS:
        op.add_column("upload_hour", sa.Column(column, sa.BigInteger(), nullable=True))


def downgrade() -> None:
    """Drop the columns."""
    for column in COLUMNS:
        op.drop_column("upload_hour", column)
