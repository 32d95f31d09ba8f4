"""Re-encryption must find everything that the link key encrypts."""

from lambda_app.models import Base
from lambda_app.repositories.sharing.link_tokens import TOKEN_COLUMNS


def test_every_encrypted_column_is_encrypted_again() -> None:
    encrypted = {
        str(column)
        for table in Base.metadata.tables.values()
        for column in table.columns
        if column.name.startswith("encrypted_") or column.name == "totp_secret"
    }

    listed = [f"{column.class_.__tablename__}.{column.key}" for column in TOKEN_COLUMNS]

    assert set(listed) == encrypted
