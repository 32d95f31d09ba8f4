"""Test modules do not import each other and tests do not call each other; they share code through tests/support and conftest."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]


def imported_modules(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_test_modules(source: str) -> list[str]:
    modules = [name for name in imported_modules(source) if name.startswith("tests.")]
    return [name for name in modules if any(part.startswith("test_") for part in name.split("."))]


@pytest.mark.parametrize(
    "source",
    ["import tests.unit.test_imports", "from tests.unit import test_imports", "from tests.unit.test_imports import START"],
)
def test_import_of_a_test_module_is_found(source: str) -> None:
    assert imported_test_modules(source) != []


def test_test_modules_do_not_import_each_other() -> None:
    imports = {str(path.relative_to(TESTS)): imported_test_modules(path.read_text()) for path in TESTS.rglob("test_*.py")}

    assert len(imports) > 100
    assert {path: modules for path, modules in imports.items() if modules} == {}


def called_tests(source: str) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Name(id=name, ctx=ast.Load()) | ast.Attribute(attr=name, ctx=ast.Load()):
                names.append(name)
    return [name for name in names if name.startswith("test_")]


@pytest.mark.parametrize("source", ["def test_a():\n    test_b()", "module.test_a()", "run(test_a)"])
def test_call_of_a_test_is_found(source: str) -> None:
    assert called_tests(source) != []


def test_tests_do_not_call_each_other() -> None:
    calls = {str(path.relative_to(TESTS)): called_tests(path.read_text()) for path in TESTS.rglob("*.py")}

    assert {path: names for path, names in calls.items() if names} == {}
