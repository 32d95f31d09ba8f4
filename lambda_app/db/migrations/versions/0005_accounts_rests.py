"""Mail limits per address and per requester, and a column for the sign-in delays that the audit log has recorded."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add the table and the column."""
    op.add_column("sign_in_attempt", sa.Column("noted_until", TIME, nullable=True))
    op.create_table(
        "mail_allowance",
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("since", TIME, nullable=False),
        sa.Column("parties", ARRAY(sa.String(16)), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_mail_allowance"),
    )
    op.create_index("ix_mail_allowance_since", "mail_allowance", ["since"])


def downgrade() -> None:
    """Drop both."""
    op.drop_table("mail_allowance")
    op.drop_column("sign_in_attempt", "noted_until")
