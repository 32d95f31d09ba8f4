"""The HTML part of a mail, made from its plain text, so that both parts always have the same content.

Paragraphs are separated by blank lines. A paragraph that is only an address becomes a link, and lines that begin with "- " become a list.
All text is escaped. Nothing is loaded from elsewhere, and there is no script, form or image. Styles are inline, because some mail programs
drop style sheets; the only style sheet has the dark colours.
"""

import re
from collections.abc import Iterator
from html import escape

from lambda_app.core.colours import dark_tones, light_tones

DEFAULT_ACCENT = "#0b6470"
"""`--accent` of the design tokens."""
_ADDRESS = re.compile(r"https?://[^\s<>\"]+")
_FONT = "font-family:system-ui,-apple-system,'Segoe UI',Roboto,Arial,sans-serif;font-size:15px;line-height:22px"
_PARAGRAPH = "margin:0 0 16px;overflow-wrap:anywhere"


def render_html(text: str, *, subject: str, brand: str, accent: str | None, language: str) -> str:
    """Return the HTML document for the plain text of a mail."""
    accent = accent or DEFAULT_ACCENT
    light, dark = light_tones(accent), dark_tones(accent)
    # Programs that ignore the style sheet keep the light colours on the light ground of the inline styles, or invert both.
    style = (
        "@media (prefers-color-scheme:dark){"
        "body,.page{background:#0e1214!important;color:#e8edf0!important}"
        f".card{{background:#151a1d!important;border-color:#2a3237!important}}a{{color:{dark.accent}!important}}"
        f".brand{{color:{dark.accent}!important}}}}"
    )
    body = "\n".join(_blocks(text, link_style=f"color:{light.accent};font-weight:600"))
    return f"""<!doctype html>
<html lang="{escape(language)}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="supported-color-schemes" content="light dark">
<title>{escape(subject)}</title>
<style>{style}</style>
</head>
<body style="margin:0;background:#f6f7f8;color:#12181c;{_FONT}">
<div class="page" style="padding:24px 12px;background:#f6f7f8;color:#12181c">
<div class="card" style="max-width:560px;margin:0 auto;padding:24px;background:#ffffff;border:1px solid #dde2e5;border-radius:10px">
<p class="brand" style="margin:0 0 16px;color:{light.accent};font-weight:600">{escape(brand)}</p>
{body}
</div>
</div>
</body>
</html>
"""


def _blocks(text: str, *, link_style: str) -> Iterator[str]:
    for paragraph in re.split(r"\n{2,}", text.strip("\n")):
        if _ADDRESS.fullmatch(paragraph):
            address = escape(paragraph)
            yield f'<p style="{_PARAGRAPH}"><a href="{address}" style="{link_style}">{address}</a></p>'
            continue
        lines = paragraph.split("\n")
        items = [escape(line.removeprefix("- ")) for line in lines if line.startswith("- ")]
        words = [escape(line) for line in lines if not line.startswith("- ")]
        if words:
            yield f'<p style="{_PARAGRAPH}">' + "<br>\n".join(words) + "</p>"
        if items:
            yield '<ul style="margin:0 0 16px;padding-inline-start:20px;overflow-wrap:anywhere">'
            yield from (f"<li><bdi>{item}</bdi></li>" for item in items)
            yield "</ul>"
