"""The comparison of the plans of two database sizes."""

from pathlib import Path

from tests.scale.block_reads import StatementReads
from tests.scale.plans import differences, read_plans, report, write_plans

INDEX = "Limit : 101.0 rows x 1, 30 blocks\n  Index Scan pk_file: 101.0 rows x 1, 30 blocks"
SAME_INDEX = "Limit : 101.0 rows x 1, 34 blocks\n  Index Scan pk_file: 101.0 rows x 1, 34 blocks"
TABLE = "Limit : 101.0 rows x 1, 9000 blocks\n  Seq Scan file: 101.0 rows x 1, 9000 blocks"


def test_plan_with_other_numbers_is_the_same_plan() -> None:
    small = {"test": [StatementReads("SELECT 1", 30, INDEX)]}

    assert not list(differences(small, {"test": [StatementReads("SELECT 1", 34, SAME_INDEX)]}))


def test_other_plan_and_far_more_blocks_are_reported_once_with_their_test(tmp_path: Path) -> None:
    small = {name: [StatementReads("SELECT 1", 30, INDEX), StatementReads("SELECT 2", 30, INDEX)] for name in ("first", "second")}
    large = {name: [StatementReads("SELECT 1", 9000, TABLE), StatementReads("SELECT 2", 200, SAME_INDEX)] for name in ("first", "second")}
    write_plans(tmp_path / "plans" / "large.json", large)

    found = list(differences(small, read_plans(tmp_path / "plans" / "large.json")))

    assert [(test, after.statement, after.blocks) for test, _, after in found] == [("first", "SELECT 1", 9000), ("first", "SELECT 2", 200)]
    assert report(small, large).startswith("2 tests, 2 statements, at most 9000 blocks\n2 statements differ\n")


def test_request_that_took_another_path_is_compared_up_to_there() -> None:
    small = {"test": [StatementReads("SELECT 1", 30, INDEX), StatementReads("SELECT 3", 30, INDEX)]}
    large = {"test": [StatementReads("SELECT 2", 9000, TABLE), StatementReads("SELECT 3", 9000, TABLE)]}

    assert not list(differences(small, large))
