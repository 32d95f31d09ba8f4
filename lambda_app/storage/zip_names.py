"""The names of files inside a zip: kept as far as every system can unpack them, and no two alike."""

import re
import unicodedata
from collections.abc import Iterable

from lambda_app.storage.content import FILENAME_MAX_BYTES, saved_filename, shortened

# Windows takes none of these in a name; a colon would even write into a stream beside the file.
_NOT_ON_WINDOWS = re.compile(r'[<>:"|?*]')


def entry_names(filenames: Iterable[str]) -> list[str]:
    """Return the name of each entry, in order: without a path, at most 255 bytes long, and different from all others.

    What a download would be saved as is kept; the second of the same name becomes `name (2).ext`. Names are the same when a system that
    ignores letter case, or the way in which accents are spelled, would write one file over the other.
    """
    taken: set[str] = set()
    last_numbers: dict[str, int] = {}
    names = []
    for filename in filenames:
        plain = saved_filename(_NOT_ON_WINDOWS.sub("_", filename))
        name, number = plain, last_numbers.get(_same(plain), 1)
        while _same(name) in taken:
            number += 1
            name = _numbered(plain, number)
        last_numbers[_same(plain)] = number
        taken.add(_same(name))
        names.append(name)
    return names


def _same(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _numbered(name: str, number: int) -> str:
    stem, dot, extension = name.rpartition(".")
    if not stem:
        stem, dot, extension = name, "", ""
    ending = f" ({number}){dot}{extension}"
    if len(ending.encode()) > FILENAME_MAX_BYTES // 2:
        # What follows the last dot is no extension.
        stem, ending = name, f" ({number})"
    return f"{shortened(stem, FILENAME_MAX_BYTES - len(ending.encode()))}{ending}"
