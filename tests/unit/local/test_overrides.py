"""The settings that the developer may change for `make run`, and where they are listed."""

import re
import subprocess
from pathlib import Path

import pytest

from infra.local.overrides import FIXED, MAKE_VARIABLES, OVERRIDES, read_overrides
from infra.local.processes import LocalError
from infra.local.state import CHECKOUT
from lambda_app.core.settings import Settings
from tests.support.places import write_places


def settings_of_the_docs() -> set[str]:
    """Return the variables of the configuration table, in the page that has it."""
    pages = [path for path in (CHECKOUT / "docs" / "configuration.md", CHECKOUT / "README.md") if path.exists()]
    tables = [set(re.findall(r"`([A-Z][A-Z0-9_]+)`", row.split("|")[1])) for path in pages for row in table_rows(path)]
    return set().union(*tables) & {name.upper() for name in Settings.model_fields}


def table_rows(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line.startswith("| `")]


def test_every_setting_is_in_the_docs_and_is_an_override_or_fixed() -> None:
    assert settings_of_the_docs() == {name.upper() for name in Settings.model_fields}
    assert settings_of_the_docs() == OVERRIDES | FIXED
    assert {name.upper() for name in Settings.model_fields} > FIXED


def test_make_help_lists_the_overrides() -> None:
    text = subprocess.run(["/usr/bin/env", "make", "help"], cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
    settings = text.partition("Settings of the API for make run")[2]

    assert set(re.findall(r"\b[A-Z][A-Z0-9_]+\b", settings.partition(":")[2])) == OVERRIDES
    assert all(name in text for name in MAKE_VARIABLES)


@pytest.mark.parametrize("name", sorted(OVERRIDES))
def test_every_override_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    values = {
        "ABUSE_EMAIL": "abuse@example.com",
        "API_URL": "http://files.test:8000",
        "API_V1_STR": "/v1",
        "AWS_REGION": "eu-west-1",
        "BACKEND_CORS_ORIGINS": "https://app.example.com",
        "BRAND_ACCENT": "#7a1fa2",
        "BRAND_LOGO_FILE": str(CHECKOUT / "web" / "src" / "assets" / "logo.svg"),
        "IDENTITY_PROVIDERS": '[{"id": "a", "name": "A", "issuer": "https://a.example.com", "client_id": "c"}]',
        "DEFAULT_LANGUAGE": "de",
        "LOG_LEVEL": "DEBUG",
        "PASSWORD_SIGN_IN": "true",
        "OPEN_REGISTRATION": "false",
        "PLACES_FILE": str(write_places(tmp_path / "places.mmdb")),
        "PREVIEWS_ENABLED": "false",
        "PUBLIC_URL": "http://app.test:5173",
        "REQUIRE_VERIFIED_EMAIL": "true",
        "INVITATIONS_BY_USERS": "true",
        "REQUIRE_SECOND_FACTOR": "superusers",
        "WEBHOOK_ALLOW_LOOPBACK": "true",
    }
    monkeypatch.setenv(name, values.get(name, "3"))

    assert read_overrides([name])[name] == values.get(name, "3")


@pytest.mark.parametrize(
    ("name", "value"), [("LOG_LEVEL", "LOUD"), ("PRESIGNED_URL_EXPIRATION", "901"), ("BACKEND_CORS_ORIGINS", "*"), ("AWS_REGION", "moon")]
)
def test_invalid_value_is_refused_with_the_name(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(LocalError, match=f"^{name}: "):
        read_overrides()


def test_unknown_variable_on_the_command_line_is_refused_with_the_similar_one() -> None:
    with pytest.raises(LocalError) as refused:
        read_overrides(["REQUIRE_VERIFED_EMAIL"])

    assert str(refused.value) == (
        "REQUIRE_VERIFED_EMAIL is not a variable of make run; did you mean REQUIRE_VERIFIED_EMAIL? make help lists the variables."
    )


def test_unknown_variable_of_our_prefix_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WE_UPLOAD_DATE", "elsewhere")

    with pytest.raises(LocalError, match=r"^WE_UPLOAD_DATE is not a variable of make run; did you mean WE_UPLOAD_DATA\?"):
        read_overrides()


@pytest.mark.parametrize("name", sorted(FIXED))
def test_fixed_setting_is_refused_on_the_command_line_and_ignored_in_the_environment(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "https://theirs.example.com")

    assert name not in read_overrides()
    with pytest.raises(LocalError, match=f"^make run sets {name} itself"):
        read_overrides([name])
