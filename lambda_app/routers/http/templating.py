"""Loads the templates, style sheets and scripts of the HTML pages, and computes their digests for the Content-Security-Policy."""

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

_PAGES = Path(__file__).parents[1] / "pages"


@cache
def page_source(*names: str) -> str:
    """Return the concatenated content of files in `pages/`."""
    return "".join((_PAGES / name).read_text(encoding="utf-8") for name in names)


def source_digest(source: str) -> str:
    """Return the digest of an inline style or script for a Content-Security-Policy (CSP level 3, `hash-source`)."""
    return f"sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}"


def load_template(name: str, *, filters: dict[str, Any], sources: dict[str, str], **values: Any) -> Any:
    """Return a template of `pages/`. All values are escaped, except `sources`, which are inserted unchanged."""
    # Imported with the first page, because API clients never need it.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_PAGES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(filters)
    environment.globals.update(values)
    environment.globals.update({name: Markup(source) for name, source in sources.items()})  # noqa: S704 - files of this package
    return environment.get_template(name)
