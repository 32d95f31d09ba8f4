"""Invitations by mail: to create an account, or to use a file that is shared with the address."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "invitation",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("inviter_id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.String(254), nullable=False),
        sa.Column("file_id", sa.Uuid(), nullable=True),
        sa.Column("role", sa.String(16), nullable=True),
        sa.Column("token_hash", sa.String(64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("(file_id IS NULL) = (role IS NULL)", name=op.f("ck_invitation_role_of_file")),
        sa.CheckConstraint("role IN ('viewer', 'editor')", name=op.f("ck_invitation_role")),
        sa.ForeignKeyConstraint(["inviter_id"], ["user.id"], name=op.f("fk_invitation_inviter_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["file_id"], ["file.id"], name=op.f("fk_invitation_file_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invitation")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_invitation_token_hash")),
    )
    is_about_file, is_about_account = sa.text("file_id IS NOT NULL"), sa.text("file_id IS NULL")
    newest_first = [sa.text("created_at DESC"), sa.text("id DESC")]
    op.create_index("ux_invitation_email", "invitation", ["email"], unique=True, postgresql_where=is_about_account)
    op.create_index("ux_invitation_email_file_id", "invitation", ["email", "file_id"], unique=True, postgresql_where=is_about_file)
    op.create_index("ix_invitation_inviter_id_created_at_id", "invitation", ["inviter_id", *newest_first])
    op.create_index("ix_invitation_created_at_id", "invitation", newest_first)
    op.create_index("ix_invitation_file_id", "invitation", ["file_id"], postgresql_where=is_about_file)
    op.create_index("ix_invitation_expires_at", "invitation", ["expires_at"])


def downgrade() -> None:
    """Drop the table. Invitations that were not accepted are lost."""
    op.drop_table("invitation")
