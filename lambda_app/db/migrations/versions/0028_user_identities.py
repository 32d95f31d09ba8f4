"""Identities at sign-in providers, accounts without a password, and recent proofs of sessions."""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables and the column. Accounts that only sign in at a provider have no password."""
    op.create_table(
        "user_identity",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("provider", sa.String(32), nullable=False),
        sa.Column("issuer", sa.String(255), nullable=False),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("email", sa.String(254), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name=op.f("fk_user_identity_user_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user_identity")),
        sa.UniqueConstraint("provider", "issuer", "subject", name=op.f("uq_user_identity_subject")),
    )
    op.create_index("ix_user_identity_user_id", "user_identity", ["user_id", "created_at", "id"])
    op.create_table(
        "used_assertion",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_used_assertion")),
    )
    op.create_index("ix_used_assertion_expires_at", "used_assertion", ["expires_at"])
    op.alter_column("user", "hashed_password", existing_type=sa.String(255), nullable=True)
    op.add_column("user_session", sa.Column("proved_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    """Drop the tables and the column. Accounts without a password get an unusable one; they can reset it by mail."""
    op.drop_column("user_session", "proved_at")
    op.execute("UPDATE \"user\" SET hashed_password = '!' WHERE hashed_password IS NULL")
    op.alter_column("user", "hashed_password", existing_type=sa.String(255), nullable=False)
    op.drop_table("used_assertion")
    op.drop_table("user_identity")
