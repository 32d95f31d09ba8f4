"""Grants of files to named users, and file requests."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the tables, and the reference from a file to its file request."""
    op.create_table(
        "file_grant",
        sa.Column("file_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("email", sa.String(254), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.CheckConstraint("role IN ('viewer', 'editor')", name="ck_file_grant_role"),
        sa.ForeignKeyConstraint(["file_id"], ["file.id"], name="fk_file_grant_file_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name="fk_file_grant_user_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("file_id", "user_id", name="pk_file_grant"),
    )
    op.create_index("ix_file_grant_user_id_file_id", "file_grant", ["user_id", "file_id"])
    op.create_index("ix_file_grant_owner_id_file_id", "file_grant", ["owner_id", "file_id"])
    newest_first = (sa.text("created_at DESC"), sa.text("id DESC"))
    op.create_table(
        "file_request",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("token_hash", sa.String(64), nullable=False),
        sa.Column("title", sa.String(200), nullable=False),
        sa.Column("note", sa.String(2000), nullable=True),
        sa.Column("max_size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("max_files", sa.Integer(), nullable=False),
        sa.Column("allowed_content_types", sa.ARRAY(sa.String(100)), nullable=True),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("revoked_at", TIME, nullable=True),
        sa.Column("file_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", TIME, server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", TIME, server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("file_count >= 0", name="ck_file_request_file_count"),
        sa.ForeignKeyConstraint(["owner_id"], ["user.id"], name="fk_file_request_owner_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_file_request"),
        sa.UniqueConstraint("token_hash", name="uq_file_request_token_hash"),
    )
    op.create_index("ix_file_request_owner_id_created_at_id", "file_request", ["owner_id", *newest_first])
    op.add_column("file", sa.Column("file_request_id", sa.Uuid(), nullable=True))
    op.add_column("file", sa.Column("guest_token_hash", sa.String(64), nullable=True))
    op.create_foreign_key("fk_file_file_request_id", "file", "file_request", ["file_request_id"], ["id"], ondelete="SET NULL")
    op.create_index(
        "ix_file_file_request_id",
        "file",
        ["file_request_id", *newest_first],
        postgresql_where=sa.text("file_request_id IS NOT NULL"),
    )


def downgrade() -> None:
    """Drop all of it. Files that guests uploaded remain with the owner of the request."""
    op.drop_index("ix_file_file_request_id", "file")
    op.drop_constraint("fk_file_file_request_id", "file")
    op.drop_column("file", "guest_token_hash")
    op.drop_column("file", "file_request_id")
    op.drop_table("file_request")
    op.drop_table("file_grant")
