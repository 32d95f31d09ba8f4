"""The lock on the caller's account, which excludes a concurrent takeover of the account by the owner of its address.

A takeover ends all credentials and closes what the account opened to others. A request that was authenticated before must not open
anything afterwards. So it locks the account before it commits, and compares `token_epoch`; the takeover locks the account too, and closes
what was committed before.
"""

from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.orm import Session

from lambda_app.core.errors import NotAuthenticatedError
from lambda_app.models import User
from lambda_app.repositories.statements import built_once


def is_current(user_id: Any, token_epoch: Any) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions on `User`: this account, enabled, with the credentials that authenticated the request."""
    return User.id == user_id, User.token_epoch == token_epoch, User.is_active.expression


def lock_current(session: Session, user_id: UUID, *, token_epoch: int) -> None:
    """Lock the account until the transaction ends. Raises NotAuthenticatedError if the credentials of the request have ended."""
    if session.execute(*lock_current_user(user_id=user_id, token_epoch=token_epoch)).one_or_none() is None:
        raise NotAuthenticatedError


@built_once
def lock_current_user(*, user_id: UUID, token_epoch: int) -> Select[UUID]:
    """Return the query of `lock_current`. It returns no row if the credentials have ended."""
    return select(User.id).where(*is_current(user_id, token_epoch)).with_for_update(key_share=True)
