"""Sends mail: through Amazon SES in AWS, to files on a developer's machine."""

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
    """One plain-text mail. `text` and `link` may contain a secret token."""

    to: str
    subject: str
    text: str = field(repr=False)
    link: str | None = field(default=None, repr=False)
    is_placeholder: bool = False
    """Whether it takes the place of a mail that no account receives, so that the response takes as long."""


PLACEHOLDER = Mail(
    to="success@simulator.amazonses.com",
    subject="No account has this address",
    text="This mail takes the place of a mail with a link:\n\nhttps://files.example.com/verify-email#token=" + "x" * 43,
    is_placeholder=True,
)
"""A mail to the mailbox simulator of SES, which accepts and discards it. SES does the same work for it as for any other mail."""


class MailNotConfiguredError(UnavailableError):
    """No mail sender is configured."""

    code = "mail_not_configured"
    message = "This service is not configured to send e-mail; contact its administrator"


class Mailer(Protocol):
    """Sends mail."""

    def send(self, mail: Mail) -> None:
        """Send one mail. Raises UnavailableError when it cannot be sent."""


class SesMailer:
    """Sends mail with the Amazon SES API v2."""

    def __init__(self, aws: AwsAccess, *, sender: str) -> None:
        self._aws = aws
        self._sender = sender

    def send(self, mail: Mail) -> None:
        """Send one mail. Raises UnavailableError when SES rejects it or does not respond."""
        body = {"Text": {"Data": mail.text, "Charset": "UTF-8"}}
        content = {"Simple": {"Subject": {"Data": mail.subject, "Charset": "UTF-8"}, "Body": body}}
        self._aws.call("sesv2", "send_email", FromEmailAddress=self._sender, Destination={"ToAddresses": [mail.to]}, Content=content)


class FileMailer:
    """Writes each mail to an `.eml` file and prints its link to the terminal; for local development."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def send(self, mail: Mail) -> None:
        """Write one mail and print its link; a placeholder is ignored. Raises UnavailableError when the folder is not writable."""
        if mail.is_placeholder:
            return
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = "we-upload@localhost", mail.to, mail.subject
        # As 8bit, not quoted-printable: a link must be the same in the file as in the mail.
        message.set_content(mail.text, cte="8bit")
        path = self._folder / f"{uuid4()}.eml"
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.write_bytes(bytes(message))
        except OSError as error:
            raise UnavailableError from error
        # The link is a secret, so it goes to the developer's terminal and not to the log.
        sys.stdout.write(f"Mail to {mail.to}: {mail.link or mail.subject}\n  (full text: {path})\n")
        sys.stdout.flush()


class DisabledMailer:
    """Rejects all mail, because neither an SES sender nor a mail folder is configured."""

    def send(self, mail: Mail) -> None:  # noqa: ARG002  # required by the protocol
        """Raise MailNotConfiguredError."""
        raise MailNotConfiguredError


def build_mailer(settings: Settings, aws: AwsAccess) -> Mailer:
    """Return the mailer that the settings select."""
    if settings.mail_folder is not None:
        return FileMailer(Path(settings.mail_folder))
    if settings.mail_from is not None:
        return SesMailer(aws, sender=settings.mail_from)
    return DisabledMailer()
