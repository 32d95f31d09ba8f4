"""Previews of images, and the encoding of all previews."""

import io

from PIL import Image, ImageCms, ImageOps

from lambda_preview.failures import PreviewFailedError, Reason
from lambda_preview.limits import (
    DECODED_MAX_PIXELS,
    JPEG_MAX_PIXELS,
    LARGE_MAX_BYTES,
    LARGE_PIXELS,
    QUALITIES,
    SIDE_MAX_PIXELS,
    SMALL_MAX_BYTES,
    SMALL_PIXELS,
)
from lambda_preview.pipes import Rendered
from lambda_preview.source import BlockFile

_ORIENTATION_TAG = 0x0112
_TRANSPOSED_ORIENTATIONS = (5, 6, 7, 8)
_BITS_MODES = ("I", "I;16", "I;16B", "I;16L", "F")
_SAMPLED_FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "AVIF")
_SRGB = ImageCms.createProfile("sRGB")


def prepare(image_format: str) -> None:
    """Load the decoder. The process cannot open files any more when it decodes."""
    # Our own limits apply: this one would only refuse images that the JPEG decoder can scale.
    Image.MAX_IMAGE_PIXELS = None
    Image.preinit()
    if image_format == "HEIF":
        import pillow_heif

        pillow_heif.options.DECODE_THREADS = 1
        pillow_heif.register_heif_opener(thumbnails=False)
    elif image_format == "AVIF":
        from PIL import AvifImagePlugin

        AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    # Pillow imports modules at the first use of a feature. Two images of our own use them all.
    for sample in ("JPEG", image_format):
        if sample in _SAMPLED_FORMATS:
            render_image(_sample(sample), sample)


def _sample(image_format: str) -> BlockFile:
    exif = Image.Exif()
    exif[_ORIENTATION_TAG] = _TRANSPOSED_ORIENTATIONS[0]
    output = io.BytesIO()
    profile = ImageCms.ImageCmsProfile(_SRGB).tobytes()
    Image.new("RGB", (8, 8)).save(output, image_format, exif=exif, icc_profile=profile, xmp=b"<x:xmpmeta/>")
    content = output.getvalue()
    return BlockFile(len(content), lambda offset, length: content[offset : offset + length])


def render_image(file: BlockFile, image_format: str) -> Rendered:
    """Render the first frame of an image. Raises PreviewFailedError."""
    with Image.open(io.BytesIO(file.read_whole()), formats=[image_format]) as image:
        width, height = image.size
        _require_decodable(width, height, image_format)
        if image_format == "JPEG":
            # Decode at the smallest scale, out of 1/2, 1/4 and 1/8, that is not smaller than the preview.
            image.draft(None, (LARGE_PIXELS, LARGE_PIXELS))
        exif = image.getexif()
        large = _as_displayed(image, LARGE_PIXELS)
        if exif.get(_ORIENTATION_TAG) in _TRANSPOSED_ORIENTATIONS and image_format != "HEIF":
            width, height = height, width
        return encode(large, width=width, height=height)


def encode(
    large: Image.Image, *, width: int, height: int, duration_seconds: float | None = None, page_count: int | None = None
) -> Rendered:
    """Return both previews of an image that has the large size. `width` and `height` are those of the original."""
    small = large.copy()
    small.thumbnail((SMALL_PIXELS, SMALL_PIXELS), Image.Resampling.LANCZOS)
    return Rendered(
        width=width,
        height=height,
        small=_encode(small, SMALL_MAX_BYTES),
        large=_encode(large, LARGE_MAX_BYTES),
        small_size=small.size,
        large_size=large.size,
        duration_seconds=duration_seconds,
        page_count=page_count,
    )


def _require_decodable(width: int, height: int, image_format: str) -> None:
    most = JPEG_MAX_PIXELS if image_format == "JPEG" else DECODED_MAX_PIXELS
    if not (0 < width <= SIDE_MAX_PIXELS and 0 < height <= SIDE_MAX_PIXELS) or width * height > most:
        raise PreviewFailedError(Reason.TOO_LARGE)


def _as_displayed(image: Image.Image, pixels: int) -> Image.Image:
    """Return the image with at most `pixels` on its longest edge, upright, in sRGB, without metadata."""
    profile, exif = image.info.get("icc_profile"), image.getexif()
    image.load()
    # A decoder that scales is not exact, and an incremental JPEG ignores the draft.
    if image.width * image.height > DECODED_MAX_PIXELS:
        raise PreviewFailedError(Reason.TOO_LARGE)
    if image.mode in _BITS_MODES:
        image = _eight_bits(image)
    elif image.mode in ("1", "P", "PA"):
        image = image.convert("RGBA" if image.mode == "PA" or "transparency" in image.info else "RGB")
    image.thumbnail((pixels, pixels), Image.Resampling.LANCZOS, reducing_gap=2.0)
    if exif.get(_ORIENTATION_TAG, 1) != 1:
        image = ImageOps.exif_transpose(image)
    image = _in_srgb(image, profile)
    # A new image has neither EXIF nor XMP nor a profile that the encoder would copy.
    clean = Image.new(image.mode, image.size)
    clean.paste(image)
    return clean


def _eight_bits(image: Image.Image) -> Image.Image:
    # Samples of 16 bits: the upper eight.
    return image.convert("I").point(lambda value: value * (1 / 256)).convert("L") if image.mode != "F" else image.convert("L")


def _in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    has_alpha = image.mode in ("LA", "RGBA", "RGBa") or "transparency" in image.info
    target = "RGBA" if has_alpha else "RGB"
    if profile and image.mode in ("RGB", "RGBA", "CMYK"):
        try:
            converted = ImageCms.profileToProfile(image, io.BytesIO(profile), _SRGB, outputMode=target)
            image = converted or image
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
            # A broken profile: the colours without it are a better preview than none.
            pass
    return image if image.mode == target else image.convert(target)


def _encode(image: Image.Image, max_bytes: int) -> bytes:
    for quality in QUALITIES:
        output = io.BytesIO()
        image.save(output, "WEBP", quality=quality, method=4)
        if output.tell() <= max_bytes:
            return output.getvalue()
    raise PreviewFailedError(Reason.TOO_LARGE)
