"""The encrypted tokens of share links and file requests, from which their owners can see the addresses again."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns. Links of before, of which only the hash is stored, have none."""
    for table in ("share", "file_request"):
        op.add_column(table, sa.Column("encrypted_token", sa.String(255), nullable=True))


def downgrade() -> None:
    """Drop the columns. The addresses still work, but are not shown any more."""
    for table in ("share", "file_request"):
        op.drop_column(table, "encrypted_token")
