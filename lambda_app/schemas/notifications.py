"""Models of the notification settings of an account."""

from pydantic import Field, field_validator

from lambda_app.schemas.base import RequestModel, ResponseModel, examples, refuse_null


class NotificationSettings(ResponseModel):
    """The mails that an account gets. Notifications are sent only to a confirmed address, at most one mail an hour."""

    link_downloads: bool = Field(description="Whether new share links begin with `notify_on_download`.")
    request_uploads: bool = Field(description="Whether new file requests begin with `notify_on_upload`.")
    link_expiry: bool = Field(description="Whether a mail announces that a share link or a file request expires within a day.")
    new_sign_ins: bool = Field(description="Whether a mail announces a sign-in from a network or browser that is new for the account.")


class NotificationSettingsUpdate(RequestModel):
    """Changes of the notification settings. Omitted fields are not changed."""

    model_config = examples({"link_downloads": True}, {"link_expiry": True, "new_sign_ins": False})

    link_downloads: bool | None = Field(default=None, strict=True, description="For new share links only.")
    request_uploads: bool | None = Field(default=None, strict=True, description="For new file requests only.")
    link_expiry: bool | None = Field(default=None, strict=True, description="For all share links and file requests that expire.")
    new_sign_ins: bool | None = Field(default=None, strict=True, description="For all later sign-ins.")

    _cannot_be_cleared = field_validator("link_downloads", "request_uploads", "link_expiry", "new_sign_ins", mode="before")(refuse_null)
