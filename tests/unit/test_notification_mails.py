"""The language of mails with notifications."""

from uuid import UUID

import pytest

from lambda_app.core.places import NO_PLACES
from lambda_app.core.security.keys import SigningKeys
from lambda_app.core.security.notification_tokens import NotificationTokens
from lambda_app.repositories.notifications.digests import Recipient
from lambda_app.services.notifications.mails import NotificationMails

TOKENS = NotificationTokens(SigningKeys.fixed("Zp4vYw8sTq1LrN6uXc3Kd9Hb5Gm2Ja7Ef0"))
SIGN_IN = {"kind": "new_sign_ins", "count": 1, "items": {}}


@pytest.mark.parametrize(
    ("locale", "default_language", "language"), [(None, "en", "en"), (None, "de", "de"), ("en-GB", "de", "en"), ("fr", "de", "en")]
)
def test_account_without_a_language_gets_mail_in_the_default_one(locale: str | None, default_language: str, language: str) -> None:
    urls = {"base_url": "https://api.test", "public_url": "https://files.test"}
    mails = NotificationMails(tokens=TOKENS, **urls, default_language=default_language, places=NO_PLACES)

    mail = mails.compose(Recipient(UUID(int=1), "ada@example.com", locale, None), [SIGN_IN])

    assert mail.language == language
