"""Queries on upload tokens."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Insert, Select, Update, delete, exists, func, insert, or_, select, update
from sqlalchemy.orm import Session, make_transient
from sqlalchemy.sql.dml import ReturningDelete, ReturningUpdate

from lambda_app.core import clock
from lambda_app.db.session import own_transaction
from lambda_app.models import ApiKey, File, UploadToken, UploadTokenFile, User
from lambda_app.repositories.accounts.current_user import lock_current_user
from lambda_app.repositories.audit import audited_change, with_event
from lambda_app.repositories.statements import OWN_TRANSACTION, built_once, set_columns, table_of, typed_columns

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
            owner = lock_current_user(user_id=token.owner_id, token_epoch=token.token_epoch)
            if self._session.execute(*owner).one_or_none() is None:
                return False
            created = _add(tokens_max=tokens_max, now=clock.now(), **set_columns(token))
            details = {"expires_at": token.expires_at, "max_bytes": token.max_bytes, "max_files": token.max_files}
            return self._session.execute(*with_event(created, "upload_token.created", details=details)).scalar_one_or_none() is not None

    def list_for_user(self, user_id: UUID) -> list[UploadToken]:
        """Return the user's valid tokens, newest first."""
        return list(self._session.execute(*_list(user_id=user_id, now=clock.now())).scalars())

    def revoke(self, token_id: UUID, *, user_id: UUID) -> bool:
        """Revoke one of the user's valid tokens, audit it and commit; False if there is none. Lock order: token, end of the audit log."""
        revoked = with_event(_revoke(token_id=token_id, user_id=user_id, now=clock.now()), "upload_token.revoked")
        return self._session.execute(*revoked).scalar_one_or_none() is not None

    def get_with_owner(self, token_hash: str) -> tuple[UploadToken, User] | None:
        """Return a valid token and its active owner; None if it is unknown, revoked or expired, or its creator's credentials ended.

        The owner has no more power than another user: the token of a superuser reaches only the superuser's own files.
        """
        row = self._session.execute(*_with_owner(token_hash=token_hash, now=clock.now())).one_or_none()
        if row is None:
            return None
        token, owner = row
        # A transient object is never written back.
        make_transient(owner)
        owner.is_superuser = False
        return token, owner

    def reserve(self, token_id: UUID, *, size_bytes: int) -> bool:
        """Count an upload against the token's limits and commit; False if one of them does not suffice, or the token was revoked."""
        reserved = _reserve(token_id=token_id, size_bytes=size_bytes, now=clock.now())
        return self._session.execute(*reserved).scalar_one_or_none() is not None

    def release(self, token_id: UUID, *, size_bytes: int) -> None:
        """Give the bytes of an upload that did not start back to the token, and commit. Its file still counts."""
        self._session.execute(*_release(token_id=token_id, size_bytes=size_bytes))

    def link(self, token_id: UUID, file_id: UUID) -> None:
        """Record that the token started the file, and commit."""
        self._session.execute(*_link(token_id=token_id, file_id=file_id))

    def get_file(self, token_id: UUID, file_id: UUID, *, owner_id: UUID) -> File | None:
        """Return a file that the token started; None for all other files."""
        return self._session.execute(*_file(token_id=token_id, file_id=file_id, owner_id=owner_id)).scalar_one_or_none()

    def unlink(self, token_id: UUID, file_id: UUID) -> bool:
        """Forget that the token started the file, and commit; False if another request has done so."""
        return self._session.execute(*_unlink(token_id=token_id, file_id=file_id)).scalar_one_or_none() is not None

    def purge(self, *, expired_before: datetime) -> int:
        """Delete tokens that expired before this time, in transactions of their own; return how many."""
        total = 0
        while True:
            count = len(self._session.execute(*_purge(expired_before=expired_before)).all())
            total += count
            if count < PURGE_ROWS:
                return total


def _live(now: datetime) -> tuple[ColumnElement[bool], ...]:
    return UploadToken.revoked_at.is_(None), UploadToken.expires_at > now


@built_once
def _add(*, tokens_max: int, now: datetime, owner_id: UUID, **columns: Any) -> Select[UploadToken]:
    values = typed_columns(UploadToken, owner_id=owner_id, **columns)
    others = select(func.count()).select_from(UploadToken).where(UploadToken.owner_id == owner_id, *_live(now)).scalar_subquery()
    created = insert(UploadToken).from_select(list(values), select(*values.values()).where(others < tokens_max), include_defaults=False)
    return audited_change(created.returning(*UploadToken.__table__.c), UploadToken)


@built_once
def _list(*, user_id: UUID, now: datetime) -> Select[UploadToken]:
    query = select(UploadToken).where(UploadToken.owner_id == user_id, *_live(now))
    return query.order_by(UploadToken.created_at.desc(), UploadToken.id)


@built_once
def _revoke(*, token_id: UUID, user_id: UUID, now: datetime) -> Select[UploadToken]:
    change = update(UploadToken).where(UploadToken.id == token_id, UploadToken.owner_id == user_id, *_live(now)).values(revoked_at=now)
    statement = audited_change(change.returning(*UploadToken.__table__.c), UploadToken)
    return statement.execution_options(**OWN_TRANSACTION)


@built_once
def _with_owner(*, token_hash: str, now: datetime) -> Select[UploadToken, User]:
    is_live_key = (ApiKey.revoked_at.is_(None), or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > now))
    key_is_valid = exists().where(ApiKey.id == UploadToken.api_key_id, *is_live_key)
    query = select(UploadToken, User).join(User, User.id == UploadToken.owner_id).where(UploadToken.token_hash == token_hash, *_live(now))
    query = query.where(UploadToken.token_epoch == User.token_epoch, User.is_active, or_(UploadToken.api_key_id.is_(None), key_is_valid))
    return query.execution_options(populate_existing=True)


@built_once
def _reserve(*, token_id: UUID, size_bytes: int, now: datetime) -> ReturningUpdate[UUID]:
    statement = update(UploadToken).where(UploadToken.id == token_id, *_live(now), UploadToken.files_started < UploadToken.max_files)
    statement = statement.where(UploadToken.bytes_started + size_bytes <= UploadToken.max_bytes)
    statement = statement.values(bytes_started=UploadToken.bytes_started + size_bytes, files_started=UploadToken.files_started + 1)
    return statement.returning(UploadToken.id).execution_options(**OWN_TRANSACTION)


@built_once
def _release(*, token_id: UUID, size_bytes: int) -> Update:
    statement = update(UploadToken).where(UploadToken.id == token_id)
    statement = statement.values(bytes_started=func.greatest(0, UploadToken.bytes_started - size_bytes))
    return statement.execution_options(**OWN_TRANSACTION)


@built_once
def _link(*, token_id: UUID, file_id: UUID) -> Insert:
    statement = insert(table_of(UploadTokenFile)).values(upload_token_id=token_id, file_id=file_id)
    return statement.execution_options(**OWN_TRANSACTION)


@built_once
def _file(*, token_id: UUID, file_id: UUID, owner_id: UUID) -> Select[File]:
    query = select(File).join(UploadTokenFile, UploadTokenFile.file_id == File.id)
    query = query.where(UploadTokenFile.upload_token_id == token_id, File.id == file_id, File.owner_id == owner_id)
    return query.execution_options(populate_existing=True)


@built_once
def _unlink(*, token_id: UUID, file_id: UUID) -> ReturningDelete[UUID]:
    removed = delete(UploadTokenFile).where(UploadTokenFile.upload_token_id == token_id, UploadTokenFile.file_id == file_id)
    return removed.returning(UploadTokenFile.file_id).execution_options(**OWN_TRANSACTION)


@built_once
def _purge(*, expired_before: datetime) -> ReturningDelete[UUID]:
    expired = select(UploadToken.id).where(UploadToken.expires_at < expired_before).limit(PURGE_ROWS)
    statement = delete(UploadToken).where(UploadToken.id.in_(expired)).returning(UploadToken.id)
    return statement.execution_options(**OWN_TRANSACTION)
