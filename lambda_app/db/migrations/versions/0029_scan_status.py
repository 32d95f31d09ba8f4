"""The result of the malware scan of each file. The default of an added column is not written to the rows, so that this takes no time."""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

STATUSES = "'none', 'pending', 'clean', 'infected', 'unscannable'"


def upgrade() -> None:
    """Add the columns, and the index of the files that a scan withholds."""
    op.add_column("file", sa.Column("scan_status", sa.String(12), server_default="none", nullable=False))
    op.add_column("file", sa.Column("is_withheld", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.create_check_constraint(op.f("ck_file_scan_status"), "file", f"scan_status IN ({STATUSES})")
    op.create_index(
        "ix_file_withheld",
        "file",
        [sa.text("created_at DESC"), sa.text("id DESC")],
        postgresql_where=sa.text("is_withheld AND scan_status <> 'pending'"),
    )


def downgrade() -> None:
    """Remove them."""
    op.drop_index("ix_file_withheld", "file")
    op.drop_constraint(op.f("ck_file_scan_status"), "file")
    op.drop_column("file", "is_withheld")
    op.drop_column("file", "scan_status")
