"""The names of the actors and subjects of audit events, for people who read them."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from sqlalchemy import CompoundSelect, String, cast, func, literal, select, union_all
from sqlalchemy.orm import Session

from lambda_app.models import ApiKey, Archive, File, FileRequest, Invitation, Share, User
from lambda_app.repositories.statements import built_once

# The kind of a subject, its table, its name, and its owner.
_NAMED: tuple[tuple[str, Any, Any, Any], ...] = (
    ("user", User, User.email, User.id),
    ("file", File, File.filename, File.owner_id),
    ("share", Share, func.coalesce(Share.slug, Share.note), Share.owner_id),
    ("file_request", FileRequest, FileRequest.title, FileRequest.owner_id),
    ("api_key", ApiKey, ApiKey.name, ApiKey.user_id),
    ("archive", Archive, Archive.filename, Archive.user_id),
    ("invitation", Invitation, Invitation.email, Invitation.inviter_id),
)


class AuditNameRepository:
    """Finds the names of one page of events in one query, by primary keys."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def find(self, subjects: Iterable[str], *, of_owner: UUID | None = None) -> dict[str, str]:
        """Return the current names of those subjects that still exist, by subject (`file:<id>`).

        With `of_owner`, only of what belongs to this user: others may have renamed a file after the user lost access to it.
        """
        ids: dict[str, set[UUID]] = {}
        for subject in subjects:
            kind, _, text = subject.partition(":")
            if (row_id := _uuid(text)) is not None:
                ids.setdefault(kind, set()).add(row_id)
        kinds = tuple(kind for kind, *_ in _NAMED if kind in ids)
        if not kinds:
            return {}
        found = _names(kinds, of_owner=of_owner, **{f"{kind}_ids": sorted(ids[kind]) for kind in kinds})
        return {row[0]: row[1] for row in self._session.execute(*found) if row[1]}


@built_once
def _names(kinds: tuple[str, ...], *, of_owner: UUID | None, **ids: list[UUID]) -> CompoundSelect[str, str]:
    queries = []
    for kind, model, name, owner in _NAMED:
        if kind in kinds:
            query = select(func.concat(literal(f"{kind}:"), model.id).label("subject"), cast(name, String).label("name"))
            query = query.where(model.id.in_(ids[f"{kind}_ids"]))
            queries.append(query if of_owner is None else query.where(owner == of_owner))
    return union_all(*queries)


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
