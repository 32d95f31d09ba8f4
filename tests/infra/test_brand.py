"""The operator's name and accent: passed to the functions that show them, and checked before the deployment."""

from dataclasses import replace
from typing import Any

import pytest

from infra.config import STAGES, ConfigError
from tests.infra.conftest import Synthesised

VARIABLES = ("ABUSE_EMAIL", "BRAND_NAME", "BRAND_ACCENT", "DEFAULT_LANGUAGE")


def variables_of(stacks: Synthesised, handler: str) -> dict[str, Any]:
    (function,) = [part for part in stacks.of_type("AWS::Lambda::Function") if part["Handler"] == handler]
    variables: dict[str, Any] = function["Environment"]["Variables"]
    return variables


@pytest.mark.parametrize("handler", ["lambda_app.main.handler", "lambda_app.handlers.seal.handler"])
def test_brand_reaches_the_functions_that_show_pages_and_send_mail(behind_firewall: Synthesised, handler: str) -> None:
    found = variables_of(behind_firewall, handler)

    assert [found[name] for name in VARIABLES] == ["abuse@example.com", "Studio Nord", "#7a1fa2", "de"]


def test_logo_is_a_layer_of_the_api(behind_firewall: Synthesised) -> None:
    functions = {part["Handler"]: part for part in behind_firewall.of_type("AWS::Lambda::Function")}
    with_layers = [handler for handler, part in functions.items() if "Layers" in part]

    assert with_layers == ["lambda_app.main.handler"]
    assert functions["lambda_app.main.handler"]["Environment"]["Variables"]["BRAND_LOGO_FILE"] == "/opt/logo.svg"
    assert len(behind_firewall.of_type("AWS::Lambda::LayerVersion")) == 1


def test_brand_is_that_of_the_product_by_default(prod: Synthesised) -> None:
    assert not {*VARIABLES, "BRAND_LOGO_FILE"} & set(variables_of(prod, "lambda_app.main.handler"))
    assert prod.of_type("AWS::Lambda::LayerVersion") == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"brand_name": "Studio\nNord"}, "brand_name must be one line"),
        ({"brand_name": "x" * 41}, "brand_name must have 1 to 40 characters"),
        ({"brand_accent": "#ffff00"}, "brand_accent"),
        ({"brand_accent": "purple"}, "brand_accent must be a colour"),
        ({"brand_logo": "/none/logo.svg"}, "brand_logo cannot be read"),
    ],
)
def test_unusable_brand_is_refused_before_the_deployment(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(STAGES["prod"], **changes)
