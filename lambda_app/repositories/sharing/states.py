"""The condition for a share link or file request to be in a state."""

from typing import Any

from sqlalchemy import ColumnElement, and_, or_

from lambda_app.models import FileRequest, Share
from lambda_app.schemas.sharing.states import LinkState


def in_state(link: type[Share] | type[FileRequest], state: LinkState, *, at: Any) -> ColumnElement[bool]:
    """The links that are in this state at this time."""
    match state:
        case LinkState.ACTIVE:
            return and_(link.revoked_at.is_(None), or_(link.expires_at.is_(None), link.expires_at > at))
        case LinkState.EXPIRED:
            return and_(link.revoked_at.is_(None), link.expires_at <= at)
        case LinkState.REVOKED:
            return link.revoked_at.is_not(None)
