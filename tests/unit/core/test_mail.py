"""Mail through Amazon SES, with the error when SES rejects it, and mail in files."""

from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]  # ships no type information
import pytest
from moto import mock_aws
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.ses.models import ses_backends
from pydantic import SecretStr

from lambda_app.core.aws import AwsAccess, AwsCredentials
from lambda_app.core.errors import UnavailableError
from lambda_app.core.mail import FileMailer, Mail, MailDesign, SesMailer, build_mailer
from lambda_app.core.settings import Settings

SENDER = "no-reply@example.com"
LINK = "https://app.example.com/reset-password#token=s3cr3t"
MAIL = Mail(to="someone@example.org", subject="Reset your password", text=f"Grüße\n\n{LINK}\n", link=LINK)


@pytest.fixture
def mailer() -> SesMailer:
    settings = Settings(
        database_url=SecretStr("postgresql://app@db.internal/app"),
        secret_key=SecretStr("Zp4vYw8sTq1LrN6uXc3Kd9Hb5Gm2Ja7Ef0"),
        s3_bucket_name="uploads",
        mail_from=SENDER,
        public_url="https://app.example.com",
    )
    mailer = build_mailer(settings, AwsAccess(settings, AwsCredentials("test", "test")))
    assert isinstance(mailer, SesMailer)
    return mailer


@mock_aws
def test_mail_is_sent_from_the_configured_sender(mailer: SesMailer) -> None:
    boto3.client("sesv2", "us-east-1", aws_access_key_id="test", aws_secret_access_key="test").create_email_identity(EmailIdentity=SENDER)

    mailer.send(MAIL)

    (sent,) = ses_backends[DEFAULT_ACCOUNT_ID]["us-east-1"].sent_messages
    assert sent.source == f"We-Upload <{SENDER}>"
    assert sent.destinations["ToAddresses"] == [MAIL.to]
    # The emulator keeps only the HTML part of a mail with both.
    assert (sent.subject, sent.body) == (MAIL.subject, MailDesign().render(MAIL))


@mock_aws
def test_unverified_sender_raises_unavailable_without_secrets(mailer: SesMailer) -> None:
    with pytest.raises(UnavailableError) as refused:
        mailer.send(MAIL)

    assert "s3cr3t" not in str(refused.value) + repr(MAIL)


def written(folder: Path, mail: Mail, design: MailDesign | None = None) -> EmailMessage:
    """Return the mail that the mailer has written to a file."""
    FileMailer(folder, design or MailDesign()).send(mail)
    (path,) = folder.glob("*.eml")
    message = message_from_bytes(path.read_bytes(), policy=default)
    assert isinstance(message, EmailMessage)
    return message


def part(message: EmailMessage, kind: str) -> str:
    found = message.get_body((kind,))
    assert found is not None
    return str(found.get_content())


def test_mail_in_a_file_contains_its_text_and_link_unchanged(tmp_path: Path) -> None:
    link = f"https://app.example.com/reset-password#token={'s3cr3t=' * 30}"
    mail = Mail(to="someone@example.org", subject="Reset your password", text=f"Grüße\n\n{link}\n", link=link)

    message = written(tmp_path, mail)

    (path,) = tmp_path.glob("*.eml")
    assert link in path.read_text()
    assert "Grüße" in path.read_text()
    assert message.get_content_type() == "multipart/alternative"
    assert (message["To"], message["Subject"], part(message, "plain")) == (mail.to, mail.subject, f"{mail.text}\n-- \nWe-Upload\n")
    assert f'<a href="{link}"' in part(message, "html")


def test_text_of_others_stays_text_in_the_html_part(tmp_path: Path) -> None:
    hostile = '<img src=x onerror=alert(1)>"&</style><script>alert(2)</script>'
    mail = Mail(to="someone@example.org", subject=hostile, text=f"Files:\n- {hostile}\n- b.txt\n\n{hostile}\n")

    html = part(written(tmp_path, mail, MailDesign(brand=hostile)), "html")

    escaped = "&lt;img src=x onerror=alert(1)&gt;&quot;&amp;&lt;/style&gt;&lt;script&gt;alert(2)&lt;/script&gt;"
    assert html.count(escaped) == 4
    assert "<img" not in html
    assert "<script" not in html
    assert "<li><bdi>b.txt</bdi></li>" in html


def test_html_part_loads_nothing(tmp_path: Path) -> None:
    html = part(written(tmp_path, MAIL), "html")

    assert not [name for name in ("src=", "url(", "@import", "<link", "<script", "<form", "background=") if name in html]


def test_subject_cannot_begin_another_header(tmp_path: Path) -> None:
    mail = Mail(to="someone@example.org", subject="Photos\r\nBcc: victim@example.org\u2028\x00X: y", text="text")

    message = written(tmp_path, mail)

    assert message["Subject"] == "Photos Bcc: victim@example.org X: y"
    assert message["Bcc"] is None


def test_only_notifications_have_headers_to_unsubscribe(tmp_path: Path) -> None:
    url = "https://app.example.com/unsubscribe/token"
    notification = written(tmp_path / "one", Mail(to="a@example.org", subject="News", text="text", unsubscribe_url=url))
    other = written(tmp_path / "two", MAIL)

    assert (notification["List-Unsubscribe"], notification["List-Unsubscribe-Post"]) == (f"<{url}>", "List-Unsubscribe=One-Click")
    assert [name for name in other if name.lower().startswith("list-")] == []


def test_ses_gets_both_parts_and_the_headers_to_unsubscribe() -> None:
    class Recorder(AwsAccess):
        def __init__(self) -> None:
            self.sent: dict[str, Any] = {}

        def call(self, service: str, operation: str, **parameters: Any) -> dict[str, Any]:
            self.sent = {"call": (service, operation), **parameters}
            return {}

    recorder = Recorder()
    mail = Mail(to="a@example.org", subject="News", text="text\n", unsubscribe_url="https://app.example.com/unsubscribe/token")

    SesMailer(recorder, sender=SENDER, design=MailDesign()).send(mail)

    simple = recorder.sent["Content"]["Simple"]
    assert recorder.sent["call"] == ("sesv2", "send_email")
    assert recorder.sent["FromEmailAddress"] == f"We-Upload <{SENDER}>"
    assert simple["Body"]["Text"]["Data"] == "text\n\n-- \nWe-Upload\n"
    assert simple["Body"]["Html"]["Data"] == MailDesign().render(mail)
    assert simple["Headers"] == [
        {"Name": "List-Unsubscribe", "Value": f"<{mail.unsubscribe_url}>"},
        {"Name": "List-Unsubscribe-Post", "Value": "List-Unsubscribe=One-Click"},
    ]


def test_mail_names_the_operator_and_has_its_accent(tmp_path: Path) -> None:
    message = written(tmp_path, MAIL, MailDesign(brand="Fjørd, Studio", accent="#7a1fa2"))

    assert message["From"].addresses[0].display_name == "Fjørd, Studio"
    assert message["From"].addresses[0].addr_spec == "we-upload@localhost"
    assert part(message, "plain").endswith("\n-- \nFjørd, Studio\n")
    html = part(message, "html")
    assert ">Fjørd, Studio</p>" in html
    assert "color:#7a1fa2" in html
    assert "We-Upload" not in str(message)


def test_sender_with_a_name_of_its_own_keeps_it() -> None:
    assert MailDesign(brand="Studio").sender("Files <files@example.com>") == "Files <files@example.com>"
