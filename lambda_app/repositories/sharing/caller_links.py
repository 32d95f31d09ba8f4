"""The download of a file through a link in one statement, which authenticates the caller, if there is one, decides, counts and audits.

It compiles `grant_statement` and `resume_statement` once, which have the rules and the lock order.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache, partial
from types import SimpleNamespace
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Text, cast, exists, func, null, select, true
from sqlalchemy.exc import IntegrityError

from lambda_app.core.security.share_tokens import ShareToken
from lambda_app.db.compiled import CompiledStatement, StatementRunner, parameter
from lambda_app.db.session import violated_constraint
from lambda_app.models import AuditEvent, File, Share, ShareDownload, User
from lambda_app.repositories.accounts.callers import (
    CALLER_COLUMNS,
    Caller,
    Credential,
    CredentialKind,
    caller_of,
    credential_name,
    may,
    select_caller,
)
from lambda_app.repositories.audit import audit_details, audit_parameters, compiled_audit_entry
from lambda_app.repositories.files.caller_files import DownloadableFile
from lambda_app.repositories.files.file_access import AccessContext
from lambda_app.repositories.sharing.share_links import (
    REPEAT_WITHIN,
    RESUME_WITHIN,
    DownloadStatement,
    FileDownload,
    LinkAddress,
    grant_statement,
    resume_statement,
)
from lambda_app.schemas.accounts.api_keys import Scope

_TIME = ShareDownload.at.type


class _Shape(NamedTuple):
    """What distinguishes one statement from another."""

    is_resumption: bool
    kind: CredentialKind | None
    """None: an anonymous caller."""
    has_proven_user: bool
    """Whether the share token names a user, who counts where no caller is signed in."""
    has_proven_password: bool


class GrantedFile(NamedTuple):
    """The caller, and the file if the visitor may download it."""

    caller: Caller | None
    file: DownloadableFile | None
    is_open: bool = False
    """Whether the link was open for the download when the statement began."""
    is_rolled_back: bool = False


class CallerLinkRepository:
    """Grants downloads through links to visitors that are authenticated by the same statement."""

    def __init__(self, runner: StatementRunner) -> None:
        self._runner = runner

    def grant(
        self,
        address: str,
        file_id: UUID,
        *,
        at: datetime,
        proven: ShareToken | None,
        credential: Credential | None,
        visitor: str,
        is_resumption: bool,
    ) -> GrantedFile:
        """Count and audit a download, or audit one that is resumed, and commit."""
        shape = _Shape(
            is_resumption,
            None if credential is None else credential.kind,
            has_proven_user=credential is None and proven is not None and proven.user_id is not None,
            has_proven_password=proven is not None and proven.password_version is not None,
        )
        token_hash, slug = LinkAddress.of(address)
        parameters = {
            **audit_parameters(),
            "token_hash": token_hash,
            "slug": slug,
            "file_id": file_id,
            "now": at,
            "visitor": visitor,
            "granted_after": at - (RESUME_WITHIN if is_resumption else REPEAT_WITHIN),
            "details": audit_details({"file_id": file_id}),
        }
        if proven is not None:
            parameters |= {f"proven_{name}": getattr(proven, name) for name in _PROVEN}
        if credential is not None:
            parameters |= credential.parameters
        try:
            granted = self._run(shape, parameters)
            # A concurrent request of the same visitor counted first. The second attempt finds a repeat.
            return self._run(shape, parameters) if granted.is_open and granted.file is None else granted
        except IntegrityError as error:
            if violated_constraint(error) != FileDownload.deleted_constraint:
                raise
            # The file was deleted concurrently. The statement was rolled back, so nothing was counted, and it is open who the caller is.
            return GrantedFile(None, None, is_rolled_back=True)

    def _run(self, shape: _Shape, parameters: Mapping[str, Any]) -> GrantedFile:
        rows = self._runner.run(_statement(shape), parameters)
        if not rows:
            return GrantedFile(None, None)
        caller = None if shape.kind is None else caller_of(rows)
        *file, link_id = rows[0] if shape.kind is None else rows[0][CALLER_COLUMNS:]
        return GrantedFile(caller, None if file[0] is None else DownloadableFile(*file), is_open=link_id is not None)


_PROVEN = ("share_id", "password_version", "user_id", "token_epoch")


def _build(shape: _Shape) -> Select[Any]:
    columns = [getattr(File, name) for name in DownloadableFile._fields]
    at = parameter("now", _TIME)
    proven = _proven(shape)
    if shape.kind is None:
        user_id = parameter("proven_user_id", User.id.type) if shape.has_proven_user else cast(null(), AuditEvent.actor_id.type)
        share_id = parameter("proven_share_id", Share.id.type)
        name = func.concat("share_pass:", share_id) if shape.has_proven_user else cast(null(), Text)
        return _download(shape, AccessContext(at, None, proven), actor_id=user_id, credential=name).select(*columns)
    caller = select_caller(shape.kind, may(shape.kind, Scope.FILES_READ).label("may_open")).cte("caller")
    user = SimpleNamespace(id=_value(caller.c.id), token_epoch=_value(caller.c.token_epoch))
    statement = _download(
        shape,
        AccessContext(at, user, proven),
        actor_id=user.id,
        credential=select(credential_name(shape.kind, caller)).select_from(caller).correlate(None).scalar_subquery(),
        conditions=[exists(select(caller.c.id).where(caller.c.may_open))],
    )
    found = statement.rows(*columns).subquery("found")
    query = select(*list(caller.c)[:CALLER_COLUMNS], *found.c).select_from(caller.outerjoin(found, true()))
    return query.add_cte(*statement.parts)


def _value(column: ColumnElement[Any]) -> ColumnElement[Any]:
    return select(column).correlate(None).scalar_subquery()


def _download(shape: _Shape, access: AccessContext, *, actor_id: Any, credential: Any, conditions: Sequence[Any] = ()) -> DownloadStatement:
    def entry(action: str) -> Mapping[str, Any]:
        details = parameter("details", AuditEvent.details.type)
        return compiled_audit_entry(action, actor_id=actor_id, credential=credential, details=details)

    download = FileDownload(parameter("file_id", File.id.type))
    address = LinkAddress(parameter("token_hash", Share.token_hash.type), parameter("slug", Share.slug.type))
    visitor, after = parameter("visitor", ShareDownload.visitor.type), parameter("granted_after", _TIME)
    if shape.is_resumption:
        return resume_statement(download, address, access, visitor=visitor, granted_after=after, conditions=conditions, entry=entry)
    return grant_statement(download, address, access, visitor=visitor, repeated_after=after, conditions=conditions, entry=entry)


def _proven(shape: _Shape) -> ShareToken | None:
    if not shape.has_proven_user and not shape.has_proven_password:
        return None
    claims: dict[str, Any] = {"share_id": parameter("proven_share_id", Share.id.type)}
    if shape.has_proven_user:
        claims["user_id"] = parameter("proven_user_id", User.id.type)
        claims["token_epoch"] = parameter("proven_token_epoch", User.token_epoch.type)
    if shape.has_proven_password:
        claims["password_version"] = parameter("proven_password_version", Share.password_version.type)
    return ShareToken(**claims)


@cache
def _statement(shape: _Shape) -> CompiledStatement:
    return CompiledStatement(partial(_build, shape))


def link_statements() -> list[CompiledStatement]:
    """Return the statements of visitors without a share token, to compile them before they are needed."""
    kinds = (None, CredentialKind.SESSION)
    return [_statement(_Shape(False, kind, has_proven_user=False, has_proven_password=False)) for kind in kinds]
