"""Deletion of accounts after a period of grace."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns. A constant default does not rewrite the table."""
    op.add_column("user", sa.Column("deletion_at", sa.DateTime(timezone=True)))
    op.add_column("user", sa.Column("deletion_is_own", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.create_index("ix_user_deletion_at", "user", ["deletion_at"], postgresql_where=sa.text("deletion_at IS NOT NULL"))


def downgrade() -> None:
    """Drop the columns. Accounts whose deletion was requested stay disabled."""
    op.drop_index("ix_user_deletion_at", table_name="user")
    op.drop_column("user", "deletion_is_own")
    op.drop_column("user", "deletion_at")
