"""Kinds of files in words and as icons, for pages. `web/src/core/file-kind.ts` names the same kinds in the app."""

from dataclasses import dataclass
from pathlib import PurePath

_DOCUMENT = "M5 3h6.5L15 6.5V17H5zM11.5 3v3.5H15M7.5 10h5M7.5 13h5"
_ICONS = {
    "image": "M3.5 4h13v12h-13zM3.5 13.5l3.7-3.7 3 3 2.3-2.3 4 4M12.8 7.6v.05",
    "video": "M3 5h10v10H3zM13 8.7l4-2.4v7.4l-4-2.4",
    "audio": "M7 15.2V5l9-1.7v10M7 15.2a2 2 0 1 1-4 0 2 2 0 0 1 4 0M16 13.3a2 2 0 1 1-4 0 2 2 0 0 1 4 0",
    "pdf": _DOCUMENT,
    "sheet": "M3.5 4h13v12h-13zM3.5 8h13M3.5 12h13M8.5 4v12",
    "document": _DOCUMENT,
    "archive": "M5 3h6.5L15 6.5V17H5zM9 3v1.5M10 6v1.5M9 9v1.5M9 12.5h2V15H9z",
    "code": "M7 6.5 3.5 10 7 13.5M13 6.5l3.5 3.5-3.5 3.5M11 4.5l-2 11",
    "other": "M5 3h6.5L15 6.5V17H5zM11.5 3v3.5H15",
}
"""Outlines on a grid of 20 px. They are those of the app (`web/src/ui/icon-paths.ts`)."""
_WORDS = {"pdf": "PDF document", "sheet": "Spreadsheet", "document": "Document", "archive": "Archive", "code": "Source code"}
_FORMATS = {
    "svg+xml": "SVG",
    "quicktime": "QuickTime",
    "mpeg": "MPEG",
    "webm": "WebM",
    "webp": "WebP",
    "matroska": "Matroska",
    "wave": "WAV",
}
_LONGEST_FORMAT = 10
_EXTENSIONS = {
    extension: kind
    for kind, extensions in {
        "image": "jpg jpeg png gif webp avif heic heif tif tiff bmp svg raw dng psd",
        "video": "mp4 m4v mov webm mkv avi mpg mpeg",
        "audio": "mp3 m4a wav flac ogg oga opus aac aif aiff",
        "pdf": "pdf",
        "sheet": "xls xlsx ods csv tsv numbers",
        "document": "txt md rtf doc docx odt pages ppt pptx odp key tex epub",
        "archive": "zip gz tgz bz2 xz zst 7z rar tar",
        "code": "js ts jsx tsx py rb go rs c h cpp java kt swift cs php sh sql html css json xml yml yaml toml",
    }.items()
    for extension in extensions.split()
}


@dataclass(frozen=True, slots=True)
class FileKind:
    """A kind of file: its icon, and the type in words."""

    icon: str
    words: str


def file_kind(content_type: str, filename: str) -> FileKind:
    """Return the kind of a file by its content type, else by the ending of its name."""
    main, _, subtype = content_type.partition(";")[0].strip().lower().partition("/")
    suffix = PurePath(filename).suffix[1:].lower()
    extension = suffix if suffix.isascii() and suffix.isalnum() and len(suffix) <= _LONGEST_FORMAT else ""
    if main in ("image", "video", "audio"):
        name = subtype.removeprefix("x-")
        known = name.isascii() and name.isalnum() and len(name) <= _LONGEST_FORMAT
        shown = _FORMATS.get(name) or (name.upper() if known else "")
        return FileKind(_ICONS[main], f"{shown} {main}" if shown else main.capitalize())
    kind = "pdf" if (main, subtype) == ("application", "pdf") else _EXTENSIONS.get(extension, "document" if main == "text" else "other")
    return FileKind(_ICONS[kind], _WORDS.get(kind) or (f"{extension.upper()} file" if extension else "File"))


_ALLOWED_TYPES = {
    "image/*": "images",
    "video/*": "videos",
    "audio/*": "audio",
    "text/*": "text",
    "application/pdf": "PDF documents",
    "application/zip": "zip archives",
}


def type_in_words(content_type: str) -> str:
    """Return an allowed content type in words: "images" for `image/*`. Types that have no words are returned unchanged."""
    return _ALLOWED_TYPES.get(content_type, content_type)
