"""Quotas, multipart uploads, trash, idempotency keys, and an index for each way of listing files."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

STATUSES = "'pending', 'available', 'rejected', 'expired', 'deleting'"
CHARGED = "'pending', 'available'"


def upgrade() -> None:
    """Add the columns and tables of the file lifecycle, and charge existing files to the quota of their owners."""
    _upgrade_users()
    _upgrade_files()
    op.create_table(
        "idempotency_key",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("route", sa.String(64), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("resource_id", sa.Uuid(), nullable=False),
        sa.Column("is_done", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("locked_until", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name="fk_idempotency_key_user_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", "route", "key", name="pk_idempotency_key"),
    )
    op.create_index("ix_idempotency_key_created_at", "idempotency_key", ["created_at"])
    op.create_table(
        "sweep_position",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("after_key", sa.String(1024), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_sweep_position"),
    )


def _upgrade_users() -> None:
    op.add_column("user", sa.Column("bytes_used", sa.BigInteger(), server_default=sa.text("0"), nullable=False))
    op.add_column("user", sa.Column("files_count", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.add_column("user", sa.Column("quota_bytes", sa.BigInteger(), nullable=True))
    op.add_column("user", sa.Column("quota_files", sa.Integer(), nullable=True))
    op.create_check_constraint("ck_user_usage", "user", "bytes_used >= 0 AND files_count >= 0")
    op.execute(
        f"""UPDATE "user" SET bytes_used = charged.bytes, files_count = charged.files
        FROM (
            SELECT owner_id, sum(size_bytes) AS bytes, count(*) AS files FROM file WHERE status IN ({CHARGED}) GROUP BY owner_id
        ) AS charged
        WHERE "user".id = charged.owner_id"""  # noqa: S608  # built from constants
    )


def _upgrade_files() -> None:
    op.add_column("file", sa.Column("upload_id", sa.String(1024), nullable=True))
    op.add_column("file", sa.Column("part_size_bytes", sa.BigInteger(), nullable=True))
    op.add_column("file", sa.Column("has_part_digests", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.add_column("file", sa.Column("detected_content_type", sa.String(100), nullable=True))
    op.add_column("file", sa.Column("purge_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("file", sa.Column("revision", sa.Integer(), server_default=sa.text("1"), nullable=False))
    op.drop_constraint("ck_file_status", "file")
    op.create_check_constraint("ck_file_status", "file", "status IN ('pending', 'available', 'trashed', 'rejected', 'expired', 'deleting')")
    newest_first = (sa.text("created_at DESC"), sa.text("id DESC"))
    op.create_index("ix_file_owner_id_status", "file", ["owner_id", "status", *newest_first])
    op.create_index("ix_file_owner_id_name", "file", ["owner_id", sa.text('lower(filename) COLLATE "C"'), "id"])
    op.create_index("ix_file_owner_id_content_type", "file", ["owner_id", sa.text('content_type COLLATE "C"'), *newest_first])
    op.create_index("ix_file_owner_id_size_bytes", "file", ["owner_id", "size_bytes", "id"])
    op.create_index("ix_file_created_at_id", "file", [*newest_first])
    op.create_index(
        "ix_file_unfinished",
        "file",
        ["status", "id"],
        postgresql_where=sa.text("status IN ('pending', 'trashed', 'rejected', 'expired', 'deleting')"),
    )


def downgrade() -> None:
    """Drop all of it. Files in the trash become available, because the older version has no trash."""
    op.drop_table("sweep_position")
    op.drop_table("idempotency_key")
    op.execute("UPDATE file SET status = 'available' WHERE status = 'trashed'")
    for index in ("unfinished", "created_at_id", "owner_id_size_bytes", "owner_id_content_type", "owner_id_name", "owner_id_status"):
        op.drop_index(f"ix_file_{index}", "file")
    op.drop_constraint("ck_file_status", "file")
    op.create_check_constraint("ck_file_status", "file", f"status IN ({STATUSES})")
    for column in ("revision", "purge_at", "detected_content_type", "has_part_digests", "part_size_bytes", "upload_id"):
        op.drop_column("file", column)
    op.drop_constraint("ck_user_usage", "user")
    for column in ("quota_files", "quota_bytes", "files_count", "bytes_used"):
        op.drop_column("user", column)
