"""Files for tests of previews, made when they are needed."""

import io
import struct
import zlib
from typing import Any

from PIL import Image


def picture(image_format: str = "JPEG", *, size: tuple[int, int] = (640, 480), mode: str = "RGB", **options: Any) -> bytes:
    """Return an image whose left half is red and whose right half is blue."""
    image = Image.new("RGB", size, (220, 30, 30))
    image.paste((30, 30, 220), (size[0] // 2, 0, size[0], size[1]))
    return encoded(image.convert(mode), image_format, **options)


def encoded(image: Image.Image, image_format: str, **options: Any) -> bytes:
    """Return the encoded image."""
    if image_format == "HEIF":
        import pillow_heif

        pillow_heif.register_heif_opener()
    output = io.BytesIO()
    image.save(output, image_format, **options)
    return output.getvalue()


def turned() -> Image.Exif:
    """Return EXIF of a phone that was held upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def photo_with_location() -> bytes:
    """Return a JPEG that a phone took upright, with its place and its owner's remarks in EXIF, and an XMP packet."""
    exif = turned()
    exif[0x010F] = "SECRET-CAMERA"
    exif.get_ifd(0x8825)[1] = "N"
    exif.get_ifd(0x8825)[2] = (52.0, 31.0, 12.0)
    return picture("JPEG", exif=exif, xmp=b"<x:xmpmeta>SECRET-PLACE</x:xmpmeta>")


def png_header(width: int, height: int, *, body: bytes = b"") -> bytes:
    """Return a PNG that claims a size, with a compressed `body`."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)), (b"IDAT", zlib.compress(body)), (b"IEND", b"")]
    parts = [struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content)) for name, content in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def document(*, pages: int = 2) -> bytes:
    """Return a PDF with empty pages of A4."""
    import pypdfium2

    pdf = pypdfium2.PdfDocument.new()
    for _ in range(pages):
        pdf.new_page(595, 842)
    output = io.BytesIO()
    pdf.save(output)
    return output.getvalue()


def video(container: str = "mp4", codec: str = "mpeg4", *, seconds: int = 3, size: tuple[int, int] = (320, 180)) -> bytes:
    """Return a video that is black in the first second and red after it."""
    import av

    output = io.BytesIO()
    with av.open(output, "w", format=container) as writer:
        stream: Any = writer.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for number in range(seconds * 10):
            make: Any = av.VideoFrame.from_image
            frame = make(Image.new("RGB", size, (0, 0, 0) if number < 10 else (220, 30, 30)))
            frame.pts = number
            writer.mux(stream.encode(frame))
        writer.mux(stream.encode())
    return output.getvalue()
