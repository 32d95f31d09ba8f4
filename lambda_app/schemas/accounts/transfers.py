"""Models of ownership transfers."""

from uuid import UUID

from pydantic import Field

from lambda_app.models.accounts.transfers import TransferStatus
from lambda_app.schemas.accounts.second_factor import AccountProof
from lambda_app.schemas.accounts.users import Email
from lambda_app.schemas.base import ResponseModel, examples
from lambda_app.schemas.text import Timestamp


class TransferCreate(AccountProof):
    """The recipient of all files of an account, and the caller's own password."""

    model_config = examples(
        {"email": "grace@example.com", "current_password": "correct horse battery staple"},
        {"email": "grace@example.com", "current_password": "correct horse battery staple", "otp": "492039"},
    )

    email: Email = Field(description="The confirmed e-mail address of the account that receives the files.")


class Transfer(ResponseModel):
    """A transfer of all files of one account to another."""

    id: UUID = Field(description="Id of the transfer.")
    from_id: UUID = Field(description="The account whose files are handed over.")
    from_email: str = Field(description="Its address at the offer.")
    to_id: UUID = Field(description="The account that receives them.")
    to_email: str = Field(description="Its address at the offer.")
    status: TransferStatus = Field(
        description="Whether it waits for the recipient, moves files, is done, or has been declined, withdrawn or has expired."
    )
    moved_files: int = Field(description="Number of files that have been moved.")
    moved_bytes: int = Field(description="Their total size.")
    left_files: int | None = Field(description="Number of files that the first account has now; null once the transfer has ended.")
    left_bytes: int | None = Field(description="Their total size; null once the transfer has ended.")
    is_blocked: bool = Field(description="Whether the next files do not fit into the recipient's quota. They are moved once they do.")
    created_at: Timestamp = Field(description="When it was offered.")
    expires_at: Timestamp = Field(description="Until when it can be accepted.")
    ended_at: Timestamp | None = Field(description="When it was done or declined; null while it is open.")
