"""Names of devices and networks."""

import re
from pathlib import Path

import pytest

from lambda_app.core import devices
from lambda_app.core.devices import device_of, network_of

WEB_LIST = Path(__file__).parents[3] / "web" / "src" / "core" / "browser-name.ts"


@pytest.mark.parametrize(
    ("user_agent", "expected"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", ("Firefox", "Linux")),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36",
            ("Chrome", "Windows"),
        ),
        ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/140.0 Safari/537.36 Edg/140.0", ("Edge", "Windows")),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Version/18.0 Safari/604.1", ("Safari", "iPhone")),
        ("curl/8.9.1", ("curl", None)),
        ("<script>", (None, None)),
        (None, (None, None)),
    ],
)
def test_device_is_named(user_agent: str | None, expected: tuple[str | None, str | None]) -> None:
    assert device_of(user_agent) == expected


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("203.0.113.77", "203.0.113.0/24"),
        ("2001:db8:1:2:3::4", "2001:db8:1::/48"),
        ("::ffff:203.0.113.77", "203.0.113.0/24"),
        ("fe80::1%eth0", "fe80::/48"),
        ("unknown", None),
        ("", None),
        (None, None),
    ],
)
def test_network_is_shortened(address: str | None, expected: str | None) -> None:
    assert network_of(address) == expected


def test_web_app_knows_the_same_names_in_the_same_order() -> None:
    names = re.findall(r', "([^"]+)"\]', WEB_LIST.read_text())

    assert names == [name for name, _ in (*devices._BROWSERS, *devices._SYSTEMS)]
