"""The profile of an account: name, language and time zone."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns. A constant default does not rewrite the table."""
    op.add_column("user", sa.Column("display_name", sa.String(100)))
    op.add_column("user", sa.Column("locale", sa.String(35)))
    op.add_column("user", sa.Column("time_zone", sa.String(64)))
    op.add_column("user", sa.Column("shows_name_on_links", sa.Boolean(), server_default=sa.text("false"), nullable=False))


def downgrade() -> None:
    """Drop the columns and what they hold."""
    for name in ("shows_name_on_links", "time_zone", "locale", "display_name"):
        op.drop_column("user", name)
