"""Sending mail: by SES in AWS, into a folder on a laptop."""

import logging
import sys
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import Protocol
from uuid import uuid4

from lambda_app.core.aws import AwsAccess
from lambda_app.core.errors import UnavailableError
from lambda_app.core.settings import Settings

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Mail:
    """One plain-text mail. If there is a link in it, that is a secret."""

    to: str
    subject: str
    text: str = field(repr=False)
    link: str | None = field(default=None, repr=False)


class MailNotConfiguredError(UnavailableError):
    """Mail cannot be sent by this deployment."""

    code = "mail_not_configured"
    message = "This service cannot send e-mail; ask its administrator"


class Mailer(Protocol):
    """Takes mail."""

    def send(self, mail: Mail) -> None:
        """Send it. Raises UnavailableError."""


class SesMailer:
    """Sends by Amazon SES, version 2 of its API."""

    def __init__(self, aws: AwsAccess, *, sender: str) -> None:
        self._aws = aws
        self._sender = sender

    def send(self, mail: Mail) -> None:
        """Send it. Raises UnavailableError."""
        body = {"Text": {"Data": mail.text, "Charset": "UTF-8"}}
        content = {"Simple": {"Subject": {"Data": mail.subject, "Charset": "UTF-8"}, "Body": body}}
        self._aws.call("sesv2", "send_email", FromEmailAddress=self._sender, Destination={"ToAddresses": [mail.to]}, Content=content)


class FileMailer:
    """Writes each mail to a file that a mail program opens, and prints its link; for a laptop."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def send(self, mail: Mail) -> None:
        """Write and print it. Raises UnavailableError when the folder cannot be written to."""
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = "we-upload@localhost", mail.to, mail.subject
        message.set_content(mail.text)
        path = self._folder / f"{uuid4()}.eml"
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.write_bytes(bytes(message))
        except OSError as error:
            raise UnavailableError from error
        # Not the log, which must hold no secrets: the developer's terminal.
        sys.stdout.write(f"Mail to {mail.to}: {mail.link or mail.subject}\n  (all of it: {path})\n")
        sys.stdout.flush()


class DisabledMailer:
    """Refuses: neither an SES sender nor a folder is configured."""

    def send(self, mail: Mail) -> None:  # noqa: ARG002  # the protocol's argument
        """Raise MailNotConfiguredError."""
        raise MailNotConfiguredError


def build_mailer(settings: Settings, aws: AwsAccess) -> Mailer:
    """Return what the settings ask for."""
    if settings.mail_folder is not None:
        return FileMailer(Path(settings.mail_folder))
    if settings.mail_from is not None:
        return SesMailer(aws, sender=settings.mail_from)
    return DisabledMailer()
