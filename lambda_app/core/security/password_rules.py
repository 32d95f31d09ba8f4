"""Which new passwords are refused: the ones that everybody tries first."""

from functools import lru_cache
from pathlib import Path

from lambda_app.core.errors import MalformedRequestError

COMMON_PASSWORDS = Path(__file__).with_name("common_passwords.txt")
"""One a line in lower case, none shorter than our shortest."""


class WeakPasswordError(MalformedRequestError):
    """The password is one that is guessed first."""

    code = "weak_password"
    message = "This password is among the first that an attacker tries; choose another"


def refuse_weak_password(password: str, *, email: str) -> None:
    """Raise WeakPasswordError for a password from the list of the most common ones, or one that is the e-mail address or its name."""
    typed = password.casefold()
    if typed in _common_passwords() or typed in {email.casefold(), email.casefold().partition("@")[0]}:
        raise WeakPasswordError


@lru_cache(maxsize=1)
def _common_passwords() -> frozenset[str]:
    # Read when the first password is set: most processes never see one.
    return frozenset(COMMON_PASSWORDS.read_text(encoding="utf-8").splitlines())
