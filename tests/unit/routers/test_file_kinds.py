"""Kinds of files in words."""

import pytest

from lambda_app.routers.http.file_kinds import file_kind


@pytest.mark.parametrize(
    ("content_type", "filename", "words"),
    [
        ("image/jpeg", "photo.jpg", "JPEG image"),
        ("image/svg+xml", "logo", "SVG image"),
        ("video/quicktime", "film.mov", "QuickTime video"),
        ("video/x-matroska; codecs=avc1", "film.mkv", "MATROSKA video"),
        ("audio/mpeg", "song.mp3", "MPEG audio"),
        ("application/pdf", "plan", "PDF document"),
        ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "budget.xlsx", "Spreadsheet"),
        ("application/zip", "all.zip", "Archive"),
        ("text/plain", "notes", "Document"),
        ("application/octet-stream", "setup.exe", "EXE file"),
        ("application/octet-stream", "setup", "File"),
    ],
)
def test_type_in_words(content_type: str, filename: str, words: str) -> None:
    assert file_kind(content_type, filename).words.lower() == words.lower()


@pytest.mark.parametrize("content_type", ["image/<script>", "image/" + "x" * 200, "image/", "image"])
def test_unknown_format_is_not_shown(content_type: str) -> None:
    assert file_kind(content_type, "a.jpg").words == "Image"


@pytest.mark.parametrize("filename", ["a.<b>", "a." + "x" * 200, "a.\u202egpj", "."])
def test_unusual_ending_is_not_shown(filename: str) -> None:
    assert file_kind("application/octet-stream", filename).words == "File"
