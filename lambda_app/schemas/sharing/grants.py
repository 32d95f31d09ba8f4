"""Models of grants."""

from typing import Self
from uuid import UUID

from pydantic import Field, model_validator

from lambda_app.models.sharing.grants import GrantRole
from lambda_app.schemas.accounts.users import Email
from lambda_app.schemas.base import RequestModel, ResponseModel
from lambda_app.schemas.text import Timestamp


class GrantCreate(RequestModel):
    """A grant for one user, identified by id or by e-mail."""

    user_id: UUID | None = None
    email: Email | None = None
    role: GrantRole = Field(
        default=GrantRole.VIEWER, description="A viewer can read the file; an editor can also change its name and description."
    )

    @model_validator(mode="after")
    def _names_one_user(self) -> Self:
        if (self.user_id is None) == (self.email is None):
            raise ValueError("send either user_id or email")
        return self


class Grant(ResponseModel):
    """A user's access to a file. `email` is the address that the owner entered, if the owner identified the user by e-mail."""

    file_id: UUID
    user_id: UUID
    email: str | None
    role: GrantRole
    is_pending: bool = Field(description="True until the account confirms the address that the owner entered; the grant has no effect.")
    created_at: Timestamp
    updated_at: Timestamp
