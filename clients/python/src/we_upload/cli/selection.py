"""Which files a command takes: arguments, folders, `--include` and `--exclude`."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from we_upload.cli.output import UsageError


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
    """Return the files, in the order of the arguments and sorted within a folder. Raises UsageError for a path that is neither.

    A pattern with a slash is compared with the path below the folder, others with the name of the file or of a folder above it.
    """
    selected = []
    for text in paths:
        path = Path(text)
        if path.is_dir():
            name = path.resolve().name or "folder"
            selected += [
                Selected(path / below, f"{name}/{below}") for below in walk(path) if is_chosen(below, include=include, exclude=exclude)
            ]
        elif path.is_file():
            selected.append(Selected(path, path.name))
        elif path.exists():
            raise UsageError(f"{text} is neither a file nor a folder.")
        else:
            raise UsageError(f"{text}: there is no such file or folder.")
    return selected


def walk(folder: Path) -> Iterator[str]:
    """Yield the regular files below a folder, sorted, with `/` in their paths. Links to folders are not followed."""
    for root, folders, names in os.walk(folder, onerror=_refuse):
        folders.sort()
        for name in sorted(names):
            path = Path(root, name)
            if path.is_file():
                yield path.relative_to(folder).as_posix()


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
