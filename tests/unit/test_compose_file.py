"""localstack-compose.yml: valid for Docker Compose, which the tests do not start, and consistent in itself.

The schema is the part of the Compose Specification that the file uses. It is strict, so that a misspelt key is found.
"""

import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml  # type: ignore[import-untyped]  # ships no types

FILE = Path(__file__).parents[2] / "localstack-compose.yml"
DURATION = {"type": "string", "pattern": r"^\d+(ms|s|m|h)$"}
NAMES = {"type": "array", "items": {"type": "string"}, "uniqueItems": True}
SERVICE = {
    "type": "object",
    "additionalProperties": False,
    "oneOf": [{"required": ["image"]}, {"required": ["build"]}],
    "properties": {
        "image": {"type": "string", "minLength": 1},
        "build": {
            "type": "object",
            "additionalProperties": False,
            "required": ["dockerfile_inline"],
            "properties": {"dockerfile_inline": {"type": "string"}},
        },
        "ports": {"type": "array", "items": {"type": "string", "pattern": r"^127\.0\.0\.1:\d{1,5}:\d{1,5}$"}},
        "environment": {"type": "object", "additionalProperties": {"type": ["string", "number", "null"]}},
        "volumes": {"type": "array", "items": {"type": "string", "pattern": "^/[^:]+:/[^:]+$"}},
        "networks": NAMES,
        "configs": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["source", "target"],
                "properties": {"source": {"type": "string"}, "target": {"type": "string", "pattern": "^/"}},
            },
        },
        "healthcheck": {
            "type": "object",
            "additionalProperties": False,
            "required": ["test"],
            "properties": {
                "test": {"type": "array", "items": {"type": "string"}, "minItems": 2},
                "interval": DURATION,
                "timeout": DURATION,
                "retries": {"type": "integer", "minimum": 1},
            },
        },
        "depends_on": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "additionalProperties": False,
                "required": ["condition"],
                "properties": {"condition": {"enum": ["service_started", "service_healthy", "service_completed_successfully"]}},
            },
        },
    },
}
SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "additionalProperties": False,
    "required": ["services"],
    "properties": {
        "name": {"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]*$"},
        "services": {"type": "object", "additionalProperties": SERVICE},
        "configs": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "additionalProperties": False,
                "required": ["content"],
                "properties": {"content": {"type": "string"}},
            },
        },
        "networks": {
            "type": "object",
            "additionalProperties": {"type": "object", "additionalProperties": False, "properties": {"name": {"type": "string"}}},
        },
    },
}
INTERPOLATION = re.compile(r"\$\{([A-Z_]+):-([^}]*)\}")


@pytest.fixture
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load(FILE.read_text()))


def test_file_is_valid(compose: dict[str, Any]) -> None:
    errors = [error.message for error in jsonschema_rs.validator_for(SCHEMA).iter_errors(compose)]

    assert errors == []


@pytest.mark.parametrize("key", ["imagee", "port", "healthchecks"])
def test_misspelt_key_is_found(compose: dict[str, Any], key: str) -> None:
    compose["services"]["postgres"][key] = "x"

    assert not jsonschema_rs.is_valid(SCHEMA, compose)


def test_every_reference_has_a_definition(compose: dict[str, Any]) -> None:
    services = compose["services"]

    for service in services.values():
        assert set(service.get("networks", [])) <= compose["networks"].keys()
        assert {config["source"] for config in service.get("configs", [])} <= compose["configs"].keys()
        for name, dependency in service.get("depends_on", {}).items():
            assert dependency["condition"] != "service_healthy" or "healthcheck" in services[name]
    assert services["localstack"]["environment"]["LAMBDA_DOCKER_NETWORK"] == compose["networks"]["we-upload"]["name"]


def test_image_of_the_emulator_is_a_setting_with_a_pinned_default(compose: dict[str, Any]) -> None:
    found = INTERPOLATION.fullmatch(compose["services"]["localstack"]["image"])

    assert found is not None
    assert found[1] == "LOCALSTACK_IMAGE"
    assert re.fullmatch(r"localstack/localstack:\d+\.\d+\.\d+@sha256:[0-9a-f]{64}", found[2])
    # Every `$` is an interpolation with a default: another one would be replaced by nothing.
    assert FILE.read_text().count("$") == len(INTERPOLATION.findall(FILE.read_text()))


def test_signatures_are_verified(compose: dict[str, Any]) -> None:
    assert compose["services"]["localstack"]["environment"]["S3_SKIP_SIGNATURE_VALIDATION"] == "0"
