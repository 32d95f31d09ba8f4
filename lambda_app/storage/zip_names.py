"""Unique file names inside a zip that every operating system can extract."""

import re
import unicodedata
from collections.abc import Iterable

from lambda_app.storage.content import FILENAME_MAX_BYTES, safe_filename, truncate_filename

# Windows does not allow these characters in a name. A colon would write to an alternate data stream of the file.
_NOT_ON_WINDOWS = re.compile(r'[<>:"|?*]')


def entry_names(filenames: Iterable[str]) -> list[str]:
    """Return the name of each entry, in order: without a path, at most 255 bytes long, and unique.

    A name is the same as for a single download; the second file of the same name becomes `name (2).ext`. Names count as equal when they
    differ only in case or Unicode normalisation, because some file systems would overwrite one file with the other.
    """
    used: set[str] = set()
    last_numbers: dict[str, int] = {}
    names = []
    for filename in filenames:
        plain = safe_filename(_NOT_ON_WINDOWS.sub("_", filename))
        name, number = plain, last_numbers.get(_comparison_key(plain), 1)
        while _comparison_key(name) in used:
            number += 1
            name = _numbered(plain, number)
        last_numbers[_comparison_key(plain)] = number
        used.add(_comparison_key(name))
        names.append(name)
    return names


def _comparison_key(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _numbered(name: str, number: int) -> str:
    stem, dot, extension = name.rpartition(".")
    if not stem:
        stem, dot, extension = name, "", ""
    ending = f" ({number}){dot}{extension}"
    if len(ending.encode()) > FILENAME_MAX_BYTES // 2:
        # Too long for an extension: append the number to the whole name.
        stem, ending = name, f" ({number})"
    return f"{truncate_filename(stem, FILENAME_MAX_BYTES - len(ending.encode()))}{ending}"
