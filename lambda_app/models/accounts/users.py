"""The table of accounts."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from lambda_app.models.base import Base, Timestamps

EMAIL_MAX_LENGTH = 254
"""Longest address SMTP can carry (RFC 5321, erratum 1690)."""

DISPLAY_NAME_MAX_LENGTH = 100
ENCRYPTED_SECRET_MAX_LENGTH = 255
LOCALE_MAX_LENGTH = 35
"""RFC 5646, section 4.4.1, recommends buffers of this length for language tags."""
TIME_ZONE_MAX_LENGTH = 64

DELETION_WINDOW = timedelta(days=30)
"""Time in which a used deletion allowance grows back completely: as long as a versioned bucket stores deleted objects."""


class User(Timestamps, Base):
    """An account. `email` is stored in lower case, which makes its unique constraint case-insensitive."""

    __tablename__ = "user"
    __table_args__ = (
        CheckConstraint("bytes_used >= 0 AND files_count >= 0", name="usage"),
        Index("ix_user_deletion_at", "deletion_at", postgresql_where=text("deletion_at IS NOT NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(EMAIL_MAX_LENGTH), unique=True)
    hashed_password: Mapped[str | None] = mapped_column(String(255))
    """None: the account has no password, only identities at sign-in providers."""
    is_active: Mapped[bool] = mapped_column(server_default=text("true"))
    is_superuser: Mapped[bool] = mapped_column(server_default=text("false"))
    bytes_used: Mapped[int] = mapped_column(BigInteger, default=0, server_default=text("0"))
    """Sum of the sizes of the user's charged files; one statement changes both (`repositories/files/transitions`)."""
    files_count: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    """Number of charged files."""
    quota_bytes: Mapped[int | None] = mapped_column(BigInteger)
    """Quota set by a superuser; None means the default of the settings."""
    quota_files: Mapped[int | None]
    """The same for the number of files."""
    deleted_bytes: Mapped[int] = mapped_column(BigInteger, default=0, server_default=text("0"))
    """Sizes of the user's deleted objects, less what grew back until `deleted_bytes_at` (`repositories/files/deletions`)."""
    deleted_bytes_at: Mapped[datetime | None]
    """When `deleted_bytes` was last changed."""
    token_epoch: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    """Incremented to end every session, access token and API key of the account at once."""
    email_verified_at: Mapped[datetime | None]
    """When the user confirmed the address; None while it is unconfirmed."""
    had_verified_email: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    """Whether the account had a confirmed address before this one, which may be mistyped: its second factor then outlives a takeover."""
    display_name: Mapped[str | None] = mapped_column(String(DISPLAY_NAME_MAX_LENGTH))
    """The name that the user chose. Not unique and not verified."""
    locale: Mapped[str | None] = mapped_column(String(LOCALE_MAX_LENGTH))
    """Language tag (BCP 47) for pages and mails; None means the browser's."""
    time_zone: Mapped[str | None] = mapped_column(String(TIME_ZONE_MAX_LENGTH))
    """IANA name of the time zone; None means the browser's."""
    shows_name_on_links: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    """Whether visitors of the user's share links and file requests see `display_name`."""

    totp_secret: Mapped[str | None] = mapped_column(String(ENCRYPTED_SECRET_MAX_LENGTH))
    """The shared secret of the authenticator app, encrypted (`core/security/link_tokens`); without `totp_confirmed_at` not in use yet."""
    totp_confirmed_at: Mapped[datetime | None]
    """When the second factor was turned on; None while it is off."""
    totp_last_step: Mapped[int | None] = mapped_column(BigInteger)
    """Time step of the last accepted code (RFC 6238). Codes of this step and of earlier ones are refused."""

    requires_second_factor: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    """Whether a superuser requires a second factor for this account, in addition to the setting of the deployment."""

    deletion_at: Mapped[datetime | None]
    """When the account and everything in it is deleted; None unless that was requested. Until then the account is disabled."""
    export_requested_at: Mapped[datetime | None]
    """When the user last requested an export of the account."""
    deletion_is_own: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    """Whether the user requested the deletion, and so can cancel it by a sign-in. Otherwise only a superuser can."""

    @property
    def has_second_factor(self) -> bool:
        """Whether a sign-in needs a one-time code."""
        return self.totp_confirmed_at is not None

    @property
    def email_verified(self) -> bool:
        """Whether the address is known to belong to the user."""
        return self.email_verified_at is not None
