"""Previews of videos: one frame."""

import importlib
import io
from typing import Any

import av
from PIL import Image

from lambda_preview.failures import PreviewFailedError, Reason
from lambda_preview.formats import Kind
from lambda_preview.images import encode
from lambda_preview.limits import FRAME_AT_SECONDS, FRAMES_MAX_COUNT, LARGE_PIXELS, VIDEO_MAX_PIXELS
from lambda_preview.pipes import Rendered
from lambda_preview.source import BlockFile

_DEMUXERS = {Kind.MOV: "mov", Kind.MATROSKA: "matroska"}
_LATE_MODULES = ("av.audio.stream", "av.subtitles.stream", "av.video.reformatter")
_DURATION_MAX_SECONDS = 10 * 365 * 86_400
_CODECS = frozenset({"h264", "hevc", "vp8", "vp9", "av1", "libdav1d", "mpeg4", "mjpeg", "prores", "h263", "mpeg2video"})
"""Codecs of phones, cameras and browsers. FFmpeg has hundreds of others, which are seldom reviewed."""


def prepare() -> None:
    """Import the modules that PyAV would import for the first file. The process cannot open files any more then."""
    for name in _LATE_MODULES:
        importlib.import_module(name)


def render_video(file: BlockFile, kind: Kind) -> Rendered:
    """Render the frame at FRAME_AT_SECONDS, or the last one before. Raises PreviewFailedError."""
    try:
        # A fixed demuxer: FFmpeg's detection also finds play lists, which name other files to open.
        with av.open(io.BufferedReader(file), mode="r", format=_DEMUXERS[kind], options={"protocol_whitelist": ""}) as container:
            return _render(container)
    except av.FFmpegError as error:
        raise PreviewFailedError(Reason.BROKEN) from error


def _render(container: Any) -> Rendered:
    stream = next(iter(container.streams.video), None)
    if stream is None:
        raise PreviewFailedError(Reason.UNSUPPORTED)
    context = stream.codec_context
    if context.name not in _CODECS:
        raise PreviewFailedError(Reason.UNSUPPORTED)
    if context.width * context.height > VIDEO_MAX_PIXELS:
        raise PreviewFailedError(Reason.TOO_LARGE)
    context.thread_count = 1
    context.options = {"max_pixels": str(VIDEO_MAX_PIXELS)}
    frame = _frame(container, stream)
    if frame is None:
        raise PreviewFailedError(Reason.BROKEN)
    width, height = _displayed_size(frame, stream)
    scale = min(1.0, LARGE_PIXELS / max(width, height))
    image = frame.to_image(width=max(1, round(width * scale)), height=max(1, round(height * scale)))
    if rotation := round(getattr(frame, "rotation", 0) / 90) % 4:
        image = image.transpose([Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270][rotation - 1])
        width, height = (height, width) if rotation % 2 else (width, height)
    return encode(image.convert("RGB"), width=width, height=height, duration_seconds=_duration_seconds(container, stream))


def _frame(container: Any, stream: Any) -> Any:
    duration = _duration_seconds(container, stream)
    at = FRAME_AT_SECONDS if duration is None or duration > 2 * FRAME_AT_SECONDS else 0.0
    frame = None
    for count, candidate in enumerate(container.decode(stream), start=1):
        frame = candidate
        if count >= FRAMES_MAX_COUNT or (frame.time is not None and frame.time >= at):
            break
    return frame


def _displayed_size(frame: Any, stream: Any) -> tuple[int, int]:
    ratio = stream.sample_aspect_ratio
    stretch = float(ratio) if ratio else 1.0
    width = round(frame.width * stretch) if 0.1 <= stretch <= 10 else frame.width
    return max(1, width), max(1, frame.height)


def _duration_seconds(container: Any, stream: Any) -> float | None:
    seconds = None
    if container.duration:
        seconds = container.duration / av.time_base
    elif stream.duration and stream.time_base:
        seconds = float(stream.duration * stream.time_base)
    return round(seconds, 3) if seconds is not None and 0 < seconds < _DURATION_MAX_SECONDS else None
