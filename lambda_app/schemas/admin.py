"""Models of the administration endpoints."""

import json
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field, field_validator

from lambda_app.schemas.base import ResponseModel
from lambda_app.schemas.text import Timestamp

STATS_DAYS = 30
"""Days of the statistics, if the caller names no number."""
STATS_DAYS_MAX = 90
"""Days for which the counts of hours are kept."""


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

    seq: int = Field(description="Number of the event, without gaps.")
    at: Timestamp = Field(description="When it happened.")
    action: str = Field(description="What happened, for example `file.deleted`.")
    actor_id: UUID | None = Field(description="The user who did it; null for the system and for guests.")
    actor_name: str | None = Field(default=None, description="The e-mail address of the actor; null if the account is deleted.")
    credential: str | None = Field(description="The credential that was used, for example `session:<id>`.")
    subject: str | None = Field(description="What it was about, for example `file:<id>`.")
    subject_name: str | None = Field(
        default=None, description="Its current name: an address, a file name, a title. Null if it has none or is deleted."
    )
    details: dict[str, Any] = Field(description="Further facts, by action.")
    source_address: str | None = Field(description="Network address of the request.")
    request_id: str | None = Field(description="Id of the request.")
    hash: str = Field(description="Hash of this event and the one before, in hex.")

    @field_validator("details", mode="before")
    @classmethod
    def _parse(cls, value: Any) -> Any:
        return json.loads(value) if isinstance(value, str) else value or {}


class OwnAuditEvent(ResponseModel):
    """An event that the caller caused, or that is about the caller's account."""

    seq: int = Field(description="Number of the event.")
    at: Timestamp = Field(description="When it happened.")
    action: str = Field(description="What happened, for example `file.deleted`.")
    is_own: bool = Field(
        description="Whether the caller did it. Otherwise an administrator, the system, or a person who was not signed in."
    )
    credential: str | None = Field(description="The credential of the caller, for example `session:<id>`; null for events of others.")
    subject: str | None = Field(description="What it was about, for example `file:<id>`.")
    subject_name: str | None = Field(description="Its current name, if it belongs to the caller.")
    details: dict[str, Any] = Field(description="Further facts, by action.")
    source_address: str | None = Field(description="Network address of the request, for events of the caller.")
    network: str | None = Field(
        description="The network from which the request came, as a prefix such as `203.0.113.0/24`; null for events of other users."
    )


class UserTotals(BaseModel):
    """Numbers of accounts."""

    total: int = Field(description="All accounts.")
    active: int = Field(description="Accounts that can sign in.")
    superusers: int = Field(description="Superusers.")


class FileTotals(ResponseModel):
    """The number of files with one status, and their total size in bytes."""

    status: str = Field(description="The status.")
    files: int = Field(description="Number of files with the status.")
    bytes: int = Field(description="Their total size.")


class DayTotal(BaseModel):
    """The number of uploads that were started on one day (UTC)."""

    day: date = Field(description="The day, in UTC.")
    uploads: int = Field(description="Number of uploads that were started.")


class DayTraffic(ResponseModel):
    """Uploads, downloads and storage of one day (UTC)."""

    day: date = Field(description="The day, in UTC.")
    uploads: int = Field(description="Number of uploads that were started.")
    uploaded_bytes: int | None = Field(
        description="Declared size of these uploads; null if an earlier version counted some of them, without their size."
    )
    downloads: int | None = Field(
        description="Downloads by share links in the hours that have been counted; null if an earlier version counted some of them."
    )
    stored_bytes: int | None = Field(
        description="Bytes that all users were charged for when hours of this day were last counted; null if that was not recorded."
    )


class Stats(BaseModel):
    """Totals over all accounts and files."""

    users: UserTotals = Field(description="How many accounts there are.")
    files: list[FileTotals] = Field(description="Totals of the files, by status.")
    uploads_by_day: list[DayTotal] = Field(
        description="Uploads of today and the days before it, oldest day first. Days without uploads are absent."
    )
    traffic_by_day: list[DayTraffic] = Field(
        description="Traffic of today and the days before it, oldest day first. Days of which nothing is known are absent."
    )
