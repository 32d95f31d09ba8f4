"""Exports of accounts."""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns. A constant default does not rewrite the table."""
    op.add_column("archive", sa.Column("is_export", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.add_column("user", sa.Column("export_requested_at", sa.DateTime(timezone=True)))


def downgrade() -> None:
    """Drop the columns, and let the sweep delete the exports: they must not become archives that an API key can read."""
    op.execute("UPDATE archive SET status = 'deleting', lease_id = NULL WHERE is_export")
    op.drop_column("user", "export_requested_at")
    op.drop_column("archive", "is_export")
