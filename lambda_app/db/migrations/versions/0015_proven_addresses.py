"""Grants and link recipients that wait until the named address is confirmed."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns. Existing grants and recipients keep their effect. A constant default does not rewrite the tables."""
    for table in ("file_grant", "share_recipient"):
        op.add_column(table, sa.Column("is_pending", sa.Boolean(), server_default=sa.text("false"), nullable=False))


def downgrade() -> None:
    """Drop the columns, and what was pending: the previous version would grant it to the account with the unconfirmed address."""
    op.execute("DELETE FROM file_grant WHERE is_pending")
    op.execute("DELETE FROM share_recipient WHERE is_pending")
    for table in ("file_grant", "share_recipient"):
        op.drop_column(table, "is_pending")
