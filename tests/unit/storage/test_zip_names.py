"""File names inside a zip: preserved where possible, safe, and unique."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambda_app.storage.zip_names import entry_names

NAMES = st.text(alphabet=st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from("./\\:aA (2)ée\u0301ß")), max_size=40)


@pytest.mark.parametrize("name", ["photo.jpg", "日本語 🗂.txt", "naïve café.pdf", "no extension", "a.tar.gz", "(1).txt"])
def test_safe_name_is_not_changed(name: str) -> None:
    assert entry_names([name]) == [name]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a.txt", "a.txt", "a.txt"], ["a.txt", "a (2).txt", "a (3).txt"]),
        (["a.txt", "A.TXT"], ["a.txt", "A (2).TXT"]),
        (["a (2).txt", "a.txt", "a.txt"], ["a (2).txt", "a.txt", "a (3).txt"]),
        (["a.txt", "a.txt", "a (2).txt"], ["a.txt", "a (2).txt", "a (2) (2).txt"]),
        (["caf\u00e9", "cafe\u0301"], ["caf\u00e9", "cafe\u0301 (2)"]),
        (["straße", "STRASSE"], ["straße", "STRASSE (2)"]),
        (["../x", "..\\x"], ["_x", "_x (2)"]),
        (["a:b", "a?b", 'a"b'], ["a_b", "a_b (2)", "a_b (3)"]),
        (["..", "."], ["download", "download (2)"]),
        (["nul", "NUL"], ["_nul", "_NUL (2)"]),
        (["a.b.c", "a.b.c"], ["a.b.c", "a.b (2).c"]),
        (["/etc/passwd"], ["_etc_passwd"]),
        ([".env", ".env"], [".env", ".env (2)"]),
    ],
)
def test_duplicate_or_unsafe_names_are_changed(names: list[str], expected: list[str]) -> None:
    assert entry_names(names) == expected


def test_long_duplicate_names_are_shortened_and_unique() -> None:
    names = entry_names(["ü" * 250 + ".txt"] * 12)

    assert len(set(names)) == 12
    assert all(len(name.encode()) <= 255 and name.endswith(".txt") for name in names)


@given(st.lists(NAMES, max_size=30))
def test_any_names_become_unique_and_safe(names: list[str]) -> None:
    entries = entry_names(names)

    assert len(entries) == len(names)
    assert len({unicodedata.normalize("NFC", entry).casefold() for entry in entries}) == len(entries)
    for entry in entries:
        assert 0 < len(entry.encode()) <= 255
        assert not set(entry) & set('/\\:<>|?*"\x00')
        assert entry not in (".", "..")
        assert not entry.endswith((".", " "))
