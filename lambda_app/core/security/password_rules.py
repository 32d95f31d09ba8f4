"""Rejects new passwords that attackers try first."""

from functools import lru_cache
from pathlib import Path

from lambda_app.core.errors import MalformedRequestError

COMMON_PASSWORDS = Path(__file__).with_name("common_passwords.txt")
"""One password per line, in lower case. None is shorter than the minimum length of a password."""


class WeakPasswordError(MalformedRequestError):
    """The password is common, or equals the e-mail address or its local part."""

    code = "weak_password"
    message = "This password is too easy to guess; choose another one"


def validate_password_strength(password: str, *, email: str) -> None:
    """Raise WeakPasswordError for one of the most common passwords, the e-mail address, or its local part."""
    typed = password.casefold()
    if typed in _common_passwords() or typed in {email.casefold(), email.casefold().partition("@")[0]}:
        raise WeakPasswordError


@lru_cache(maxsize=1)
def _common_passwords() -> frozenset[str]:
    # Loaded on first use, because most processes never set a password.
    return frozenset(COMMON_PASSWORDS.read_text(encoding="utf-8").splitlines())
