"""What the decoder makes of files, good and hostile ones. The hostile ones are decoded in a real child process."""

import io
from typing import Any

import pytest
from PIL import Image

from lambda_preview import images, sandbox
from lambda_preview.decoder import render
from lambda_preview.failures import PreviewFailedError, Reason
from lambda_preview.limits import BLOCK_BYTES, LARGE_MAX_BYTES, READ_LIMIT_BYTES, SMALL_MAX_BYTES
from lambda_preview.pipes import Rendered
from lambda_preview.source import BlockFile
from tests.support import preview_samples as samples


def here(content: bytes) -> Rendered:
    return render(BlockFile(len(content), lambda offset, length: content[offset : offset + length]), confine=lambda: None)


def in_child(content: bytes) -> Rendered:
    return sandbox.render(len(content), lambda offset, length: content[offset : offset + length])


def is_red(pixel: Any) -> bool:
    red, _, blue = pixel
    return bool(red > 180 and blue < 80)


def opened(preview: bytes) -> Image.Image:
    return Image.open(io.BytesIO(preview), formats=["WEBP"])


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "GIF", "AVIF", "HEIF"])
def test_image_is_rendered_in_the_sandbox(image_format: str) -> None:
    rendered = in_child(samples.picture(image_format, size=(2000, 1000)))

    assert (rendered.width, rendered.height) == (2000, 1000)
    assert (rendered.small_size, rendered.large_size) == ((256, 128), (1600, 800))
    assert opened(rendered.small).size == (256, 128)
    left, right = (opened(rendered.large).convert("RGB").getpixel((x, 400)) for x in (100, 1500))
    assert is_red(left)
    assert not is_red(right)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(samples.photo_with_location(), id="orientation"),
        pytest.param(samples.picture("PNG", exif=samples.turned()), id="orientation-png"),
        pytest.param(samples.picture("HEIF", exif=samples.turned()), id="orientation-heif"),
        pytest.param(samples.picture("JPEG", mode="CMYK", icc_profile=b"not a profile"), id="cmyk"),
        pytest.param(samples.picture("GIF", mode="P", transparency=0), id="transparent-gif"),
        pytest.param(samples.encoded(Image.new("I;16", (60, 40)), "PNG"), id="16-bits"),
        pytest.param(samples.picture("JPEG", progressive=True, comment=b"x" * 1000), id="progressive"),
    ],
)
def test_sandbox_allows_what_rare_features_need(content: bytes) -> None:
    assert in_child(content).width > 0


@pytest.mark.parametrize(("container", "codec"), [("mp4", "libx264"), ("mov", "mpeg4"), ("webm", "libvpx-vp9")])
def test_video_shows_the_frame_after_one_second(container: str, codec: str) -> None:
    rendered = in_child(samples.video(container, codec))

    assert (rendered.width, rendered.height, rendered.large_size) == (320, 180, (320, 180))
    assert rendered.duration_seconds == pytest.approx(3.0, abs=0.2)
    assert is_red(opened(rendered.large).convert("RGB").getpixel((160, 90)))


def test_document_shows_its_first_page_on_white() -> None:
    rendered = in_child(samples.document(pages=3))

    assert (rendered.width, rendered.height, rendered.page_count) == (595, 842, 3)
    assert rendered.large_size == (1131, 1600)
    assert opened(rendered.large).convert("RGB").getpixel((10, 10)) == (255, 255, 255)


def test_small_image_is_not_enlarged() -> None:
    rendered = here(samples.picture("PNG", size=(40, 20)))

    assert (rendered.small_size, rendered.large_size) == ((40, 20), (40, 20))


def test_orientation_is_applied_and_metadata_removed() -> None:
    rendered = here(samples.photo_with_location())

    assert (rendered.width, rendered.height, rendered.large_size) == (480, 640, (480, 640))
    for preview in (rendered.small, rendered.large):
        image = opened(preview)
        assert dict(image.getexif()) == {}
        assert {"exif", "xmp", "icc_profile"}.isdisjoint(image.info)
        assert b"SECRET" not in preview
    # The camera was turned: what the sensor recorded on the left is at the top.
    assert is_red(opened(rendered.large).convert("RGB").getpixel((240, 20)))


def test_transparency_is_kept() -> None:
    image = Image.new("RGBA", (100, 100), (255, 0, 0, 0))

    rendered = here(samples.encoded(image, "PNG"))

    assert opened(rendered.large).mode == "RGBA"
    assert opened(rendered.large).getpixel((50, 50))[3] == 0  # type: ignore[index]  # four channels


@pytest.mark.parametrize("mode", ["L", "1", "LA", "P", "I;16"])
def test_other_colour_modes_are_rendered(mode: str) -> None:
    image = Image.new(mode, (60, 40)) if mode == "I;16" else Image.new("RGB", (60, 40), (200, 200, 200)).convert(mode)

    assert here(samples.encoded(image, "PNG")).large_size == (60, 40)


def test_cmyk_image_is_rendered() -> None:
    assert here(samples.picture("JPEG", mode="CMYK")).large_size == (640, 480)


def test_broken_colour_profile_is_ignored() -> None:
    assert here(samples.picture("JPEG", icc_profile=b"not a profile")).large_size == (640, 480)


def test_first_frame_of_an_animation_is_shown() -> None:
    frames = [Image.new("RGB", (50, 50), colour) for colour in ((220, 0, 0), (0, 0, 220))]
    animation = samples.encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])

    assert is_red(opened(here(animation).large).convert("RGB").getpixel((25, 25)))


def test_noise_stays_within_the_size_limits() -> None:
    noise = Image.effect_noise((2000, 2000), 120).convert("RGB")

    rendered = here(samples.encoded(noise, "JPEG", quality=95))

    assert len(rendered.small) <= SMALL_MAX_BYTES
    assert len(rendered.large) <= LARGE_MAX_BYTES


def test_markup_after_an_image_does_not_reach_the_preview() -> None:
    polyglot = samples.picture("GIF") + b"<script>alert(1)</script>"

    rendered = here(polyglot)

    assert b"<script" not in rendered.small + rendered.large


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"", Reason.UNSUPPORTED, id="empty"),
        pytest.param(b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>", Reason.UNSUPPORTED, id="svg"),
        pytest.param(b"%!PS-Adobe-3.0 EPSF-3.0\n", Reason.UNSUPPORTED, id="postscript"),
        pytest.param(b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", Reason.UNSUPPORTED, id="playlist"),
        pytest.param(samples.png_header(100_000, 10), Reason.TOO_LARGE, id="wide"),
        pytest.param(samples.png_header(25_000, 25_000), Reason.TOO_LARGE, id="many-pixels"),
        pytest.param(samples.png_header(4000, 4000, body=b"\0" * 5000), Reason.BROKEN, id="missing-rows"),
        pytest.param(samples.picture("JPEG")[:900], Reason.BROKEN, id="truncated-jpeg"),
        pytest.param(samples.picture("WEBP")[:200], Reason.BROKEN, id="truncated-webp"),
        pytest.param(samples.picture("AVIF")[:200], Reason.BROKEN, id="truncated-avif"),
        pytest.param(samples.picture("HEIF")[:400], Reason.BROKEN, id="truncated-heif"),
        pytest.param(b"\xff\xd8\xff" + b"\0" * 100, Reason.BROKEN, id="only-a-signature"),
        pytest.param(b"%PDF-1.7\nnothing", Reason.BROKEN, id="broken-pdf"),
        pytest.param(samples.video()[:2000], Reason.BROKEN, id="truncated-mp4"),
        pytest.param(b"\x1a\x45\xdf\xa3" + b"\0" * 100, Reason.BROKEN, id="broken-matroska"),
    ],
)
def test_hostile_file_has_no_preview(content: bytes, reason: Reason) -> None:
    with pytest.raises(PreviewFailedError) as failed:
        in_child(content)

    assert failed.value.reason is reason


@pytest.mark.parametrize("size", [(30_001, 1), (1, 30_001), (8_001, 8_000)])
def test_image_with_too_many_pixels_is_not_decoded(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(_image: Image.Image, _pixels: int) -> Image.Image:
        raise AssertionError

    monkeypatch.setattr(images, "_as_displayed", decode)
    content = samples.png_header(*size)

    with pytest.raises(PreviewFailedError) as failed:
        images.render_image(BlockFile(len(content), lambda offset, length: content[offset : offset + length]), "PNG")

    assert failed.value.reason is Reason.TOO_LARGE


def test_large_image_file_is_not_read() -> None:
    fetched = []

    def fetch(offset: int, length: int) -> bytes:
        fetched.append(length)
        return samples.png_header(10, 10).ljust(length, b"\0")[:length]

    with pytest.raises(PreviewFailedError) as failed:
        sandbox.render(READ_LIMIT_BYTES + 1, fetch)

    assert failed.value.reason is Reason.TOO_LARGE
    assert sum(fetched) <= BLOCK_BYTES


def test_end_of_a_large_video_is_found_without_reading_all_of_it() -> None:
    content = samples.video("mp4", "mpeg4")
    boxes = {}
    at = 0
    while at < len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        boxes[content[at + 4 : at + 8]] = content[at : at + length]
        at += length
    # A box of 2 GiB that players skip, between the frames and the index.
    hole = 2 * 1024**3
    start = boxes[b"ftyp"] + boxes[b"free"] + boxes[b"mdat"] + (1).to_bytes(4, "big") + b"free" + hole.to_bytes(8, "big")
    gap_bytes = hole - 16
    size_bytes = len(start) + gap_bytes + len(boxes[b"moov"])
    fetched = []

    def fetch(offset: int, length: int) -> bytes:
        fetched.append(length)
        tail = boxes[b"moov"]
        ahead = start[offset : offset + length]
        behind = tail[max(0, offset - len(start) - gap_bytes) :] if offset + length > len(start) + gap_bytes else b""
        return (ahead.ljust(length - len(behind), b"\0") + behind)[:length]

    rendered = sandbox.render(size_bytes, fetch)

    assert rendered.large_size == (320, 180)
    assert sum(fetched) < 8 * BLOCK_BYTES
