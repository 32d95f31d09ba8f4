"""Exports of accounts, required second factors, and transfers of all files to another account."""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns. A constant default does not rewrite the table."""
    op.add_column("archive", sa.Column("is_export", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.add_column("user", sa.Column("export_requested_at", sa.DateTime(timezone=True)))
    op.add_column("user", sa.Column("requires_second_factor", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.create_table(
        "ownership_transfer",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("from_id", sa.Uuid(), nullable=False),
        sa.Column("to_id", sa.Uuid(), nullable=False),
        sa.Column("from_email", sa.String(254), nullable=False),
        sa.Column("to_email", sa.String(254), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("token_epoch", sa.Integer(), nullable=False),
        sa.Column("moved_files", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("moved_bytes", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("is_blocked", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("status IN ('requested', 'moving', 'done', 'declined')", name=op.f("ck_ownership_transfer_status")),
        sa.CheckConstraint("from_id <> to_id", name=op.f("ck_ownership_transfer_two_accounts")),
        sa.ForeignKeyConstraint(["from_id"], ["user.id"], name=op.f("fk_ownership_transfer_from_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["to_id"], ["user.id"], name=op.f("fk_ownership_transfer_to_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ownership_transfer")),
    )
    newest_first = [sa.text("created_at DESC"), sa.text("id DESC")]
    is_open = sa.text("status IN ('requested', 'moving')")
    op.create_index("ux_ownership_transfer_from_id", "ownership_transfer", ["from_id"], unique=True, postgresql_where=is_open)
    op.create_index("ix_ownership_transfer_from_id_created_at_id", "ownership_transfer", ["from_id", *newest_first])
    op.create_index("ix_ownership_transfer_to_id_created_at_id", "ownership_transfer", ["to_id", *newest_first])
    op.create_index("ix_ownership_transfer_moving", "ownership_transfer", ["id"], postgresql_where=sa.text("status = 'moving'"))
    op.create_index("ix_ownership_transfer_expires_at", "ownership_transfer", ["expires_at"])


def downgrade() -> None:
    """Drop the columns, and let the sweep delete the exports: they must not become archives that an API key can read."""
    op.execute("UPDATE archive SET status = 'deleting', lease_id = NULL WHERE is_export")
    op.drop_table("ownership_transfer")
    op.drop_column("user", "requires_second_factor")
    op.drop_column("user", "export_requested_at")
    op.drop_column("archive", "is_export")
