"""Tombstones: files that ended while a presigned URL could still store their object."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the table, and the counter of deleted bytes.

    Uploads that ended before the migration have no tombstone; the sweep deletes their objects as orphans.
    """
    op.create_table(
        "tombstone",
        sa.Column("file_id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("charged_until", TIME, nullable=True),
        sa.Column("expires_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("file_id", name="pk_tombstone"),
    )
    op.create_index(
        "ix_tombstone_owner_id_charged_until",
        "tombstone",
        ["owner_id", "charged_until"],
        postgresql_where=sa.text("charged_until IS NOT NULL"),
    )
    op.create_index("ix_tombstone_expires_at", "tombstone", ["expires_at"])
    # A constant default does not rewrite the table.
    op.add_column("user", sa.Column("deleted_bytes", sa.BigInteger(), server_default=sa.text("0"), nullable=False))
    op.add_column("user", sa.Column("deleted_bytes_at", TIME, nullable=True))


def downgrade() -> None:
    """End the charges of the tombstones, and drop the table and the counter."""
    op.execute(
        """UPDATE "user" SET bytes_used = bytes_used - charged.bytes, files_count = files_count - charged.files
        FROM (
            SELECT owner_id, sum(size_bytes) AS bytes, count(*) AS files FROM tombstone WHERE charged_until IS NOT NULL GROUP BY owner_id
        ) AS charged
        WHERE "user".id = charged.owner_id"""
    )
    op.drop_table("tombstone")
    op.drop_column("user", "deleted_bytes_at")
    op.drop_column("user", "deleted_bytes")
