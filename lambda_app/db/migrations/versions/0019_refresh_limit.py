"""The number of refreshes of a session in the current hour."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns. A constant default does not rewrite the table."""
    op.add_column("user_session", sa.Column("refreshes_since", sa.DateTime(timezone=True), nullable=True))
    op.add_column("user_session", sa.Column("refresh_count", sa.Integer(), server_default=sa.text("0"), nullable=False))


def downgrade() -> None:
    """Drop the columns."""
    op.drop_column("user_session", "refresh_count")
    op.drop_column("user_session", "refreshes_since")
