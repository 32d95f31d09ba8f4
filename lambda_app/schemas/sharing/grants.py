"""Models of grants."""

from typing import Self
from uuid import UUID

from pydantic import Field, model_validator

from lambda_app.models.sharing.grants import GrantRole
from lambda_app.schemas.accounts.users import Email
from lambda_app.schemas.base import RequestModel, ResponseModel, examples
from lambda_app.schemas.text import Timestamp


class GrantCreate(RequestModel):
    """A grant for one user, identified by id or by e-mail."""

    model_config = examples({"email": "grace@example.com"}, {"user_id": "b6c1d2e3-4f50-4a61-8b72-9c83ad94be05", "role": "editor"})

    user_id: UUID | None = Field(default=None, description="The user, unless `email` names one.")
    email: Email | None = Field(default=None, description="The e-mail address of the user's account.")
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

    file_id: UUID = Field(description="The file.")
    user_id: UUID = Field(description="The user who can access it.")
    email: str | None = Field(description="The address that the owner entered; null if the owner sent an id.")
    role: GrantRole = Field(description="What the user can do.")
    is_pending: bool = Field(description="True until the account confirms the address that the owner entered; the grant has no effect.")
    created_at: Timestamp = Field(description="When it was created.")
    updated_at: Timestamp = Field(description="When it was last changed.")
