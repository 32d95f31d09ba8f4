"""The second factor of an account: the secret of the authenticator app, and recovery codes."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns and the table."""
    op.add_column("user", sa.Column("totp_secret", sa.String(255)))
    op.add_column("user", sa.Column("totp_confirmed_at", sa.DateTime(timezone=True)))
    op.add_column("user", sa.Column("totp_last_step", sa.BigInteger()))
    op.create_table(
        "recovery_code",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("code_hash", sa.String(64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name="fk_recovery_code_user_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", "code_hash", name="pk_recovery_code"),
    )


def downgrade() -> None:
    """Drop them. Accounts then sign in with the password alone."""
    op.drop_table("recovery_code")
    for name in ("totp_last_step", "totp_confirmed_at", "totp_secret"):
        op.drop_column("user", name)
