"""Models of API keys."""

from enum import StrEnum
from typing import Annotated
from uuid import UUID

from pydantic import Field, StringConstraints, field_validator

from lambda_app.models.accounts.api_keys import API_KEY_NAME_MAX_LENGTH
from lambda_app.schemas.base import RequestModel, ResponseModel, examples
from lambda_app.schemas.text import NOT_BLANK, ONE_LINE, Timestamp

API_KEY_MAX_DAYS = 3650


class Scope(StrEnum):
    """What an API key can be used for."""

    FILES_READ = "files:read"
    FILES_WRITE = "files:write"
    SHARES = "shares"
    EVENTS_READ = "events:read"
    """Read the events of the account, which include sign-ins."""
    ADMIN = "admin"
    """Everything that the owner can do, including changes of the account and, for a superuser, administration."""


class ApiKeyCreate(RequestModel):
    """A new API key."""

    model_config = examples(
        {"name": "backup script", "scopes": ["files:write"]}, {"name": "reports", "scopes": ["files:read", "shares"], "expires_in_days": 90}
    )

    name: Annotated[str, StringConstraints(strict=True, min_length=1, max_length=API_KEY_NAME_MAX_LENGTH), ONE_LINE, NOT_BLANK] = Field(
        description="A name by which the owner recognises the key."
    )
    scopes: list[Scope] = Field(min_length=1, max_length=len(Scope), description="What the key can be used for.")
    expires_in_days: int | None = Field(
        default=None, strict=True, ge=1, le=API_KEY_MAX_DAYS, description="Days until the key expires; null means never."
    )


class ApiKey(ResponseModel):
    """An API key. `hint` is the beginning of the key, by which its owner can recognise it."""

    id: UUID = Field(description="Id of the key, with which it is revoked.")
    name: str = Field(description="The name that the owner chose.")
    hint: str = Field(description="The beginning of the key, by which its owner can recognise it.")
    scopes: list[Scope] = Field(description="What the key can be used for.")
    created_at: Timestamp = Field(description="When it was created.")
    expires_at: Timestamp | None = Field(description="When the key expires; null means never.")
    last_used_at: Timestamp | None = Field(description="When the key was last used; null if never.")

    @field_validator("scopes", mode="before")
    @classmethod
    def _split(cls, value: str | list[Scope]) -> list[str] | list[Scope]:
        return value.split() if isinstance(value, str) else value


class NewApiKey(ApiKey):
    """A new API key. `key` appears in this response only."""

    key: str = Field(repr=False, description="The key. Only this response contains it.")
