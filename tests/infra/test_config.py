"""Validation of stage settings."""

from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest

from infra.components.database import POSTGRES_MAJOR
from infra.components.functions import PREVIEW, functions_of
from infra.components.migration import MIGRATE
from infra.config import (
    FUNCTION_TIMEOUT_SECONDS,
    GATEWAY_TIMEOUT_SECONDS,
    PROXY_BORROW_TIMEOUT_SECONDS,
    REPLY_TIMEOUT_SECONDS,
    STAGES,
    ConfigError,
    stage_config,
)
from infra.preflight import checks
from lambda_app.db.roles import STATEMENT_TIMEOUT
from tests.infra.conftest import ROOT, Synthesised


@pytest.mark.parametrize("origin", ["*", "https://*.example.com", "app.example.com", "https://app.example.com/"])
def test_wildcard_or_malformed_origin_is_refused(origin: str) -> None:
    with pytest.raises(ConfigError, match="cors_origins"):
        replace(STAGES["prod"], cors_origins=(origin,))


PROVIDER = '[{"id": "a", "name": "A", "issuer": "https://a.example.com", "client_id": "c"}]'


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"identity_providers": PROVIDER}, "domain_name"),
        ({"identity_providers": "[{", "domain_name": "f.example.com"}, "JSON"),
        ({"identity_providers": PROVIDER.replace("https", "http"), "domain_name": "f.example.com"}, "issuer"),
        ({"identity_providers": PROVIDER.replace("}", ', "client_secret": "x"}'), "domain_name": "f.example.com"}, "identity_secrets"),
        ({"identity_providers": PROVIDER, "domain_name": "f.example.com", "identity_secrets": "plain text"}, "ARN"),
        ({"password_sign_in": False}, "identity_providers"),
        ({"identity_providers": PROVIDER + " " * 2000, "domain_name": "f.example.com"}, "at most 2000 bytes"),
        ({"cors_origins": ("https://app.example.com",) * 90}, "at most 2000 bytes"),
    ],
    ids=["no_domain", "no_json", "plain_http", "with_secret", "no_arn", "no_way_to_sign_in", "long", "many_origins"],
)
def test_unusable_identity_providers_are_refused(changes: dict[str, Any], message: str) -> None:
    certificate: dict[str, Any] = {"certificate_arn": "arn:aws:acm:us-east-1:1:certificate/1"} if "domain_name" in changes else {}
    with pytest.raises(ConfigError, match=message):
        replace(STAGES["prod"], **changes, **certificate)


def test_domain_without_certificate_is_refused() -> None:
    with pytest.raises(ConfigError, match="certificate_arn"):
        replace(STAGES["prod"], domain_name="files.example.com")


def test_more_functions_than_database_connections_are_refused() -> None:
    with pytest.raises(ConfigError, match="database connections"):
        replace(STAGES["prod"], api_concurrency=900)


def test_single_zone_is_refused() -> None:
    with pytest.raises(ConfigError, match="availability_zones"):
        replace(STAGES["dev"], availability_zones=1)


def test_stage_is_immutable() -> None:
    with pytest.raises(FrozenInstanceError):
        STAGES["dev"].name = "prod"  # type: ignore[misc]  # the assignment under test


def test_unknown_stage_is_named_in_the_refusal() -> None:
    with pytest.raises(ConfigError, match="dev, staging, prod, small, local, not 'production'"):
        stage_config({"stage": "production"}.get)


def test_flag_other_than_true_or_false_is_refused() -> None:
    with pytest.raises(ConfigError, match="uses_kms"):
        stage_config({"uses_kms": "yes"}.get)


def test_language_without_texts_is_refused() -> None:
    with pytest.raises(ConfigError, match="default_language must be en or de"):
        stage_config({"default_language": "fr"}.get)


def test_context_overrides_the_stage() -> None:
    config = stage_config({"stage": "staging", "cors_origins": "https://a.example, https://b.example", "open_registration": "true"}.get)

    assert config.cors_origins == ("https://a.example", "https://b.example")
    assert config.open_registration
    assert config.name == "staging"


CERTIFICATE = "arn:aws:acm:us-east-1:111122223333:certificate/0b0e0b0e-0000-4000-8000-000000000000"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"firewall": "true"}, "firewall needs domain_name"),
        (
            {"firewall": "true", "domain_name": "f.example.com", "certificate_arn": CERTIFICATE.replace("us-east-1", "eu-west-1")},
            "us-east-1",
        ),
        ({"origin_key": "0"}, "origin_key"),
        ({"origin_key": "two"}, "origin_key must be a whole number"),
        ({"requests_per_address": "-5"}, "requests_per_address must be a whole number"),
        ({"mail_from": "files@example.com"}, "public_url"),
        ({"mail_from": "files@example.com", "public_url": "http://app.example.com"}, "https://"),
        ({"mail_from": "Files <files@example.com>", "public_url": "https://app.example.com"}, "bare address"),
        ({"mail_from": "*@example.com", "public_url": "https://app.example.com"}, "bare address"),
        ({"mail_from": "files", "public_url": "https://app.example.com"}, "bare address"),
        ({"makes_mail_identity": "true"}, "mail_from"),
        ({"require_verified_email": "true"}, "require_verified_email needs mail_from"),
    ],
)
def test_incomplete_firewall_or_mail_settings_are_refused(settings: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        stage_config({"stage": "prod", **settings}.get)


def test_sender_identity_is_the_domain_of_mail_from_or_the_named_identity() -> None:
    mail = {"mail_from": "files@mail.example.com", "public_url": "https://app.example.com"}

    assert stage_config(mail.get).verified_sender == "mail.example.com"
    assert stage_config({**mail, "mail_identity": "example.com"}.get).verified_sender == "example.com"


def test_confirmed_addresses_can_be_required_for_a_stage() -> None:
    mail = {"mail_from": "files@mail.example.com", "public_url": "https://app.example.com"}

    assert not stage_config(mail.get).require_verified_email
    assert stage_config({**mail, "require_verified_email": "true"}.get).require_verified_email


def test_reserved_concurrency_matches_the_deployment_guide() -> None:
    text = (ROOT / "docs" / "deploy.md").read_text()

    assert "dev reserves nothing" in text
    for name in ("staging", "prod"):
        specs = [spec for spec in (*functions_of(STAGES[name]), MIGRATE, PREVIEW) if spec.exists]
        executions = [getattr(STAGES[name], spec.concurrency) if spec.concurrency else 1 for spec in specs]
        assert f"{name} reserves {sum(executions)}" in text
        assert STAGES[name].reserved_executions == sum(executions)
    assert STAGES["dev"].reserved_executions == 0


def test_preflight_checks_the_engine_version_of_the_template() -> None:
    assert checks.POSTGRES_MAJOR == POSTGRES_MAJOR


def test_timeouts_nest_so_that_the_innermost_expires_first() -> None:
    statement = float(STATEMENT_TIMEOUT.removesuffix("s"))

    assert statement < PROXY_BORROW_TIMEOUT_SECONDS
    # One reply takes the wait for a connection and then the statement; the proxy and the database answer first.
    assert statement + PROXY_BORROW_TIMEOUT_SECONDS < REPLY_TIMEOUT_SECONDS < FUNCTION_TIMEOUT_SECONDS < GATEWAY_TIMEOUT_SECONDS < 30


def test_functions_wait_for_the_database_as_long_as_the_guide_states(prod: Synthesised) -> None:
    text = " ".join((ROOT / "docs" / "deploy.md").read_text().split())
    functions = prod.of_type("AWS::Lambda::Function")

    environments = [function["Environment"]["Variables"] for function in functions]
    assert {variables["DATABASE_TIMEOUT_SECONDS"] for variables in environments if "DATABASE_URL" in variables} == {"10"}
    assert sum("DATABASE_URL" not in variables for variables in environments) == 2
    assert "statement 4 s < wait for a connection 5 s < reply of the database 10 s < function 20 s < gateway 29 s" in text
