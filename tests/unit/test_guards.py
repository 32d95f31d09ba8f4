"""The list of guards fits the code: it cannot be run in every `make test`, and must not be out of date when it is."""

import ast
from pathlib import Path

import pytest

from tests.mutation.guards import GUARDS, Guard

CHECKOUT = Path(__file__).parents[2]


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_guard_stands_where_the_list_says_and_its_tests_exist(guard: Guard) -> None:
    text = (CHECKOUT / "lambda_app" / guard.path).read_text()

    assert text.count(guard.line) == 1
    ast.parse(text.replace(guard.line, guard.without))
    for test in guard.tests:
        path, _, name = test.partition("::")
        source = CHECKOUT / "tests" / path
        assert source.exists()
        assert not name or f"def {name}(" in source.read_text()


def test_guards_have_names_of_their_own() -> None:
    assert len({guard.name for guard in GUARDS}) == len(GUARDS) >= 40
