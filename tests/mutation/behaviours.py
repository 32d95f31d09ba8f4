"""What functions do without their guards: each gets the original function first, and then what the caller passes."""

import sys
import unicodedata
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from sqlalchemy import CTE, ColumnElement, Select, false, select, true
from sqlalchemy.orm import aliased
from starlette.requests import HTTPConnection
from starlette.responses import Response

from lambda_app.core.errors import AppError, NotAuthenticatedError
from lambda_app.core.security.keys import FORCED_FETCH_SECONDS, KeyRing, SigningKeys
from lambda_app.core.security.passwords import PASSWORD_MAX_LENGTH, PasswordHasher
from lambda_app.dependencies.auth import BearerScheme
from lambda_app.models import Archive, File, ShareArchiveDownload, ShareDownload, User
from lambda_app.repositories.accounts.users import UserRepository
from lambda_app.repositories.files.sweep import SweepRepository
from lambda_app.repositories.sharing.recipient_lookup import FoundRecipients
from lambda_app.services.files import sweep
from lambda_app.storage.object_store import ListedUpload, StoredObject


def without_header(name: str) -> Callable[..., dict[str, str]]:
    return lambda headers, **fields: {other: value for other, value in headers(**fields).items() if other != name}


def listed_without_a_digest(_: Callable[..., bool], __: Any, file: File) -> bool:
    return file.content_type == "application/octet-stream"


def any_size(is_as_declared: Callable[..., bool], file: File, stored: StoredObject, crc64nvme: str | None) -> bool:
    return is_as_declared(file, replace(stored, size_bytes=file.size_bytes), crc64nvme)


def any_digest(is_as_declared: Callable[..., bool], file: File, stored: StoredObject, crc64nvme: str | None) -> bool:
    return is_as_declared(file, replace(stored, sha256=file.sha256), crc64nvme)


def show_all(visible: Callable[[str], str], character: str) -> str:
    return character if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") else visible(character)


def list_in_a_year(list_overdue: Callable[..., list[File]], self: SweepRepository, now: datetime, **page: Any) -> list[File]:
    return list_overdue(self, now + timedelta(days=365), **page)


def abort_orphans_at_once(abort_orphans: Callable[..., None], self: sweep._Run, uploads: list[ListedUpload]) -> None:
    abort_orphans(replace(self, orphan_min_age=timedelta(0)), uploads)


def keep_old_keys(fetched: Callable[[SigningKeys], KeyRing], self: SigningKeys) -> KeyRing:
    ring = self._ring
    try:
        return fetched(self)
    except AppError:
        if ring is None:
            raise
        return ring


def fetch_whenever_forced(read: Callable[..., KeyRing], self: SigningKeys, max_age_seconds: float) -> KeyRing:
    return read(self, 0 if max_age_seconds == FORCED_FETCH_SECONDS else max_age_seconds)


def take_broken_for_none(read: Callable[..., str | None], self: BearerScheme, request: HTTPConnection) -> str | None:
    try:
        return read(self, request)
    except NotAuthenticatedError:
        return None


def admit_every_lookup(find: Callable[..., FoundRecipients], *arguments: Any, **keywords: Any) -> FoundRecipients:
    return replace(find(*arguments, **keywords), is_admitted=True)


def count_tries_alike(
    count_guest_upload: Callable[..., CTE], sources: Sequence[str], rows: CTE, *, reveals_quota: Any, now: datetime
) -> CTE:
    return count_guest_upload(sources, rows, reveals_quota=false(), now=now)


def count_by_link(new_archive: Callable[..., Archive], files: Sequence[File], **fields: Any) -> Archive:
    return new_archive(files, **fields | {"holder_id": fields["share_id"] or fields["holder_id"]})


def connect_anywhere(policy: Callable[[str], str], bucket_url: str) -> str:
    return policy(bucket_url).replace(f"connect-src 'self' {bucket_url}/", "connect-src *")


def refuse_unknown_at_once(verify: Callable[..., bool], self: PasswordHasher, password: str, hashed_password: str | None) -> bool:
    can_match = hashed_password is not None and len(password) <= PASSWORD_MAX_LENGTH
    return can_match and verify(self, password, hashed_password)


def echo(field_problems: Callable[..., list[dict[str, Any]]], errors: Sequence[Any]) -> list[dict[str, Any]]:
    return [problem | {"msg": str(error)} for problem, error in zip(field_problems(errors), errors, strict=False)]


def raise_on(problem_response: Callable[..., Response], **fields: Any) -> Response:
    error = sys.exc_info()[1]
    if error is not None and not isinstance(error, AppError):
        raise error
    return problem_response(**fields)


def log_path(log_access: Callable[..., None], scope: Mapping[str, Any], *arguments: Any, **keywords: Any) -> None:
    log_access({**scope, "route": SimpleNamespace(path=scope["path"])}, *arguments, **keywords)


def grant_to_all(table: type[ShareDownload] | type[ShareArchiveDownload]) -> Callable[..., ColumnElement[bool]]:
    """Compare the visitor with themselves."""
    return lambda was_granted, download, _visitor, *, after: was_granted(download, table.visitor, after=after)


def offer_by_current_role(offered_by: Callable[..., ColumnElement[bool]], link: Any) -> ColumnElement[bool]:
    return offered_by(SimpleNamespace(owner_id=link.owner_id, needs_superuser=true()))


def keep_sessions_on_role_change(
    update: Callable[..., User], self: UserRepository, user_id: UUID, changes: Mapping[str, Any], *, ends_sessions: bool, **event: Any
) -> User:
    return update(self, user_id, changes, ends_sessions=ends_sessions and "is_superuser" not in changes, **event)


def change_without_event(_: Callable[..., Any], change: Any, model: type[Any], *_action: Any, **_details: Any) -> Select[Any]:
    return select(aliased(model, change.cte("changed")))


async def refuse_nothing(_refusal_before: Callable[..., Awaitable[AppError | None]], _request: HTTPConnection) -> None:
    return None
