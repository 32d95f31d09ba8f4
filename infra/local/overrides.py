"""The settings of the API that the developer may change for `make run`."""

import difflib
import os
from collections.abc import Iterable

from pydantic import ValidationError

from infra.local.processes import LocalError
from infra.local.state import DATA_VARIABLE
from lambda_app.core.settings import Settings

FIXED = frozenset(
    {
        "AWS_ENDPOINT_URL",
        "CHECKPOINT_BUCKET_NAME",
        "CHECKPOINT_LOCK_DAYS",
        "DATABASE_APP_ROLE",
        "DATABASE_IAM_AUTH",
        "DATABASE_PAUSES",
        "DATABASE_READ_HOST",
        "DATABASE_SECRET_ARN",
        "DATABASE_SIGN_IN_SECONDS",
        "DATABASE_URL",
        "ENVIRONMENT",
        "GATEWAY_HAS_COSTLY_ROUTES",
        "IDENTITY_KEY",
        "IDENTITY_KEY_ARN",
        "IDENTITY_SECRETS_ARN",
        "LINK_KEY",
        "LINK_KEY_ARN",
        "LOG_KEY_ARN",
        "LOG_SIGNING_KEY",
        "MAIL_FOLDER",
        "MAIL_FROM",
        "ORIGIN_KEY_ARNS",
        "S3_BUCKET_NAME",
        "S3_PUBLIC_ENDPOINT_URL",
        "SCANS_FOR_MALWARE",
        "SECRET_KEY",
        "SECRET_KEY_ARN",
        "SERVES_IDENTITY_ROUTES",
        "SERVES_UNSCANNABLE",
        "WEBHOOK_KEY_ARN",
        "WEB_APP_FOLDER",
    }
)
"""Settings that `make run` sets itself, because they describe its own servers and secrets."""
OVERRIDES = frozenset(name.upper() for name in Settings.model_fields) - FIXED
"""Settings that the developer may set, in the environment or on the command line of make."""
MAKE_VARIABLES = frozenset({"PORT", "PYTHON", DATA_VARIABLE})
"""Variables of `make run` that are not settings."""
OWN_PREFIX = "WE_UPLOAD_"
OWN_VARIABLES = frozenset({DATA_VARIABLE, "WE_UPLOAD_CLOUD_LOG"})


def read_overrides(named: Iterable[str] = ()) -> dict[str, str]:
    """Return the overrides that the environment sets. `named` are the variables on make's command line, which make also exports.

    Raises LocalError for an unknown variable, a fixed setting on make's command line, or an invalid value.
    """
    known = OVERRIDES | MAKE_VARIABLES
    for name in named:
        if name in FIXED:
            raise LocalError(f"make run sets {name} itself; it cannot be changed. {_settings_help()}")
        if name not in known:
            raise LocalError(_unknown(name, known))
    for name in sorted(os.environ):
        if name.startswith(OWN_PREFIX) and name not in OWN_VARIABLES:
            raise LocalError(_unknown(name, OWN_VARIABLES | known))
    overrides = {name: os.environ[name] for name in OVERRIDES if os.environ.get(name)}
    # The values of the fixed settings only need to be valid here.
    fixed = {
        "ENVIRONMENT": "local",
        "DATABASE_URL": "x",
        "SECRET_KEY": "x",
        "S3_BUCKET_NAME": "xxx",
        "MAIL_FOLDER": "x",
        "IDENTITY_KEY": "x",
    }
    try:
        Settings.from_environment({**overrides, **fixed})
    except ValidationError as error:
        problems = error.errors(include_input=False)
        lines = [f"{'.'.join(str(part) for part in problem['loc'][:1]).upper()}: {problem['msg']}" for problem in problems]
        raise LocalError("\n".join(lines)) from None
    return overrides


def _unknown(name: str, known: Iterable[str]) -> str:
    similar = difflib.get_close_matches(name, known, n=1)
    return f"{name} is not a variable of make run{f'; did you mean {similar[0]}?' if similar else '.'} {_settings_help()}"


def _settings_help() -> str:
    return "make help lists the variables."
