"""The zip layout, read by Python's zipfile. Zips over 4 GiB are written as sparse files."""

import zipfile
import zlib
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambda_app.storage.zip_layout import Kind, ZipEntry, ZipLayout

AT = datetime(2026, 1, 2, 3, 4, 6, tzinfo=UTC)
GIB = 1024**3


def render(layout: ZipLayout, bodies: list[bytes], start: int, end: int) -> bytes:
    """Return a segment of the zip."""
    crc32s = [zlib.crc32(body) for body in bodies]
    pieces = []
    for segment in layout.segments(start, end):
        match segment.kind:
            case Kind.HEADER:
                found = layout.header(segment.index, crc32s[segment.index])
            case Kind.CONTENT:
                found = bodies[segment.index]
            case _:
                found = layout.directory(crc32s)
        pieces.append(found[segment.skipped : segment.skipped + segment.end - segment.start])
    return b"".join(pieces)


@settings(max_examples=50)
@given(st.lists(st.binary(max_size=200), min_size=1, max_size=8), st.lists(st.integers(0, 3000), max_size=6))
def test_zip_is_identical_for_any_segmentation(tmp_path_factory: pytest.TempPathFactory, bodies: list[bytes], cuts: list[int]) -> None:
    layout = ZipLayout([ZipEntry(f"{number} é.bin", len(body), AT) for number, body in enumerate(bodies)])
    size = layout.size_bytes
    at = sorted({0, size, *(cut for cut in cuts if cut < size)})

    pieces = b"".join(render(layout, bodies, start, end) for start, end in pairwise(at))

    path = tmp_path_factory.getbasetemp() / "cut.zip"
    path.write_bytes(pieces)
    assert len(pieces) == size
    with zipfile.ZipFile(path) as found:
        assert found.testzip() is None
        assert [found.read(entry) for entry in found.infolist()] == bodies


def test_entry_metadata_equals_that_of_zipfile(tmp_path: Path) -> None:
    layout = ZipLayout([ZipEntry("a.txt", 1, AT), ZipEntry("é.txt", 0, datetime(1970, 1, 1, tzinfo=UTC))])
    (tmp_path / "a.zip").write_bytes(render(layout, [b"x", b""], 0, layout.size_bytes))

    with zipfile.ZipFile(tmp_path / "a.zip") as found:
        first, second = found.infolist()

    assert (first.filename, first.date_time, first.external_attr >> 16) == ("a.txt", (2026, 1, 2, 3, 4, 6), 0o100644)
    # Flag bits 0: sizes and checksum precede the content, as a streaming reader requires.
    assert (first.flag_bits, first.compress_type, first.extract_version) == (0, zipfile.ZIP_STORED, 10)
    assert (second.filename, second.date_time[0], second.flag_bits) == ("é.txt", 1980, 0x800)
    assert int(AT.timestamp()).to_bytes(4, "little") in first.extra


def test_zip_over_4_gib_is_readable(tmp_path: Path) -> None:
    bodies = [b"first", b"", b"last, behind 4 GiB"]
    sizes = [len(bodies[0]), 5 * GIB, len(bodies[2])]
    layout = ZipLayout([ZipEntry(f"{number}.bin", size, AT) for number, size in enumerate(sizes)])
    crc32s = [zlib.crc32(body) for body in bodies]
    path = tmp_path / "large.zip"

    with path.open("wb") as file:
        file.truncate(layout.size_bytes)
        for segment in layout.segments(0, layout.size_bytes):
            file.seek(segment.start)
            match segment.kind:
                case Kind.HEADER:
                    file.write(layout.header(segment.index, crc32s[segment.index]))
                case Kind.CONTENT:
                    file.write(bodies[segment.index])  # the large entry is a hole in the sparse file
                case Kind.DIRECTORY:
                    file.write(layout.directory(crc32s))

    assert path.stat().st_blocks * 512 < 1024**2
    with zipfile.ZipFile(path) as found:
        assert [entry.file_size for entry in found.infolist()] == sizes
        assert found.infolist()[2].header_offset > 5 * GIB
        assert [entry.extract_version for entry in found.infolist()] == [10, 45, 45]
        assert (found.read("0.bin"), found.read("2.bin")) == (bodies[0], bodies[2])
        with found.open("1.bin") as large:
            assert large.read(1024) == bytes(1024)


@pytest.mark.parametrize("size", [2**32 - 2, 2**32 - 1, 2**32])
def test_zip64_fields_are_used_from_the_32_bit_limit(tmp_path: Path, size: int) -> None:
    layout = ZipLayout([ZipEntry("a", size, AT)])
    path = tmp_path / "a.zip"

    with path.open("wb") as file:
        file.write(layout.header(0, 7))
        file.seek(layout.size_bytes - len(layout.directory([7])))
        file.write(layout.directory([7]))

    with zipfile.ZipFile(path) as found:
        (entry,) = found.infolist()
        assert (entry.file_size, entry.compress_size, entry.CRC) == (size, size, 7)
        found.open(entry).close()


@pytest.mark.slow
def test_more_than_65535_entries_are_listed(tmp_path: Path) -> None:
    count = 65_536
    layout = ZipLayout([ZipEntry(str(number), 0, AT) for number in range(count)])
    path = tmp_path / "many.zip"
    path.write_bytes(render(layout, [b""] * count, 0, layout.size_bytes))

    with zipfile.ZipFile(path) as found:
        assert len(found.infolist()) == count
