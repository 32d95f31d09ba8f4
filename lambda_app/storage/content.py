"""How a downloaded object is presented: its file name (RFC 6266, RFC 8187) and a content type that no browser executes."""

import re
import unicodedata
from urllib.parse import quote

FILENAME_MAX_BYTES = 255
"""Longest name that goes out, in bytes of UTF-8: what Linux and macOS can store. It bounds the header to 1.1 kB."""

EXTENSION_MAX_BYTES = 20
"""A longer ending after the last dot is not kept when the name is cut."""

FALLBACK_FILENAME = "download"
"""The name of a file of whose own name nothing is left."""

FALLBACK_CONTENT_TYPE = "application/octet-stream"
"""The type of everything that is not on the list below."""

# Types that a browser shows, plays or saves without running anything in them. The list names what is harmless, because what is not
# grows: HTML, SVG and every other XML, scripts, style sheets, WebAssembly, MHTML, Flash and installable manifests are absent on
# purpose. PDF is in: viewers run its scripts in a sandbox without the page's origin, which is the bucket's and not ours, and
# phones need the type to preview it. Office documents are in: only their own applications open them.
_HARMLESS = frozenset(
    f"{family}/{subtype}"
    for family, subtypes in {
        "application": "gzip json msword pdf rtf vnd.ms-excel vnd.ms-powerpoint vnd.rar x-7z-compressed x-bzip2 x-tar x-xz zip zstd "
        "epub+zip vnd.oasis.opendocument.presentation vnd.oasis.opendocument.spreadsheet vnd.oasis.opendocument.text "
        "vnd.openxmlformats-officedocument.presentationml.presentation vnd.openxmlformats-officedocument.spreadsheetml.sheet "
        "vnd.openxmlformats-officedocument.wordprocessingml.document",
        "audio": "aac flac midi mp4 mpeg ogg opus wav webm x-wav",
        "font": "otf ttf woff woff2",
        "image": "apng avif bmp gif heic heif jpeg png tiff vnd.microsoft.icon webp x-icon",
        "text": "calendar csv markdown plain tab-separated-values",
        "video": "3gpp mp2t mp4 mpeg ogg quicktime webm x-matroska x-msvideo",
    }.items()
    for subtype in subtypes.split()
)

# Letters that take no room and are of no category below.
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
# The joiners spell words in Persian and the languages of India and hold emoji together; next to ASCII they only deceive.
_JOINERS = "\u200c\u200d"
_STRAY_JOINER = re.compile(f"(?<![^\x00-\x7f{_JOINERS}])[{_JOINERS}]+|[{_JOINERS}]+(?![^\x00-\x7f{_JOINERS}])")
# Names that Windows gives to devices, whatever extension follows.
_DEVICE = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³])\s*(?:\.|$)", re.IGNORECASE)
_ATTR_CHAR = "!#$&+-.^_`|~"
"""What RFC 8187 leaves unencoded beside letters and digits."""


def served_content_type(content_type: str) -> str:
    """Return the type to answer with: the declared one without its parameters if it is known to be harmless, else octet-stream."""
    essence = content_type.partition(";")[0].strip().lower()
    return essence if essence in _HARMLESS else FALLBACK_CONTENT_TYPE


def content_disposition(filename: str) -> str:
    """Return the Content-Disposition that saves a download under `filename`, or the nearest name that is safe everywhere.

    Accepts any string. The result is printable ASCII.
    """
    name = saved_filename(filename)
    # Old clients read only `filename`, and differ in how they unescape quotes, backslashes and percent signs (RFC 6266, appendix D).
    fallback = re.sub(r'[^ -~]|["\\%]', "_", name)
    return f"attachment; filename=\"{fallback}\"; filename*=UTF-8''{quote(name, safe=_ATTR_CHAR)}"


def saved_filename(filename: str) -> str:
    """Return the name that a download is saved under; people are shown this one, where marks of direction cannot hide its extension."""
    name = re.sub(r"[/\\]", "_", filename)
    if not (name.isascii() and name.isprintable()):
        name = _STRAY_JOINER.sub("", "".join(_visible(character) for character in name))
    # Runs of spaces push a true extension out of sight.
    name = re.sub(" {2,}", " ", name)
    # A leading dot hides the file, a trailing one Windows drops.
    name = name.lstrip(" .").rstrip(" .")
    if _DEVICE.match(name):
        name = f"_{name}"
    return shortened(name) or FALLBACK_FILENAME


def _visible(character: str) -> str:
    """Return the character, a plain space for any white space, nothing for what cannot be seen (controls, bidi marks, fillers)."""
    if character in _INVISIBLE:
        return ""
    if character in _JOINERS:
        return character
    category = unicodedata.category(character)
    if category == "Zs":
        return " "
    return "" if category in ("Cc", "Cf", "Cs", "Zl", "Zp") else character


def shortened(name: str, max_bytes: int = FILENAME_MAX_BYTES) -> str:
    """Cut a long name before its extension, on a character boundary."""
    if len(name.encode()) <= max_bytes:
        return name
    stem, dot, extension = name.rpartition(".")
    if not stem or len(extension.encode()) > EXTENSION_MAX_BYTES:
        stem, dot, extension = name, "", ""
    room = max_bytes - len(f"{dot}{extension}".encode())
    stem = stem.encode()[:room].decode(errors="ignore").rstrip(f" .{_JOINERS}")
    return f"{stem}{dot}{extension}"
