"""The catalogue of error codes has every code that the application uses, and every example of a request is valid."""

import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import pytest

import lambda_app
from lambda_app.core.errors import AppError
from lambda_app.schemas.base import RequestModel
from lambda_app.schemas.error_codes import ERRORS

T = TypeVar("T")
PACKAGE = Path(lambda_app.__file__).parent


def subclasses(base: type[T]) -> Iterator[type[T]]:
    for found in base.__subclasses__():
        yield found
        yield from subclasses(found)


def load_all_modules() -> None:
    for module in pkgutil.walk_packages([str(PACKAGE)], "lambda_app."):
        if not module.name.startswith(("lambda_app.db.migrations.", "lambda_app.main", "lambda_app.identity_main", "lambda_app.handlers")):
            importlib.import_module(module.name)


def test_every_error_class_is_in_the_catalogue() -> None:
    load_all_modules()
    classes = [error for error in subclasses(AppError) if error.__module__.startswith("lambda_app.")]

    assert len(classes) > 60
    assert {error.__name__: (error.code, error.status) for error in classes} == {
        error.__name__: (error.code, ERRORS[error.code].status) for error in classes
    }


def test_every_code_in_the_source_is_in_the_catalogue() -> None:
    used = {code for path in PACKAGE.rglob("*.py") for code in re.findall(r'\bcode="(\w+)"', path.read_text(encoding="utf-8"))}

    assert len(used) > 20
    assert used <= ERRORS.keys()


def request_models() -> list[type[RequestModel]]:
    load_all_modules()
    return sorted(set(subclasses(RequestModel)), key=lambda model: model.__name__)


@pytest.mark.parametrize("model", request_models(), ids=lambda model: model.__name__)
def test_examples_of_a_request_are_valid(model: type[RequestModel]) -> None:
    extra = model.model_config.get("json_schema_extra", {})
    examples = extra.get("examples", []) if isinstance(extra, dict) else []

    assert isinstance(examples, list)
    for example in examples:
        model.model_validate(example)
