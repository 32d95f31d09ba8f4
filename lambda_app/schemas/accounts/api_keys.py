"""Models of API keys."""

from enum import StrEnum
from typing import Annotated
from uuid import UUID

from pydantic import Field, StringConstraints, field_validator

from lambda_app.models.accounts.api_keys import API_KEY_NAME_MAX_LENGTH
from lambda_app.schemas.base import RequestModel, ResponseModel
from lambda_app.schemas.text import NOT_BLANK, ONE_LINE, Timestamp

API_KEY_MAX_DAYS = 3650


class Scope(StrEnum):
    """What an API key can be used for."""

    FILES_READ = "files:read"
    FILES_WRITE = "files:write"
    SHARES = "shares"
    ADMIN = "admin"
    """Everything that the owner can do, including changes of the account and, for a superuser, administration."""


class ApiKeyCreate(RequestModel):
    """A new API key."""

    name: Annotated[str, StringConstraints(strict=True, min_length=1, max_length=API_KEY_NAME_MAX_LENGTH), ONE_LINE, NOT_BLANK]
    scopes: list[Scope] = Field(min_length=1, max_length=len(Scope))
    expires_in_days: int | None = Field(default=None, strict=True, ge=1, le=API_KEY_MAX_DAYS)


class ApiKey(ResponseModel):
    """An API key. `hint` is the beginning of the key, by which its owner can recognise it."""

    id: UUID
    name: str
    hint: str
    scopes: list[Scope]
    created_at: Timestamp
    expires_at: Timestamp | None
    last_used_at: Timestamp | None

    @field_validator("scopes", mode="before")
    @classmethod
    def _split(cls, value: str | list[Scope]) -> list[str] | list[Scope]:
        return value.split() if isinstance(value, str) else value


class NewApiKey(ApiKey):
    """A new API key. `key` appears in this response only."""

    key: str = Field(repr=False)
