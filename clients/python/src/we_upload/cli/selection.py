"""Which files a command takes: arguments, folders, `--include` and `--exclude`."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from we_upload.cli.output import UsageError, count_text, printable, say

LEFT_OUT_SHOWN = 5
"""How many entries that are left out are named."""


@dataclass(frozen=True, slots=True)
class Selected:
    """A file to upload. `relative` is its path below the folder that was named, with the name of that folder; the name of a single file."""

    path: Path
    relative: str

    @property
    def folder_path(self) -> str | None:
        """The path to keep as the description, None for a file outside a folder."""
        return self.relative if "/" in self.relative else None


def select(paths: Sequence[str], *, include: Sequence[str], exclude: Sequence[str]) -> list[Selected]:
    """Return the files, in the order of the arguments and sorted within a folder.

    Raises UsageError for a path that is neither a file nor a folder, and if there are no files.

    A pattern with a slash is compared with the path below the folder, others with the name of the file or of a folder above it.
    """
    selected: list[Selected] = []
    for text in paths:
        path = Path(text)
        if path.is_dir():
            name = path.resolve().name or "folder"
            selected += [Selected(path / below, f"{name}/{below}") for below in files_of(path, include=include, exclude=exclude)]
        elif path.is_file():
            selected.append(Selected(path, path.name))
        elif path.exists():
            raise UsageError(f"{text} is neither a file nor a folder.")
        elif path.is_symlink():
            raise UsageError(f"{text} is a link to a file that does not exist.")
        else:
            raise UsageError(f"{text}: there is no such file or folder.")
    if not selected:
        where = f"{paths[0]} has" if len(paths) == 1 else "The folders have"
        raise UsageError(f"{where} no files{' that match --include and --exclude' if include or exclude else ''}.")
    return selected


def files_of(folder: Path, *, include: Sequence[str], exclude: Sequence[str]) -> list[str]:
    """Return the chosen files below a folder, sorted, with `/` in their paths. Links to folders are not followed.

    Tells the user which other entries are left out: links to folders, links to nothing, and special files.
    """
    chosen: list[str] = []
    left_out: list[str] = []
    for below, is_file in _walk(folder):
        if is_chosen(below, include=include, exclude=exclude):
            (chosen if is_file else left_out).append(below)
    for below in left_out[:LEFT_OUT_SHOWN]:
        path = folder / below
        reason = "links to folders are not followed" if path.is_dir() else "it is neither a file nor a folder"
        say(printable(f"Left out {path}: {reason}."))
    if len(left_out) > LEFT_OUT_SHOWN:
        say(f"… and {count_text(len(left_out) - LEFT_OUT_SHOWN, 'other')}.")
    return chosen


def _walk(folder: Path) -> Iterator[tuple[str, bool]]:
    """Yield the entries below a folder that are not folders, and whether each is a regular file or a link to one."""
    for root, folders, names in os.walk(folder, onerror=_refuse):
        folders.sort()
        links = [name for name in folders if Path(root, name).is_symlink()]
        for name in sorted([*names, *links]):
            path = Path(root, name)
            yield path.relative_to(folder).as_posix(), path.is_file()


def _refuse(error: OSError) -> None:
    raise UsageError(f"{error.filename}: {error.strerror}")


def is_chosen(below: str, *, include: Sequence[str], exclude: Sequence[str]) -> bool:
    """Return whether a file of a folder is taken."""
    return (not include or any(_matches(below, pattern) for pattern in include)) and not any(
        _matches(below, pattern) for pattern in exclude
    )


def _matches(below: str, pattern: str) -> bool:
    pattern = pattern.rstrip("/")
    if "/" in pattern:
        return fnmatchcase(below, pattern.removeprefix("./")) or fnmatchcase(below, f"{pattern.removeprefix('./')}/*")
    return any(fnmatchcase(name, pattern) for name in below.split("/"))
