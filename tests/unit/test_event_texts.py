"""Each event that the server writes to the audit log has a sentence in the web app."""

import ast
import re
from pathlib import Path

from lambda_app.models.accounts.mail_tokens import MailPurpose
from lambda_app.services.accounts.login_throttle import PasswordPurpose

CHECKOUT = Path(__file__).parents[2]
CATALOGUE = CHECKOUT / "web" / "src" / "locales" / "en" / "events.ts"
EVENT_NAME = re.compile(r"[a-z]+(_[a-z]+)*\.[a-z]+(_[a-z]+)*")
COMPOSED = {
    *(f"{purpose}.{result}" for purpose in PasswordPurpose for result in ("failed", "throttled")),
    *(f"mail.{purpose}" for purpose in MailPurpose),
}
"""Events whose names are put together from the purpose of a password or a mail."""
OTHER_NAMES = {"export.json", "preview.webp", "common_passwords.txt", "gmail.com", "googlemail.com"}
"""Literals of the same form that are no events."""

PUBLISHED_ONLY = {"account.signed_in", "file_request.received"}
"""Types of events for integrations that have another name in the audit log."""


def event_names() -> set[str]:
    """Return the names of events in the source of the server: literals of their form in services and repositories."""
    names = set(COMPOSED)
    for folder in ("services", "repositories"):
        for path in (CHECKOUT / "lambda_app" / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and EVENT_NAME.fullmatch(node.value):
                    names.add(node.value)
    return names - OTHER_NAMES - PUBLISHED_ONLY


def test_each_event_of_the_server_has_a_sentence() -> None:
    texts = set(re.findall(r'^    "([a-z_.]+)":', CATALOGUE.read_text(encoding="utf-8"), re.MULTILINE))

    assert sorted(event_names() - texts) == []
    assert sorted(texts - event_names()) == []


def test_names_of_events_are_found_in_the_source() -> None:
    assert {"token.refreshed", "share.opened", "sign_in.failed", "mail.verify_email", "ownership.accepted"} <= event_names()
