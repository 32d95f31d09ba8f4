"""Queries on upload tokens."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, delete, exists, func, insert, literal, or_, select, update
from sqlalchemy.orm import Session, make_transient

from lambda_app.core import clock
from lambda_app.db.session import own_transaction
from lambda_app.models import ApiKey, File, UploadToken, UploadTokenFile, User
from lambda_app.repositories.audit import audited_change
from lambda_app.repositories.statements import OWN_TRANSACTION

PURGE_ROWS = 1000


class UploadTokenRepository:
    """Reads and writes the rows of `upload_token` and `upload_token_file`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, token: UploadToken, *, tokens_max: int) -> bool:
        """Insert the token, audit it and commit; False if its owner has `tokens_max` valid ones, or the owner's credentials have ended.

        Lock order: the user, the end of the audit log. The lock on the user makes the limit exact.
        """
        with own_transaction(self._session):
            owner = select(User.id).where(User.id == token.owner_id, User.token_epoch == token.token_epoch, User.is_active)
            if self._session.execute(owner.with_for_update(key_share=True)).one_or_none() is None:
                return False
            table = UploadToken.__table__
            names = [column.key for column in table.c if getattr(token, column.key) is not None]
            values = [literal(getattr(token, name), table.c[name].type) for name in names]
            others = select(func.count()).select_from(UploadToken).where(*_live_of(token.owner_id)).scalar_subquery()
            rows = select(*values).where(others < tokens_max)
            created = insert(UploadToken).from_select(names, rows, include_defaults=False).returning(*table.c)
            details = {"expires_at": token.expires_at, "max_bytes": token.max_bytes, "max_files": token.max_files}
            statement = audited_change(created, UploadToken, "upload_token.created", details=details)
            return self._session.execute(statement).scalar_one_or_none() is not None

    def list_for_user(self, user_id: UUID) -> list[UploadToken]:
        """Return the user's valid tokens, newest first."""
        query = select(UploadToken).where(*_live_of(user_id)).order_by(UploadToken.created_at.desc(), UploadToken.id)
        return list(self._session.execute(query).scalars())

    def revoke(self, token_id: UUID, *, user_id: UUID) -> bool:
        """Revoke one of the user's valid tokens, audit it and commit; False if there is none. Lock order: token, end of the audit log."""
        change = (
            update(UploadToken)
            .where(UploadToken.id == token_id, *_live_of(user_id))
            .values(revoked_at=clock.now())
            .returning(*UploadToken.__table__.c)
        )
        statement = audited_change(change, UploadToken, "upload_token.revoked").execution_options(**OWN_TRANSACTION)
        return self._session.execute(statement).scalar_one_or_none() is not None

    def get_with_owner(self, token_hash: str) -> tuple[UploadToken, User] | None:
        """Return a valid token and its active owner; None if it is unknown, revoked or expired, or its creator's credentials ended.

        The owner has no more power than another user: the token of a superuser reaches only the superuser's own files.
        """
        key_is_valid = exists().where(
            ApiKey.id == UploadToken.api_key_id,
            ApiKey.revoked_at.is_(None),
            or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > clock.now()),
        )
        query = (
            select(UploadToken, User)
            .join(User, User.id == UploadToken.owner_id)
            .where(
                UploadToken.token_hash == token_hash,
                *_live(),
                UploadToken.token_epoch == User.token_epoch,
                User.is_active,
                or_(UploadToken.api_key_id.is_(None), key_is_valid),
            )
        )
        row = self._session.execute(query.execution_options(populate_existing=True)).one_or_none()
        if row is None:
            return None
        token, owner = row
        # A transient object is never written back.
        make_transient(owner)
        owner.is_superuser = False
        return token, owner

    def reserve(self, token_id: UUID, *, size_bytes: int) -> bool:
        """Count an upload against the token's limits and commit; False if one of them does not suffice, or the token was revoked."""
        statement = (
            update(UploadToken)
            .where(
                UploadToken.id == token_id,
                *_live(),
                UploadToken.bytes_started + size_bytes <= UploadToken.max_bytes,
                UploadToken.files_started < UploadToken.max_files,
            )
            .values(bytes_started=UploadToken.bytes_started + size_bytes, files_started=UploadToken.files_started + 1)
            .returning(UploadToken.id)
        )
        return self._session.execute(statement.execution_options(**OWN_TRANSACTION)).scalar_one_or_none() is not None

    def release(self, token_id: UUID, *, size_bytes: int) -> None:
        """Give the bytes of an upload that did not start back to the token, and commit. Its file still counts."""
        statement = update(UploadToken).where(UploadToken.id == token_id)
        statement = statement.values(bytes_started=func.greatest(0, UploadToken.bytes_started - size_bytes))
        self._session.execute(statement.execution_options(**OWN_TRANSACTION))

    def link(self, token_id: UUID, file_id: UUID) -> None:
        """Record that the token started the file, and commit."""
        statement = insert(UploadTokenFile).values(upload_token_id=token_id, file_id=file_id)
        self._session.execute(statement.execution_options(**OWN_TRANSACTION))

    def get_file(self, token_id: UUID, file_id: UUID, *, owner_id: UUID) -> File | None:
        """Return a file that the token started; None for all other files."""
        query = (
            select(File)
            .join(UploadTokenFile, UploadTokenFile.file_id == File.id)
            .where(UploadTokenFile.upload_token_id == token_id, File.id == file_id, File.owner_id == owner_id)
        )
        return self._session.execute(query.execution_options(populate_existing=True)).scalar_one_or_none()

    def unlink(self, token_id: UUID, file_id: UUID) -> bool:
        """Forget that the token started the file, and commit; False if another request has done so."""
        removed = delete(UploadTokenFile).where(UploadTokenFile.upload_token_id == token_id, UploadTokenFile.file_id == file_id)
        statement = removed.returning(UploadTokenFile.file_id)
        return self._session.execute(statement.execution_options(**OWN_TRANSACTION)).scalar_one_or_none() is not None

    def purge(self, *, expired_before: datetime) -> int:
        """Delete tokens that expired before this time, in transactions of their own; return how many."""
        total = 0
        while True:
            expired = select(UploadToken.id).where(UploadToken.expires_at < expired_before).limit(PURGE_ROWS)
            statement = delete(UploadToken).where(UploadToken.id.in_(expired)).returning(UploadToken.id)
            count = len(self._session.execute(statement.execution_options(**OWN_TRANSACTION)).all())
            total += count
            if count < PURGE_ROWS:
                return total


def _live() -> tuple[ColumnElement[bool], ...]:
    return UploadToken.revoked_at.is_(None), UploadToken.expires_at > clock.now()


def _live_of(owner_id: UUID) -> tuple[ColumnElement[bool], ...]:
    return UploadToken.owner_id == owner_id, *_live()
