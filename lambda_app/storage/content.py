"""Response headers of downloads: a safe file name (RFC 6266, RFC 8187) and a content type that no browser executes."""

import re
import unicodedata
from urllib.parse import quote

FILENAME_MAX_BYTES = 255
"""Longest file name of a download in bytes of UTF-8, the limit of Linux and macOS. It limits the header to 1.1 kB."""

EXTENSION_MAX_BYTES = 20
"""A longer extension is not preserved when the name is truncated."""

FALLBACK_FILENAME = "download"
"""Replaces a file name without any safe character."""

FALLBACK_CONTENT_TYPE = "application/octet-stream"
"""Replaces every type that is not in the list below."""

UNDETERMINED_LANGUAGE = "und"
"""The language tag of ISO 639-2 for an undetermined language."""

EXPIRED_AT = "Thu, 01 Jan 1970 00:00:00 GMT"
"""A date in the past, for caches that do not know Cache-Control."""

# Types that a browser displays, plays or saves without executing code. This is an allow-list, because the set of dangerous types grows:
# HTML, SVG and all other XML, scripts, style sheets, WebAssembly, MHTML, Flash and installable manifests are excluded on purpose.
# PDF is included: viewers run its scripts in a sandbox, the origin of the page is the bucket and not the API, and phones need the type
# to show a preview. Office documents are included: only their own applications open them.
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

# Types that browsers show or play in a page without executing code. A subset of the list above: no fonts, no archives.
_SHOWN = frozenset(
    [
        "application/pdf",
        "image/apng",
        "image/avif",
        "image/bmp",
        "image/gif",
        "image/jpeg",
        "image/png",
        "image/webp",
        "audio/aac",
        "audio/flac",
        "audio/mp4",
        "audio/mpeg",
        "audio/ogg",
        "audio/opus",
        "audio/wav",
        "audio/webm",
        "audio/x-wav",
        "video/mp4",
        "video/mpeg",
        "video/ogg",
        "video/quicktime",
        "video/webm",
    ]
)
_TEXTUAL = frozenset(
    [
        "application/ecmascript",
        "application/javascript",
        "application/json",
        "application/sql",
        "application/toml",
        "application/x-javascript",
        "application/x-ndjson",
        "application/x-sh",
        "application/x-yaml",
        "application/xml",
        "application/yaml",
    ]
)
"""Types of text outside the family `text`."""
PLAIN_TEXT = "text/plain; charset=utf-8"
INLINE_CACHE_SECONDS = 300
"""How long a browser may keep a file that a page shows."""

_TYPE_BY_EXTENSION = {
    "3gp": "video/3gpp",
    "7z": "application/x-7z-compressed",
    "avif": "image/avif",
    "csv": "text/csv",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "epub": "application/epub+zip",
    "flac": "audio/flac",
    "heic": "image/heic",
    "heif": "image/heif",
    "m4a": "audio/mp4",
    "md": "text/markdown",
    "mkv": "video/x-matroska",
    "mov": "video/quicktime",
    "odp": "application/vnd.oasis.opendocument.presentation",
    "ods": "application/vnd.oasis.opendocument.spreadsheet",
    "odt": "application/vnd.oasis.opendocument.text",
    "opus": "audio/opus",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "rar": "application/vnd.rar",
    "tif": "image/tiff",
    "tiff": "image/tiff",
    "webp": "image/webp",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "zst": "application/zstd",
}
"""Types of extensions that browsers on some systems do not know. Each is on the allow-list above."""

# Invisible characters outside the Unicode categories that `_visible` removes.
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
# Persian, Indic scripts and emoji sequences need the joiners. Next to ASCII they are only useful for spoofing.
_JOINERS = "\u200c\u200d"
_SPOOFING_JOINER = re.compile(f"(?<![^\x00-\x7f{_JOINERS}])[{_JOINERS}]+|[{_JOINERS}]+(?![^\x00-\x7f{_JOINERS}])")
# Reserved device names of Windows, which are also reserved with any extension.
_DEVICE = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³])\s*(?:\.|$)", re.IGNORECASE)
_ATTR_CHAR = "!#$&+-.^_`|~"
"""Characters that RFC 8187 leaves unencoded, besides letters and digits."""


def served_content_type(content_type: str) -> str:
    """Return the declared type without parameters if it is on the allow-list, else application/octet-stream."""
    essence = content_type.partition(";")[0].strip().lower()
    return essence if essence in _HARMLESS else FALLBACK_CONTENT_TYPE


def declared_or_known_type(content_type: str, filename: str) -> str:
    """Return the declared type; for application/octet-stream, the type of the file name's extension, if it is known.

    Browsers declare every type that the operating system does not know as application/octet-stream, for example HEIC photos on Windows.
    """
    if content_type.partition(";")[0].strip().lower() != FALLBACK_CONTENT_TYPE:
        return content_type
    _, dot, extension = filename.rpartition(".")
    return _TYPE_BY_EXTENSION.get(extension.lower(), content_type) if dot else content_type


def inline_content_type(content_type: str) -> str | None:
    """Return the type with which a browser may show the file in a page; None if it should only save it.

    Every kind of text becomes plain text, HTML, SVG and scripts included, so that their source is shown and never run.
    """
    essence = content_type.partition(";")[0].strip().lower()
    if essence in _SHOWN:
        return essence
    is_text = essence.startswith("text/") or essence in _TEXTUAL or essence.endswith(("+xml", "+json"))
    return PLAIN_TEXT if is_text else None


def content_disposition(filename: str, *, is_inline: bool = False) -> str:
    """Return a Content-Disposition header that saves the download as `safe_filename(filename)`, or shows it under that name.

    Accepts any string. The result is printable ASCII.
    """
    name = safe_filename(filename)
    # Old clients read only `filename`, and decode quotes, backslashes and percent signs differently (RFC 6266, appendix D).
    fallback = re.sub(r'[^ -~]|["\\%]', "_", name)
    return f"{'inline' if is_inline else 'attachment'}; filename=\"{fallback}\"; filename*=UTF-8''{quote(name, safe=_ATTR_CHAR)}"


def inline_overrides(filename: str, content_type: str) -> dict[str, str]:
    """Return the same query parameters as `download_overrides` for a file that a browser shows.

    `content_type` must be one that `inline_content_type` has returned, or that of an image that we made.
    """
    return {
        **download_overrides(filename, content_type),
        # The address is new each time, so a page that shows it again within its validity needs no second transfer.
        "response-cache-control": f"private, max-age={INLINE_CACHE_SECONDS}",
        "response-content-disposition": content_disposition(filename, is_inline=True),
        "response-content-type": content_type,
    }


def download_overrides(filename: str, content_type: str) -> dict[str, str]:
    """Return the query parameters that replace every response header which S3 took from the uploader, in their order in the URL.

    S3 stores unsigned headers of an upload and sends them with downloads
    (https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html, "Overriding response header values"). Caches would keep a
    download beyond the life of its URL, and a client that decompresses it would see bytes whose size and digest were never verified.
    """
    return {
        "response-cache-control": "private, no-store",
        "response-content-disposition": content_disposition(filename),
        "response-content-encoding": "identity",
        "response-content-language": UNDETERMINED_LANGUAGE,
        "response-content-type": served_content_type(content_type),
        "response-expires": EXPIRED_AT,
    }


def safe_filename(filename: str) -> str:
    """Return the file name under which a download is saved, and which pages display.

    It is valid on all operating systems and has no invisible or bidirectional characters, which could disguise the extension.
    """
    name = re.sub(r"[/\\]", "_", filename)
    if not (name.isascii() and name.isprintable()):
        name = _SPOOFING_JOINER.sub("", "".join(_visible(character) for character in name))
    # A long run of spaces could move the real extension out of view.
    name = re.sub(" {2,}", " ", name)
    # Windows removes trailing dots and spaces. A single leading dot stays: `.gitignore` is a name, but `..` begins a path.
    is_dotfile = re.match(r" *\.[^ .]", name) is not None
    name = f".{name.strip(' .')}" if is_dotfile else name.strip(" .")
    if _DEVICE.match(name):
        name = f"_{name}"
    return truncate_filename(name) or FALLBACK_FILENAME


def _visible(character: str) -> str:
    """Return the character, a plain space for any other space, or "" for an invisible one (controls, bidi marks, fillers)."""
    if character in _INVISIBLE:
        return ""
    if character in _JOINERS:
        return character
    category = unicodedata.category(character)
    if category == "Zs":
        return " "
    return "" if category in ("Cc", "Cf", "Cs", "Zl", "Zp") else character


def truncate_filename(name: str, max_bytes: int = FILENAME_MAX_BYTES) -> str:
    """Truncate a name to `max_bytes` of UTF-8, at a character boundary. The extension is preserved."""
    if len(name.encode()) <= max_bytes:
        return name
    stem, dot, extension = name.rpartition(".")
    if not stem or len(extension.encode()) > EXTENSION_MAX_BYTES:
        stem, dot, extension = name, "", ""
    stem_max_bytes = max_bytes - len(f"{dot}{extension}".encode())
    stem = stem.encode()[:stem_max_bytes].decode(errors="ignore").rstrip(f" .{_JOINERS}")
    return f"{stem}{dot}{extension}"
