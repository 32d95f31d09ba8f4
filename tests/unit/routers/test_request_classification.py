"""Classification of requests by their headers."""

import pytest

from lambda_app.routers.http.request_classification import is_prefetch, is_range_resume, is_robot, prefers_html

ROBOTS = (
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (compatible; bingbot/2.0)",
    "Twitterbot/1.0",
    "LinkedInBot/1.0 (compatible; Mozilla/5.0)",
    "Slackbot-LinkExpanding 1.0",
    "facebookexternalhit/1.1 Facebot Twitterbot/1.0",
    "WhatsApp/2.23",
    "Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5",
    "Applebot/0.1",
    "Pinterest/0.2 (+https://www.pinterest.com/bot.html)",
    "Mozilla/5.0 (compatible; Snap URL Preview Service; bot)",
    "Baiduspider+(+http://www.baidu.com/search/spider.htm)",
)
PEOPLE = (
    "",
    "curl/8.5.0",
    "python-httpx/0.28",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/143.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Linux; Android 9; CUBOT X19) AppleWebKit/537.36 Chrome/120 Mobile Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Version/18.0 Mobile/15E148 Safari/604.1",
    # In-app browsers.
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148 Snapchat/12.88.0.41",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148 [Pinterest/iOS]",
)


@pytest.mark.parametrize(("agent", "expected"), [*((agent, True) for agent in ROBOTS), *((agent, False) for agent in PEOPLE)])
def test_robots_are_recognised_by_their_user_agent(agent: str, expected: bool) -> None:
    assert is_robot(agent) is expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"sec-purpose": "prefetch"}, True),
        ({"sec-purpose": "prefetch;prerender"}, True),
        ({"purpose": "preview"}, True),
        ({"x-moz": "prefetch"}, True),
        ({"x-purpose": "Preview"}, True),
        ({"sec-purpose": "other"}, False),
        ({}, False),
    ],
)
def test_prefetches_are_recognised_by_their_headers(headers: dict[str, str], expected: bool) -> None:
    assert is_prefetch(headers) is expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=1-", True),
        ("bytes=500-999", True),
        ("bytes=0-", False),
        ("bytes=00-5", False),
        ("bytes=-500", False),
        ("bytes=0-0,5-9", False),
        ("bytes=5-9,0-", False),
        ("bytes=", False),
        ("chunks=5-", False),
        ("bytes=x-5", False),
        ("", False),
        (None, False),
    ],
)
def test_only_a_range_after_the_start_is_a_resumption(header: str | None, expected: bool) -> None:
    assert is_range_resume(header) is expected


@pytest.mark.parametrize("accept", ["text/html;q=" + "9" * 100_000, "," * 100_000, ";" * 100_000, "text/html;q=1.0.0"])
def test_malformed_accept_header_does_not_prefer_html(accept: str) -> None:
    assert prefers_html(accept) is False
