"""What a stage may be."""

from dataclasses import FrozenInstanceError, replace

import pytest

from infra.config import (
    FUNCTION_TIMEOUT_SECONDS,
    GATEWAY_TIMEOUT_SECONDS,
    PROXY_BORROW_TIMEOUT_SECONDS,
    STAGES,
    STATEMENT_TIMEOUT_SECONDS,
    ConfigError,
    stage_config,
)


@pytest.mark.parametrize("origin", ["*", "https://*.example.com", "app.example.com", "https://app.example.com/"])
def test_wildcard_or_malformed_origin_is_refused(origin: str) -> None:
    with pytest.raises(ConfigError, match="cors_origins"):
        replace(STAGES["prod"], cors_origins=(origin,))


def test_domain_without_certificate_is_refused() -> None:
    with pytest.raises(ConfigError, match="certificate_arn"):
        replace(STAGES["prod"], domain_name="files.example.com")


def test_more_functions_than_database_connections_are_refused() -> None:
    with pytest.raises(ConfigError, match="database connections"):
        replace(STAGES["prod"], api_concurrency=900)


def test_one_zone_is_refused() -> None:
    with pytest.raises(ConfigError, match="availability_zones"):
        replace(STAGES["dev"], availability_zones=1)


def test_stage_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        STAGES["dev"].name = "prod"  # type: ignore[misc]  # what is tested


def test_unknown_stage_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="dev, staging, prod, local, not 'production'"):
        stage_config({"stage": "production"}.get)


def test_flag_that_is_neither_true_nor_false_is_refused() -> None:
    with pytest.raises(ConfigError, match="uses_kms"):
        stage_config({"uses_kms": "yes"}.get)


def test_context_overrides_the_stage() -> None:
    config = stage_config({"stage": "staging", "cors_origins": "https://a.example, https://b.example", "open_registration": "true"}.get)

    assert config.cors_origins == ("https://a.example", "https://b.example")
    assert config.open_registration
    assert config.name == "staging"


def test_timeouts_nest_so_that_the_innermost_speaks_first() -> None:
    assert STATEMENT_TIMEOUT_SECONDS < PROXY_BORROW_TIMEOUT_SECONDS < FUNCTION_TIMEOUT_SECONDS < GATEWAY_TIMEOUT_SECONDS < 30
