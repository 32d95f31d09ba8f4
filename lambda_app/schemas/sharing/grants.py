"""Shapes of grants."""

from datetime import datetime
from typing import Self
from uuid import UUID

from pydantic import Field, model_validator

from lambda_app.models.sharing.grants import GrantRole
from lambda_app.schemas.accounts.users import Email
from lambda_app.schemas.base import RequestModel, ResponseModel


class GrantCreate(RequestModel):
    """Who may do what with the file; the user is named by id or by e-mail."""

    user_id: UUID | None = None
    email: Email | None = None
    role: GrantRole = Field(default=GrantRole.VIEWER, description="A viewer reads; an editor also changes name and description.")

    @model_validator(mode="after")
    def _names_one_user(self) -> Self:
        if (self.user_id is None) == (self.email is None):
            raise ValueError("exactly one of user_id and email is needed")
        return self


class Grant(ResponseModel):
    """One user's part in a file. `email` is what the owner named them by, if they did."""

    file_id: UUID
    user_id: UUID
    email: str | None
    role: GrantRole
    created_at: datetime
    updated_at: datetime
