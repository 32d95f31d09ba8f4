"""What the pages for people are made of: our own templates, styles and scripts, and the digests by which their policies name them."""

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

_PAGES = Path(__file__).parents[1] / "pages"


@cache
def page_source(*names: str) -> str:
    """Return what these files of ours hold, one behind the other."""
    return "".join((_PAGES / name).read_text(encoding="utf-8") for name in names)


def source_digest(source: str) -> str:
    """Return the digest by which a Content-Security-Policy names an inline style or script (CSP level 3, `hash-source`)."""
    return f"sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}"


def load_template(name: str, *, filters: dict[str, Any], sources: dict[str, str]) -> Any:
    """Return a template of ours, which escapes whatever it is given; `sources` are shown in it as they are."""
    # Imported when the first page is shown: programs never see one.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_PAGES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(filters)
    environment.globals.update({name: Markup(source) for name, source in sources.items()})  # noqa: S704 - our own files
    return environment.get_template(name)
