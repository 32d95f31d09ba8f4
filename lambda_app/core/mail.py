"""Sends mail: through Amazon SES in AWS, to files on a developer's machine."""

import logging
import re
import sys
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import formataddr
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from lambda_app.core.aws import AwsAccess
from lambda_app.core.errors import UnavailableError
from lambda_app.core.mail_html import render_html
from lambda_app.core.settings import DEFAULT_BRAND_NAME, Settings

logger = logging.getLogger(__name__)


_LINE_BREAKS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail. `text` and the addresses may contain a secret token; the HTML part is made from the text."""

    to: str
    subject: str
    text: str = field(repr=False)
    link: str | None = field(default=None, repr=False)
    is_placeholder: bool = False
    """Whether it takes the place of a mail that no account receives, so that the response takes as long."""
    unsubscribe_url: str | None = field(default=None, repr=False)
    """For notifications: the address that ends them with one POST request (RFC 8058). Other mail cannot be declined."""
    language: str = "en"

    @property
    def subject_line(self) -> str:
        """The subject without line breaks and other control characters, which could begin another header."""
        return _LINE_BREAKS.sub(" ", self.subject)

    @property
    def headers(self) -> dict[str, str]:
        """The headers besides sender, recipient and subject."""
        if self.unsubscribe_url is None:
            return {}
        return {"List-Unsubscribe": f"<{self.unsubscribe_url}>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}


@dataclass(frozen=True, slots=True)
class MailDesign:
    """The operator's name as that of the sender and below the text, and name and accent in the HTML part."""

    brand: str = DEFAULT_BRAND_NAME
    accent: str | None = None

    def sender(self, address: str) -> str:
        """Return the value of the header From: the operator's name and the address, or a configured value that has a name of its own."""
        return address if "<" in address else formataddr((self.brand, address))

    def text(self, mail: Mail) -> str:
        """Return the text part: the text and, below the separator of signatures (RFC 3676, section 4.3), the operator's name."""
        return f"{mail.text.rstrip()}\n\n-- \n{self.brand}\n"

    def render(self, mail: Mail) -> str:
        """Return the HTML part."""
        return render_html(mail.text, subject=mail.subject_line, brand=self.brand, accent=self.accent, language=mail.language)


PLACEHOLDER = Mail(
    to="success@simulator.amazonses.com",
    subject="No account has this address",
    text="This mail takes the place of a mail with a link:\n\nhttps://files.example.com/verify-email#token=" + "x" * 43 + "\n\n"
    # So that its size is between those of the mails with a link.
    "SES accepts and discards it. The response to a request for mail then takes as long whether or not an account has the address.\n",
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

    def __init__(self, aws: AwsAccess, *, sender: str, design: MailDesign) -> None:
        self._aws = aws
        self._sender = sender
        self._design = design

    def send(self, mail: Mail) -> None:
        """Send one mail. Raises UnavailableError when SES rejects it or does not respond."""
        simple: dict[str, Any] = {
            "Subject": {"Data": mail.subject_line, "Charset": "UTF-8"},
            "Body": {
                "Text": {"Data": self._design.text(mail), "Charset": "UTF-8"},
                "Html": {"Data": self._design.render(mail), "Charset": "UTF-8"},
            },
        }
        if headers := mail.headers:
            simple["Headers"] = [{"Name": name, "Value": value} for name, value in headers.items()]
        destination = {"ToAddresses": [mail.to]}
        sender = self._design.sender(self._sender)
        self._aws.call("sesv2", "send_email", FromEmailAddress=sender, Destination=destination, Content={"Simple": simple})


class FileMailer:
    """Writes each mail to an `.eml` file and prints its link to the terminal; for local development."""

    def __init__(self, folder: Path, design: MailDesign) -> None:
        self._folder = folder
        self._design = design

    def send(self, mail: Mail) -> None:
        """Write one mail and print its link; a placeholder is ignored. Raises UnavailableError when the folder is not writable."""
        if mail.is_placeholder:
            return
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = self._design.sender("we-upload@localhost"), mail.to, mail.subject_line
        for name, value in mail.headers.items():
            message[name] = value
        # As 8bit, not quoted-printable: a link must be the same in the file as in the mail.
        message.set_content(self._design.text(mail), cte="8bit")
        message.add_alternative(self._design.render(mail), subtype="html", cte="8bit")
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
    design = MailDesign(settings.brand_name, settings.brand_accent)
    if settings.mail_folder is not None:
        return FileMailer(Path(settings.mail_folder), design)
    if settings.mail_from is not None:
        return SesMailer(aws, sender=settings.mail_from, design=design)
    return DisabledMailer()
