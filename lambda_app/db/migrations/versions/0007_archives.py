"""Archives: zips of several files, and the progress of each."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "archive",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("share_id", sa.Uuid(), nullable=True),
        sa.Column("holder_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("filename", sa.String(255), nullable=False),
        sa.Column("status", sa.String(16), server_default="queued", nullable=False),
        sa.Column("s3_key", sa.String(255), nullable=False),
        sa.Column("file_count", sa.Integer(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("part_size_bytes", sa.Integer(), nullable=False),
        sa.Column("done_bytes", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("cut_crc32", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("upload_id", sa.String(1024), nullable=True),
        sa.Column("lease_id", sa.Uuid(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("error_code", sa.String(64), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.CheckConstraint("num_nonnulls(user_id, share_id) = 1", name="ck_archive_asker"),
        sa.CheckConstraint("status IN ('queued', 'building', 'ready', 'failed', 'deleting')", name="ck_archive_status"),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name="fk_archive_user_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["share_id"], ["share.id"], name="fk_archive_share_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_archive"),
        sa.UniqueConstraint("s3_key", name="uq_archive_s3_key"),
    )
    wanted, is_linked = sa.text("status IN ('queued', 'building', 'ready')"), sa.text("(share_id IS NOT NULL)")
    op.create_index("ux_archive_holder_id_fingerprint", "archive", ["holder_id", "fingerprint"], unique=True, postgresql_where=wanted)
    op.create_index("ux_archive_holder_id_is_linked_number", "archive", ["holder_id", is_linked, "number"], unique=True)
    op.create_index("ix_archive_user_id_created_at_id", "archive", ["user_id", sa.text("created_at DESC"), sa.text("id DESC")])
    op.create_index("ix_archive_status", "archive", ["status", "id"])
    op.create_table(
        "archive_file",
        sa.Column("archive_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("file_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("modified_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("crc32", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["archive_id"], ["archive.id"], name="fk_archive_file_archive_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("archive_id", "position", name="pk_archive_file"),
    )
    op.create_table(
        "share_archive_download",
        sa.Column("archive_id", sa.Uuid(), nullable=False),
        sa.Column("visitor", sa.String(64), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["archive_id"], ["archive.id"], name="fk_share_archive_download_archive_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("archive_id", "visitor", name="pk_share_archive_download"),
    )
    op.create_index("ix_share_archive_download_at", "share_archive_download", ["at"])


def downgrade() -> None:
    """Drop the tables. The archive objects in S3 are left without rows."""
    op.drop_table("share_archive_download")
    op.drop_table("archive_file")
    op.drop_table("archive")
