"""The formats that have previews, recognised by the first bytes of a file. Neither its name nor its declared type is trusted."""

from enum import StrEnum

SNIFFED_BYTES = 64


class Kind(StrEnum):
    """What decodes a file."""

    IMAGE = "image"
    HEIF = "heif"
    PDF = "pdf"
    MOV = "mov"
    """MP4, QuickTime, 3GPP."""
    MATROSKA = "matroska"
    """Matroska, WebM."""


_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_MOV_BRANDS = frozenset(
    {b"isom", b"iso2", b"iso3", b"iso4", b"iso5", b"iso6", b"iso8", b"iso9", b"mp41", b"mp42", b"avc1", b"M4V ", b"qt  "}
)


def kind_of(start: bytes) -> tuple[Kind, str] | None:
    """Return the decoder of a file that starts with these bytes, and Pillow's name of an image format; None for other formats."""
    if image := _image_format(start):
        return Kind.IMAGE, image
    if start.startswith(b"%PDF-"):
        return Kind.PDF, ""
    if start.startswith(b"\x1a\x45\xdf\xa3"):
        return Kind.MATROSKA, ""
    if start[4:8] == b"ftyp":
        return _iso_kind(start)
    # QuickTime files of before the `ftyp` box begin with one of these.
    return (Kind.MOV, "") if start[4:8] in (b"moov", b"mdat", b"wide") else None


def _image_format(start: bytes) -> str | None:
    if start.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if start.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if start.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    return "WEBP" if start.startswith(b"RIFF") and start[8:12] == b"WEBP" else None


def _iso_kind(start: bytes) -> tuple[Kind, str] | None:
    length = int.from_bytes(start[:4], "big")
    box = start[: min(length, len(start))]
    # The major brand, then the compatible ones. The first known one decides: AVIF files also name `mif1`.
    brands = [box[8:12], *(box[at : at + 4] for at in range(16, len(box) - 3, 4))]
    if _AVIF_BRANDS.intersection(brands):
        return Kind.IMAGE, "AVIF"
    if _HEIF_BRANDS.intersection(brands):
        return Kind.HEIF, "HEIF"
    return (Kind.MOV, "") if _MOV_BRANDS.intersection(brands) or brands[0][:3] == b"3gp" else None
