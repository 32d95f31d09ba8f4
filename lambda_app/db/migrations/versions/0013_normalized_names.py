"""File names are searched and sorted in Unicode normalization form C, whichever form the client sent."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

NAME = 'lower(filename) COLLATE "C"'
NORMALIZED_NAME = 'lower(normalize(filename)) COLLATE "C"'


def upgrade() -> None:
    """Build both indexes on names again. This blocks writes to files, for about 40 s per million files. No row is changed."""
    _build_indexes(NORMALIZED_NAME)


def downgrade() -> None:
    """Build both indexes on the names as stored."""
    _build_indexes(NAME)


def _build_indexes(name: str) -> None:
    op.drop_index("ix_file_owner_id_name", "file")
    op.create_index("ix_file_owner_id_name", "file", ["owner_id", sa.text(name), "id"])
    op.drop_index("ix_file_name_trigrams", "file")
    op.create_index(
        "ix_file_name_trigrams",
        "file",
        [sa.text(f"trigrams({name})")],
        postgresql_using="gin",
        postgresql_with={"fastupdate": "off"},
    )
