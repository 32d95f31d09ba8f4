"""Shapes of what administrators see."""

import json
from datetime import date, datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, field_validator

from lambda_app.schemas.base import ResponseModel


class AuditEvent(ResponseModel):
    """Who did what to what, from where, when."""

    seq: int
    at: datetime
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
        return json.loads(value) if isinstance(value, str) else value


class UserTotals(BaseModel):
    """How many accounts there are."""

    total: int
    active: int
    superusers: int


class FileTotals(ResponseModel):
    """How many files of one state there are, and their bytes."""

    status: str
    files: int
    bytes: int


class DayTotal(BaseModel):
    """How many uploads were started on one day (UTC)."""

    day: date
    uploads: int


class Stats(BaseModel):
    """The whole in numbers."""

    users: UserTotals
    files: list[FileTotals]
    uploads_by_day: list[DayTotal]
