"""The list of guards fits the code: it cannot be run in every `make test`, and must not be out of date when it is."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import ColumnElement, Integer, and_, column, or_, select, true

from tests.mutation.edits import DropArgument, DropCheck, DropCondition, Edit, EditError, Read, Replace, edited, remove
from tests.mutation.guards import GUARDS, Guard

CHECKOUT = Path(__file__).parents[2]
LIMIT = 1000
SIZE = column("size", Integer)
COUNT = column("count", Integer)


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_function_has_what_the_list_removes_and_the_tests_exist(guard: Guard) -> None:
    edited(guard.target, guard.without)

    for test in guard.tests:
        path, _, name = test.partition("::")
        source = CHECKOUT / "tests" / path
        assert source.exists()
        assert not name or f"def {name}(" in source.read_text()


def test_guards_have_names_of_their_own() -> None:
    assert len({guard.name for guard in GUARDS}) == len(GUARDS) >= 40


def within_limit(size: int, *, name: str = "") -> int:
    if size < 0:
        raise ValueError(name)
    if size > LIMIT:
        raise OverflowError
    return size


def conditions(*, is_strict: bool = True) -> ColumnElement[bool]:
    if is_strict and COUNT.key:
        return and_(SIZE == 1, or_(COUNT == 2, COUNT.in_([3])))
    return (SIZE == 1) & (COUNT == 2)


def rows() -> Any:
    return select(SIZE).where(COUNT == 2).with_for_update(key_share=True)


def limit() -> int:
    return LIMIT


TWICE_THE_LIMIT = 2 * limit()


async def answer(number: int) -> int:
    return number


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def change(function: Any, *edits: Edit) -> None:
        monkeypatch.setattr(function, "__code__", function.__code__)
        remove(function, edits)

    return change


def test_check_is_found_by_what_it_mentions(without: Callable[..., None]) -> None:
    without(within_limit, DropCheck(LIMIT, OverflowError))

    assert within_limit(LIMIT + 1) == LIMIT + 1
    with pytest.raises(ValueError, match="negative"):
        within_limit(-1, name="negative")


def test_condition_is_found_by_what_it_mentions(without: Callable[..., None]) -> None:
    without(conditions, DropCondition(COUNT, times=4))

    assert conditions().compare(and_(SIZE == 1, true()))
    assert conditions(is_strict=False).compare(SIZE == 1)


def test_value_is_read_in_the_place_of_another(without: Callable[..., None]) -> None:
    without(within_limit, Read(LIMIT, instead=5))

    assert within_limit(5) == 5
    with pytest.raises(OverflowError):
        within_limit(6)


def test_argument_is_left_out(without: Callable[..., None]) -> None:
    without(rows, DropArgument("key_share"))

    assert "KEY SHARE" not in str(rows()).upper()


def test_behaviour_takes_the_place_of_a_function(without: Callable[..., None]) -> None:
    without(within_limit, Replace(lambda original, size, name: original(min(size, LIMIT), name=name) + 1))

    assert within_limit(LIMIT + 1, name="x") == LIMIT + 1


def test_constant_that_was_made_with_the_function_is_made_anew(without: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "TWICE_THE_LIMIT", TWICE_THE_LIMIT)

    without(limit, Read(LIMIT, instead=5))

    assert TWICE_THE_LIMIT == 10


async def doubled(original: Callable[[int], Any], number: int) -> int:
    return 2 * int(await original(number))


def test_behaviour_takes_the_place_of_a_coroutine(without: Callable[..., None]) -> None:
    without(answer, Replace(doubled))

    with pytest.raises(StopIteration) as ended:
        answer(21).send(None)
    assert ended.value.value == 42


@pytest.mark.parametrize(
    "edit",
    [DropCheck(COUNT), DropCheck(ValueError, at=1), DropCondition(COUNT), DropArgument("limit"), Read(COUNT, instead=1)],
    ids=lambda edit: type(edit).__name__,
)
def test_edit_that_finds_nothing_is_an_error(edit: Edit) -> None:
    with pytest.raises(EditError):
        edited(within_limit, [edit])
