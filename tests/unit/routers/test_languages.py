"""The choice of a page's language by Accept-Language."""

import pytest

from lambda_app.routers.http.languages import preferred_language


@pytest.mark.parametrize(
    ("header", "language"),
    [
        (None, None),
        ("", None),
        ("fr", None),
        ("de", "de"),
        ("DE-at", "de"),
        ("en-GB,de;q=0.9", "en"),
        ("fr,de;q=0.5,en;q=0.8", "en"),
        ("de;q=0,en;q=0.1", "en"),
        ("de, en", "de"),
        ("*", None),
        ("de;q=2, en;q=0.1", "en"),
        ("deutsch-für-alle, en", "en"),
        ("x" * 1000 + ",de", None),
    ],
)
def test_language_with_the_highest_weight_is_preferred(header: str | None, language: str | None) -> None:
    assert preferred_language(header) == language
