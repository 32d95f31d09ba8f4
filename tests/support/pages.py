"""A parser of HTML pages for tests, and file names that must be escaped in them."""

from html.parser import HTMLParser

import httpx

HOSTILE_FILENAMES = (
    "<script>alert(1)</script>.txt",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</title></style><script>alert(1)</script>",
    "{{ 7 * 7 }}{% include '/etc/passwd' %}",
    "javascript:alert(1)",
    "invoice\u202egnp.exe",
    "&lt;b&gt;&amp;",
    "👩‍👩‍👧 שלום مرحبا.pdf",
    "x" * 255,
)


class Page(HTMLParser):
    """The tags and texts of a page."""

    def __init__(self, answer: httpx.Response) -> None:
        super().__init__()
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(answer.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """Return the attributes of all tags with this name."""
        return [attributes for name, attributes in self.tags if name == tag]
