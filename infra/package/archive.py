"""A zip and a digest that depend on file names and contents only."""

import hashlib
import zipfile
from collections.abc import Iterator
from pathlib import Path

ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time of the zip format; a constant, so that the zip does not depend on the build time."""


def files_of(tree: Path) -> Iterator[Path]:
    """Yield the regular files below `tree`, sorted by their path in it."""
    yield from sorted((path for path in tree.rglob("*") if path.is_file()), key=lambda path: path.relative_to(tree).as_posix())


def size_bytes(tree: Path) -> int:
    """Return the total size of the files below `tree`."""
    return sum(path.stat().st_size for path in files_of(tree))


def digest_of(tree: Path) -> str:
    """Return the SHA-256, in hex, of the names and contents below `tree`.

    It identifies the package. The digest of the zip would change with the version of zlib.
    """
    total = hashlib.sha256()
    for path in files_of(tree):
        total.update(path.relative_to(tree).as_posix().encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def write_zip(tree: Path, target: Path) -> None:
    """Write `tree` as a zip with a fixed order and fixed times and modes."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in files_of(tree):
            entry = zipfile.ZipInfo(path.relative_to(tree).as_posix(), date_time=ZIP_EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            # Regular file, mode 0644: Lambda runs the code as another user than the one that unpacks it.
            entry.external_attr = 0o100644 << 16
            entry.create_system = 3
            archive.writestr(entry, path.read_bytes())
