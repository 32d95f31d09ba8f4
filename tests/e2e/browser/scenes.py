"""Pictures for the screenshots: landscapes of a few shapes, a floor plan, a document and a film, drawn when they are needed."""

import io
from collections.abc import Callable
from typing import Any

from PIL import Image, ImageDraw

from tests.support.preview_samples import encoded

_SIZE = (1200, 900)
_Shapes = tuple[tuple[str, tuple[tuple[int, int], ...]], ...]
_MOUNTAINS: _Shapes = (
    ("#8fb0bf", ((0, 640), (330, 240), (700, 620), (830, 250), (1200, 560), (1200, 900), (0, 900))),
    ("#4f7587", ((0, 700), (380, 480), (720, 700), (980, 520), (1200, 640), (1200, 900), (0, 900))),
    ("#2d4f60", ((0, 740), (1200, 740), (1200, 900), (0, 900))),
)
_DUNES: _Shapes = (
    ("#dba878", ((0, 520), (420, 470), (800, 560), (1200, 470), (1200, 900), (0, 900))),
    ("#b87f52", ((0, 680), (340, 640), (820, 720), (1200, 640), (1200, 900), (0, 900))),
)
_TREES: _Shapes = tuple(
    (colour, ((middle - 130, 780), (middle, top), (middle + 130, 780)))
    for colour, middle, top in (
        ("#86a88b", 180, 300),
        ("#46694e", 330, 420),
        ("#86a88b", 560, 240),
        ("#46694e", 760, 380),
        ("#86a88b", 1000, 280),
    )
)
_WALLS = (
    (40, 40, 440, 46),
    (40, 274, 440, 280),
    (40, 40, 46, 280),
    (434, 40, 440, 280),
    (200, 40, 206, 190),
    (200, 184, 330, 190),
    (300, 190, 306, 280),
)


def _drawn(sky: str, shapes: _Shapes, sun: tuple[str, int, int] | None = None) -> Image.Image:
    image = Image.new("RGB", _SIZE, sky)
    pen = ImageDraw.Draw(image)
    if sun is not None:
        colour, x, y = sun
        pen.ellipse((x - 90, y - 90, x + 90, y + 90), fill=colour)
    for colour, corners in shapes:
        pen.polygon(corners, fill=colour)
    return image


def _plan() -> Image.Image:
    image = Image.new("RGB", (480, 320), "#f4f6f7")
    for wall in _WALLS:
        ImageDraw.Draw(image).rectangle(wall, fill="#60788a")
    return image.resize(_SIZE)


def _letter() -> Image.Image:
    """Return a page of a letter: lines where the text is."""
    image = Image.new("RGB", (900, 1200), "#ffffff")
    pen = ImageDraw.Draw(image)
    for number, width in enumerate((420, 0, 700, 680, 710, 520, 0, 690, 700, 660, 705, 300, 0, 260)):
        if width:
            pen.rectangle((100, 140 + 60 * number, 100 + width, 156 + 60 * number), fill="#8a949c")
    return image


def _sea() -> Image.Image:
    waves: _Shapes = (
        ("#36717f", ((0, 480), (1200, 480), (1200, 900), (0, 900))),
        ("#24505b", ((820, 470), (900, 470), (880, 510), (840, 510))),
    )
    return _drawn("#f5e0d1", waves, ("#ef9d6b", 560, 460))


def _film() -> bytes:
    import av

    output = io.BytesIO()
    with av.open(output, "w", format="mov") as container:
        stream: Any = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuv420p"
        make: Any = av.VideoFrame.from_image
        frame = make(_sea().resize((640, 480)))
        for _ in range(5):
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return output.getvalue()


_PICTURES: dict[str, Callable[[], Image.Image]] = {
    "IMG_4127.jpg": lambda: _drawn("#c9dde6", _MOUNTAINS, ("#fbeecb", 880, 220)),
    "IMG_4128.jpg": lambda: _drawn("#f4dcc2", _DUNES, ("#ec935b", 330, 240)),
    "IMG_4090.jpg": lambda: _drawn("#dce7d8", _TREES),
    "ground-floor.png": _plan,
    "Harbour-house_final-plans_rev-C.pdf": _plan,
    "Contract Fjordbygg AS (signed).pdf": _letter,
}
_FORMATS = {"jpg": "JPEG", "png": "PNG", "pdf": "PDF"}


def content_of(name: str) -> bytes:
    """Return the content of the screenshots' file of this name; empty for a type without previews."""
    if name.endswith(".mov"):
        return _film()
    return encoded(_PICTURES[name](), _FORMATS[name.rpartition(".")[2]]) if name in _PICTURES else b""
