"""Models of the administration endpoints."""

import json
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, field_validator

from lambda_app.schemas.base import ResponseModel
from lambda_app.schemas.text import Timestamp


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Filter for a list of events; None matches any value."""

    actor_id: UUID | None = None
    subject: str | None = None
    action: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    before_seq: int | None = None


class AuditEvent(ResponseModel):
    """An entry of the audit log."""

    seq: int
    at: Timestamp
    action: str
    actor_id: UUID | None
    credential: str | None
    subject: str | None
    details: dict[str, Any]
    source_address: str | None
    request_id: str | None
    hash: str

    @field_validator("details", mode="before")
    @classmethod
    def _parse(cls, value: Any) -> Any:
        return json.loads(value) if isinstance(value, str) else value or {}


class UserTotals(BaseModel):
    """Numbers of accounts."""

    total: int
    active: int
    superusers: int


class FileTotals(ResponseModel):
    """The number of files with one status, and their total size in bytes."""

    status: str
    files: int
    bytes: int


class DayTotal(BaseModel):
    """The number of uploads that were started on one day (UTC)."""

    day: date
    uploads: int


class Stats(BaseModel):
    """Totals over all accounts and files."""

    users: UserTotals
    files: list[FileTotals]
    uploads_by_day: list[DayTotal]
