"""What the server returns, as read-only data classes. Times are in UTC."""

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Self

_FIELDS: dict[type, tuple[tuple[str, bool], ...]] = {}


@dataclass(frozen=True, slots=True)
class Model:
    """Base class. Unknown fields of a newer server are ignored."""

    @classmethod
    def _fields(cls) -> tuple[tuple[str, bool], ...]:
        """Return name and whether it is a time, for each field."""
        if cls not in _FIELDS:
            _FIELDS[cls] = tuple((field.name, "datetime" in str(field.type)) for field in fields(cls))
        return _FIELDS[cls]

    @classmethod
    def of(cls, data: dict[str, Any]) -> Self:
        """Return the object for a parsed JSON object."""
        values = {}
        for name, is_time in cls._fields():
            value = data.get(name)
            values[name] = datetime.fromisoformat(value) if is_time and isinstance(value, str) else value
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        values = ((name, getattr(self, name)) for name, _ in self._fields())
        return {name: value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value for name, value in values}


@dataclass(frozen=True, slots=True)
class File(Model):
    """A file. Its bytes can be downloaded while `status` is `available`. `sha256` is in hex; None for a file that was sent in parts."""

    id: str
    filename: str
    content_type: str
    size_bytes: int
    sha256: str | None
    description: str | None
    is_public: bool
    status: str
    owner_id: str
    public_path: str | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Part(Model):
    """A part that the object store holds."""

    number: int
    size_bytes: int
    sha256: str | None


@dataclass(frozen=True, slots=True)
class PartPlan:
    """The parts of an unfinished upload: each has `part_size_bytes`, except the last. `parts` are those that the object store holds."""

    part_size_bytes: int
    part_count: int
    parts: list[Part]


@dataclass(frozen=True, slots=True)
class Share(Model):
    """A share link. `url` is None if it is revoked or the server cannot read the address any more."""

    id: str
    url: str | None
    slug: str | None
    file_ids: list[str]
    has_password: bool
    expires_at: datetime | None
    max_downloads: int | None
    download_count: int
    open_count: int
    audience: str
    allows_download: bool
    note: str | None
    created_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class FileRequest(Model):
    """A file request: a link through which people without an account upload files."""

    id: str
    url: str | None
    title: str
    note: str | None
    max_size_bytes: int
    max_files: int
    allowed_content_types: list[str] | None
    expires_at: datetime
    file_count: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class LinkedFile(Model):
    """A file of a share link. `download_url` is None if the link does not allow downloads."""

    id: str
    filename: str
    content_type: str
    size_bytes: int
    download_url: str | None


@dataclass(frozen=True, slots=True)
class Link:
    """An opened share link. `downloads_left` is None without a limit."""

    files: list[LinkedFile]
    note: str | None
    expires_at: datetime | None
    downloads_left: int | None
    allows_download: bool


@dataclass(frozen=True, slots=True)
class User(Model):
    """An account."""

    id: str
    email: str
    is_superuser: bool
    email_verified: bool


@dataclass(frozen=True, slots=True)
class Usage(Model):
    """What an account stores, and its quota."""

    bytes_used: int
    files_count: int
    quota_bytes: int
    quota_files: int
    bytes_left: int
    files_left: int
    trash_bytes: int


@dataclass(frozen=True, slots=True)
class ServerConfig(Model):
    """What the server offers, and its limits."""

    version: str
    registration_open: bool
    single_upload_max_bytes: int
    file_max_bytes: int
    part_min_bytes: int
    trash_retention_days: int
