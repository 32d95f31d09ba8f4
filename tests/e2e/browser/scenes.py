"""Pictures for the screenshots: landscapes of a few shapes, a floor plan, a document and a film, drawn when they are needed."""

import io

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
_TOWERS: _Shapes = tuple(
    (colour, ((left, top), (left + 180, top), (left + 180, 900), (left, 900)))
    for colour, left, top in (
        ("#99a3b0", 60, 360),
        ("#5d687b", 260, 480),
        ("#99a3b0", 480, 200),
        ("#5d687b", 720, 300),
        ("#99a3b0", 940, 420),
    )
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
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuv420p"
        frame = av.VideoFrame.from_image(_sea().resize((640, 480)))
        for _ in range(5):
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return output.getvalue()


def content_of(name: str) -> bytes:
    """Return the content of the screenshots' file of this name; empty for a type without previews."""
    match name:
        case "IMG_4127.jpg":
            return encoded(_drawn("#c9dde6", _MOUNTAINS, ("#fbeecb", 880, 220)), "JPEG")
        case "IMG_4128.jpg":
            return encoded(_drawn("#f4dcc2", _DUNES, ("#ec935b", 330, 240)), "JPEG")
        case "IMG_4129.jpg" | "IMG_4131.jpg":
            return encoded(_drawn("#dfe3ea", _TOWERS), "JPEG")
        case "IMG_4090.jpg" | "IMG_4130.jpg":
            return encoded(_drawn("#dce7d8", _TREES), "JPEG")
        case "ground-floor.png":
            return encoded(_plan(), "PNG")
        case _ if name.endswith(".pdf"):
            return encoded(_plan(), "PDF")
        case _ if name.endswith(".mov"):
            return _film()
    return b""
