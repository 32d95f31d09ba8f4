"""Limits of mail for each address and each asker, and which delays of the throttle the audit log knows."""

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
    """Drop them."""
    op.drop_table("mail_allowance")
    op.drop_column("sign_in_attempt", "noted_until")
