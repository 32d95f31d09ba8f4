"""File names and content types of downloads, checked with independent parsers."""

from email.message import EmailMessage
from email.policy import HTTP

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from werkzeug.http import parse_options_header

from lambda_app.storage.content import _TYPE_BY_EXTENSION, FILENAME_MAX_BYTES, content_disposition, served_content_type

HEADER_MAX_BYTES = len("attachment; filename=\"\"; filename*=UTF-8''") + 4 * FILENAME_MAX_BYTES


def _parsed(filename: str) -> tuple[str, str]:
    """Return the file name as a modern client reads it, and as a client reads it that only supports `filename`."""
    header = content_disposition(filename)
    kind, options = parse_options_header(header)
    assert kind == "attachment"
    assert set(options) == {"filename"}
    plain_kind, plain = parse_options_header(header.partition("; filename*=")[0])
    assert (plain_kind, set(plain)) == ("attachment", {"filename"})
    return options["filename"], plain["filename"]


@pytest.mark.parametrize(
    ("filename", "saved_as", "fallback"),
    [
        ("report.pdf", "report.pdf", "report.pdf"),
        ("two words (1).tar.gz", "two words (1).tar.gz", "two words (1).tar.gz"),
        ("Übergröße.txt", "Übergröße.txt", "_bergr__e.txt"),
        ("契約書.docx", "契約書.docx", "___.docx"),
        ("📦🎉.zip", "📦🎉.zip", "__.zip"),
        ("👩\u200d👩\u200d👧.png", "👩\u200d👩\u200d👧.png", "_____.png"),
        ("می\u200cخواهم.txt", "می\u200cخواهم.txt", "________.txt"),
        ("مرحبا עולם.pdf", "مرحبا עולם.pdf", "_____ ____.pdf"),
        ('the "big" one.txt', 'the "big" one.txt', "the _big_ one.txt"),
        ("100%25 & a;b=c, 'd'.txt", "100%25 & a;b=c, 'd'.txt", "100_25 & a;b=c, 'd'.txt"),
        ("a\\b/c.txt", "a_b_c.txt", "a_b_c.txt"),
        ("../../etc/passwd", "_.._etc_passwd", "_.._etc_passwd"),
        ("C:\\Users\\me\\x.doc", "C:_Users_me_x.doc", "C:_Users_me_x.doc"),
        ("a\r\nSet-Cookie: b=c\r\n\r\n<html>.txt", "aSet-Cookie: b=c<html>.txt", "aSet-Cookie: b=c<html>.txt"),
        ("nul\x00byte\x1b[31m\x7f\x85.txt", "nulbyte[31m.txt", "nulbyte[31m.txt"),
        ("invoice\u202efdp.exe", "invoicefdp.exe", "invoicefdp.exe"),
        ("\u2066a\u2069\u200e\u200f\u061c\ufeffb\u200bc\u00add.txt", "abcd.txt", "abcd.txt"),
        ("pass\u200dword\u200c.txt", "password.txt", "password.txt"),
        ("a\u3164\u2800b.txt", "ab.txt", "ab.txt"),
        ("invoice.pdf\u00a0\u3000            .exe", "invoice.pdf .exe", "invoice.pdf .exe"),
        ("line\u2028break\u2029.txt", "linebreak.txt", "linebreak.txt"),
        ("lone\ud800surrogate.txt", "lonesurrogate.txt", "lonesurrogate.txt"),
        (".gitignore", ".gitignore", ".gitignore"),
        (" .env", ".env", ".env"),
        ("...", "download", "download"),
        ("a.txt. . ", "a.txt", "a.txt"),
        ("CON", "_CON", "_CON"),
        ("nul.tar.gz", "_nul.tar.gz", "_nul.tar.gz"),
        ("com1 .txt", "_com1 .txt", "_com1 .txt"),
        ("LPT³", "_LPT³", "_LPT_"),
        ("console.txt", "console.txt", "console.txt"),
        ("", "download", "download"),
        (" ... ", "download", "download"),
        ("\u202e\u200b", "download", "download"),
    ],
)
def test_safe_parts_of_a_file_name_are_preserved(filename: str, saved_as: str, fallback: str) -> None:
    assert _parsed(filename) == (saved_as, fallback)


@pytest.mark.parametrize(
    ("filename", "saved_as"),
    [
        ("a" * 255, "a" * 255),
        ("a" * 300 + ".pdf", "a" * 251 + ".pdf"),
        ("é" * 255 + ".pdf", "é" * 125 + ".pdf"),
        ("📦" * 255 + ".tar.gz", "📦" * 63 + ".gz"),
        ("a" * 250 + " . " + "b" * 50 + ".txt", "a" * 250 + ".txt"),
        ("a" * 100 + "." + "b" * 300, "a" * 100 + "." + "b" * 154),
        ("👩\u200d" * 100, "👩\u200d" * 35 + "👩"),
    ],
)
def test_long_name_is_truncated_and_keeps_its_extension(filename: str, saved_as: str) -> None:
    assert _parsed(filename)[0] == saved_as
    assert len(saved_as.encode()) <= FILENAME_MAX_BYTES


@given(st.text(alphabet=st.characters(), max_size=600))
@example("\ud83d\udce6" * 300)
@example("\U0010ffff" * 255)
@example('"' * 600)
@example("%" * 600)
def test_any_file_name_yields_one_safe_header(filename: str) -> None:
    header = content_disposition(filename)

    assert header.isascii()
    assert header.isprintable()
    assert len(header) <= HEADER_MAX_BYTES
    name, fallback = _parsed(filename)
    assert 0 < len(name.encode()) <= FILENAME_MAX_BYTES
    assert not set(name + fallback) & set("/\\\r\n\0\u202e\u2066")
    assert name == name.strip()
    assert not name.startswith("..")
    assert name != "."


@given(st.text(alphabet=st.characters(), max_size=300))
def test_standard_library_parser_reads_the_same_name(filename: str) -> None:
    header = content_disposition(filename)
    # It implements RFC 2231 and reads each form alone, like clients from before RFC 6266.
    extended = EmailMessage(policy=HTTP)
    extended["Content-Disposition"] = "attachment; filename*=" + header.partition("filename*=")[2]

    assert extended.get_filename() == _parsed(filename)[0]


@pytest.mark.parametrize(
    "content_type",
    [
        "image/png",
        "application/pdf",
        "application/zip",
        "text/plain",
        "text/csv",
        "video/mp4",
        "audio/mpeg",
        "font/woff2",
        "application/json",
    ],
)
def test_allowed_type_is_served_as_declared(content_type: str) -> None:
    assert served_content_type(content_type) == content_type


@pytest.mark.parametrize(
    "content_type",
    [
        "text/html",
        "TEXT/HTML; charset=utf-8",
        " text/html ",
        "application/xhtml+xml",
        "image/svg+xml",
        "text/xml",
        "application/xml",
        "application/atom+xml",
        "application/xslt+xml",
        "application/mathml+xml",
        "text/javascript",
        "application/javascript",
        "application/ecmascript",
        "text/css",
        "application/wasm",
        "multipart/related",
        "message/rfc822",
        "application/x-mimearchive",
        "application/x-shockwave-flash",
        "application/x-msdownload",
        "application/manifest+json",
        "text/cache-manifest",
        "text/vtt",
        "image/png, text/html",
        "image/png\r\nX: y",
        "*/*",
        "",
        "\ud800",
    ],
)
def test_active_or_unknown_type_is_served_as_octet_stream(content_type: str) -> None:
    assert served_content_type(content_type) == "application/octet-stream"


def test_type_parameters_are_dropped_and_case_is_ignored() -> None:
    assert served_content_type(" Text/Plain ; charset=utf-7") == "text/plain"


def test_types_of_extensions_are_served_as_declared() -> None:
    assert {extension: served_content_type(known) for extension, known in _TYPE_BY_EXTENSION.items()} == _TYPE_BY_EXTENSION
