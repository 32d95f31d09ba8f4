"""Models of invitations."""

from uuid import UUID

from pydantic import Field

from lambda_app.models.sharing.grants import GrantRole
from lambda_app.schemas.accounts.sessions import MailedToken
from lambda_app.schemas.accounts.users import Email, Password
from lambda_app.schemas.base import RequestModel, ResponseModel, examples
from lambda_app.schemas.text import Timestamp


class InvitationCreate(RequestModel):
    """The address to invite to create an account."""

    model_config = examples({"email": "ada@example.com"}, {"email": "grace@example.com"})

    email: Email = Field(description="The e-mail address to invite.")


class FileInvitationCreate(InvitationCreate):
    """The address with which a file is shared."""

    model_config = examples({"email": "ada@example.com"}, {"email": "grace@example.com", "role": "editor"})

    role: GrantRole = Field(
        default=GrantRole.VIEWER, description="A viewer can read the file; an editor can also change its name and description."
    )


class Invitation(ResponseModel):
    """An invitation that was not accepted yet. It does not tell whether the address has an account."""

    id: UUID = Field(description="Id of the invitation.")
    inviter_id: UUID = Field(description="The user who invited the address.")
    email: str = Field(description="The address that was invited.")
    file_id: UUID | None = Field(description="The file that is shared with the address; null for an invitation to create an account.")
    role: GrantRole | None = Field(description="The role on the file.")
    created_at: Timestamp = Field(description="When it was created.")
    sent_at: Timestamp = Field(description="When the newest mail was sent.")
    expires_at: Timestamp = Field(description="Until when the link in the mail is valid. A new mail extends it.")


class InvitationAcceptance(MailedToken):
    """The token from the link in a mail, and the password of the new account."""

    model_config = examples(
        {"token": "Yk3q9vXr0Zc1LdT7wPsN5uHbE8fJmA2gKoQiVxCy4Rt", "password": "correct horse battery staple"},
        {"token": "m8Tn2QxWc5Lr9KzB1vYdH7sJpF4gEoUa6iRyNtCkX3w"},
    )

    password: Password | None = Field(
        default=None, repr=False, description="The password of the new account. Not needed with the access token of an existing account."
    )
