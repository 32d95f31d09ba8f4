"""The model of the public configuration."""

from lambda_app.schemas.base import ResponseModel


class ServerConfig(ResponseModel):
    """What a client must know before a user signs in: what this server offers, and its limits."""

    version: str
    registration_open: bool
    """Whether anyone may create an account."""
    mail_available: bool
    """Whether the server can send mail, for example to reset a password."""
    email_verification_required: bool
    """Whether users must confirm their e-mail address before they can sign in."""
    trash_retention_days: int
    """Days for which a deleted file can be restored. 0: a deleted file is gone."""
    single_upload_max_bytes: int
    """Largest file that one request can upload. Larger files need a multipart upload."""
    file_max_bytes: int
    part_min_bytes: int
    """Smallest planned part of a multipart upload, except the last part."""
    part_max_bytes: int
    parts_max_count: int
    default_quota_bytes: int
    """Quota of a user for whom a superuser has not set another one."""
    default_quota_files: int
    brand_name: str
    """Name that the operator gave the service."""
    brand_accent: str | None
    """Accent colour, `#rrggbb`; null for the product's."""
    brand_logo_path: str | None
    """Path of the operator's logo, relative to the URL of the API; null for the product's mark."""
