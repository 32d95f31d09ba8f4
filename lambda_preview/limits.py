"""The limits of one preview. No file costs more, hostile ones included."""

TIME_LIMIT_SECONDS = 20.0
"""After this time the decoder is killed."""
CPU_LIMIT_SECONDS = 15
"""Processor time of the decoder."""
MEMORY_LIMIT_BYTES = 1024**3
"""Address space of the decoder, libraries included."""
READ_LIMIT_BYTES = 64 * 1024**2
"""Bytes of the file that the decoder may read. Videos and PDF are read in blocks, so that larger ones have previews too."""
BLOCK_BYTES = 512 * 1024
"""Size of one read of the file."""
CACHED_BLOCKS = 32
"""Blocks of a video or a PDF that the decoder keeps."""

SIDE_MAX_PIXELS = 30_000
"""Longest side of an image that is decoded."""
DECODED_MAX_PIXELS = 64_000_000
"""Pixels of an image that are decoded: 256 MB at four bytes each."""
JPEG_MAX_PIXELS = 256_000_000
"""Pixels of a JPEG. Its decoder scales while it decodes, so that a photo of 200 megapixels needs little memory."""
VIDEO_MAX_PIXELS = 36_000_000
"""Pixels of a video frame: 8K."""
FRAMES_MAX_COUNT = 90
"""Frames of a video that are decoded to reach the chosen time."""
FRAME_AT_SECONDS = 1.0
"""Time of the frame that is shown: the first one is often black."""

SMALL_PIXELS = 256
"""Longest edge of the small preview, for lists."""
LARGE_PIXELS = 1600
"""Longest edge of the large preview."""
SMALL_MAX_BYTES = 48 * 1024
LARGE_MAX_BYTES = 1024**2
QUALITIES = (80, 60, 40, 20)
"""Qualities of WebP that are tried in this order, until the preview is small enough."""
