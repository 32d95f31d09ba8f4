"""Previews of PDF documents: the first page."""

import io

import pypdfium2

from lambda_preview.failures import PreviewFailedError, Reason
from lambda_preview.images import encode
from lambda_preview.limits import LARGE_PIXELS
from lambda_preview.pipes import Rendered
from lambda_preview.source import BlockFile

SCALE_MAX = 4.0
"""A page in points is enlarged at most this much."""
_PASSWORD_ERROR = 4
"""FPDF_ERR_PASSWORD."""


def render_document(file: BlockFile) -> Rendered:
    """Render the first page on white. Raises PreviewFailedError."""
    try:
        document = pypdfium2.PdfDocument(io.BufferedReader(file))
    except pypdfium2.PdfiumError as error:
        reason = Reason.PROTECTED if getattr(error, "err_code", None) == _PASSWORD_ERROR else Reason.BROKEN
        raise PreviewFailedError(reason) from error
    page_count = len(document)
    if page_count < 1:
        raise PreviewFailedError(Reason.BROKEN)
    page = document[0]
    width, height = page.get_size()
    if not (width > 0 and height > 0):
        raise PreviewFailedError(Reason.BROKEN)
    scale = min(SCALE_MAX, LARGE_PIXELS / max(width, height))
    image = page.render(scale=scale, may_draw_forms=False, fill_color=(255, 255, 255, 255)).to_pil().convert("RGB")
    image.thumbnail((LARGE_PIXELS, LARGE_PIXELS))
    return encode(image, width=max(1, round(width)), height=max(1, round(height)), page_count=page_count)
