"""Rules for the tests themselves."""

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]


def calls_of_tests(source: str) -> list[str]:
    """Return the names of tests that the source calls, passes on or imports."""
    names = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Name(id=name, ctx=ast.Load()) | ast.Attribute(attr=name, ctx=ast.Load()):
                names.append(name)
            case ast.ImportFrom(names=imported):
                names += [alias.name for alias in imported]
    return [name for name in names if name.startswith("test_")]


def test_no_test_calls_another() -> None:
    calls = {str(path.relative_to(TESTS)): calls_of_tests(path.read_text()) for path in TESTS.rglob("*.py")}

    assert len(calls) > 100
    assert {path: names for path, names in calls.items() if names} == {}


@pytest.mark.parametrize("source", ["def test_a():\n    test_b()", "module.test_a()", "from module import test_a"])
def test_call_of_a_test_is_found(source: str) -> None:
    assert len(calls_of_tests(source)) == 1
