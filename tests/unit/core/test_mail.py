"""Mail through Amazon SES, with the error when SES rejects it, and mail in files."""

from email import message_from_bytes
from email.policy import default
from pathlib import Path

import boto3  # type: ignore[import-untyped]  # ships no type information
import pytest
from moto import mock_aws
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.ses.models import ses_backends
from pydantic import SecretStr

from lambda_app.core.aws import AwsAccess, AwsCredentials
from lambda_app.core.errors import UnavailableError
from lambda_app.core.mail import FileMailer, Mail, SesMailer, build_mailer
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
    assert sent.source == SENDER
    assert sent.destinations["ToAddresses"] == [MAIL.to]
    assert (sent.subject, sent.body) == (MAIL.subject, MAIL.text)


@mock_aws
def test_unverified_sender_raises_unavailable_without_secrets(mailer: SesMailer) -> None:
    with pytest.raises(UnavailableError) as refused:
        mailer.send(MAIL)

    assert "s3cr3t" not in str(refused.value) + repr(MAIL)


def test_mail_in_a_file_contains_its_text_and_link_unchanged(tmp_path: Path) -> None:
    link = f"https://app.example.com/reset-password#token={'s3cr3t=' * 30}"
    mail = Mail(to="someone@example.org", subject="Reset your password", text=f"Grüße\n\n{link}\n", link=link)

    FileMailer(tmp_path).send(mail)

    (path,) = tmp_path.glob("*.eml")
    assert link in path.read_text()
    assert "Grüße" in path.read_text()
    message = message_from_bytes(path.read_bytes(), policy=default)
    assert (message["To"], message["Subject"], message.get_content()) == (mail.to, mail.subject, mail.text)
