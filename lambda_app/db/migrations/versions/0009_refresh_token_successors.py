"""The successor of a used refresh token, and the key that derived it."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add the columns. All are nullable without a default, so no table is rewritten.

    Tokens that were used before have no successor: their reuse ends the session, as before.
    """
    op.add_column("user_session", sa.Column("refresh_key_id", sa.String(64), nullable=True))
    op.add_column("refresh_token", sa.Column("successor_hash", sa.String(64), nullable=True))
    op.add_column("refresh_token", sa.Column("repeated_at", TIME, nullable=True))
    op.add_column("refresh_token", sa.Column("reuse_recorded_at", TIME, nullable=True))


def downgrade() -> None:
    """Drop the columns."""
    op.drop_column("refresh_token", "reuse_recorded_at")
    op.drop_column("refresh_token", "repeated_at")
    op.drop_column("refresh_token", "successor_hash")
    op.drop_column("user_session", "refresh_key_id")
