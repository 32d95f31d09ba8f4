"""Sizes and times on the pages that the server renders."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
import time_machine

from lambda_app.routers.http.page_formats import exact_time, initials, preview_of_names, size, time_left

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("bytes_", "text"),
    [
        *((0, "0 B"), (34, "34 B"), (999, "999 B"), (1000, "1 KB"), (999_499, "999 KB"), (999_500, "1 MB"), (24_800_000, "24.8 MB")),
        *((1_000_000_000, "1 GB"), (3_260_000_000, "3.26 GB"), (99_960_000, "100 MB"), (5 * 1024**4, "5.5 TB")),
    ],
)
def test_size_has_at_most_three_digits(bytes_: int, text: str) -> None:
    assert size(bytes_) == text


def test_exact_time_names_weekday_and_zone() -> None:
    assert exact_time(datetime(2026, 12, 11, 18, tzinfo=timezone(timedelta(hours=1)))) == "Fri 11 Dec 2026, 17:00 UTC"


@pytest.mark.parametrize(
    ("left", "text"),
    [
        (timedelta(days=14, hours=23), "Open for 14 more days"),
        (timedelta(days=1), "Open for 1 more day"),
        (timedelta(hours=23, minutes=59), "Open for 23 more hours"),
        (timedelta(minutes=1), "Open for 1 more minute"),
        (timedelta(seconds=59), "Closes in less than a minute"),
        (timedelta(seconds=-5), "Closes in less than a minute"),
        (timedelta(days=26_000), "Open for 26,000 more days"),
    ],
)
def test_time_left_is_rounded_down(left: timedelta, text: str) -> None:
    with time_machine.travel(NOW, tick=False):
        assert time_left(NOW + left) == text


def test_preview_names_three_files() -> None:
    assert preview_of_names(["a", "b", "c"]) == "a, b, c"
    assert preview_of_names(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"


@pytest.mark.parametrize(("name", "letters"), [("Mara Lindqvist", "ML"), ("mara", "M"), ("Ana María de Souza", "AM"), ("李 小龙", "李小")])
def test_initials_are_those_of_two_words(name: str, letters: str) -> None:
    assert initials(name) == letters
