"""The model of the public configuration."""

from pydantic import Field

from lambda_app.core.settings import FactorRequirement
from lambda_app.schemas.base import ResponseModel


class SignInProvider(ResponseModel):
    """An identity provider with which users can sign in: the browser navigates to `/sign-in/{id}`."""

    id: str = Field(description="Id of the provider, part of the path.")
    name: str = Field(description="Name to show.")
    offers_sign_out: bool = Field(description="Whether people can sign out there too: `/sign-in/{id}?purpose=sign_out`.")


class ServerConfig(ResponseModel):
    """What a client must know before a user signs in: what this server offers, and its limits."""

    version: str = Field(description="Version of the server.")
    registration_open: bool = Field(description="Whether anyone may create an account with a password.")
    mail_available: bool = Field(description="Whether the server can send mail, for example to reset a password.")
    password_sign_in: bool = Field(description="Whether users can sign in with a password. Otherwise only providers remain.")
    sign_in_providers: list[SignInProvider] = Field(description="The identity providers, in the order of the settings.")
    invitations_by_users: bool = Field(description="Whether users can invite an address by mail to one of their files.")
    second_factor_required_for: FactorRequirement = Field(
        description="Whose accounts must have a second factor: `superusers`, `all`, or an empty text."
    )
    email_verification_required: bool = Field(description="Whether users must confirm their e-mail address before they can sign in.")
    trash_retention_days: int = Field(description="Days for which a deleted file can be restored. 0: a deleted file is gone.")
    single_upload_max_bytes: int = Field(description="Largest file that one request can upload. Larger files need a multipart upload.")
    file_max_bytes: int = Field(description="Largest file, with a multipart upload.")
    part_min_bytes: int = Field(description="Smallest planned part of a multipart upload, except the last part.")
    part_max_bytes: int = Field(description="Largest part of a multipart upload.")
    parts_max_count: int = Field(description="Maximum number of parts.")
    default_quota_bytes: int = Field(description="Quota of a user for whom a superuser has not set another one.")
    default_quota_files: int = Field(description="Maximum number of files of such a user.")
    previews_enabled: bool = Field(description="Whether images, videos and PDF documents get previews.")
    brand_name: str = Field(description="Name that the operator gave the service.")
    brand_accent: str | None = Field(description="Accent colour, `#rrggbb`; null for the product's.")
    brand_logo_path: str | None = Field(
        description="Path of the operator's logo, relative to the URL of the API; null for the product's mark."
    )
