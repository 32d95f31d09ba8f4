"""The addresses that a request to a user's URL may reach."""

import pytest

from lambda_app.core.outbound.addresses import is_permitted
from lambda_app.core.outbound.posts import BadUrlError, Target

PRIVATE = (
    "0.0.0.0", "10.1.2.3",  # noqa: S104 - an address to refuse
    "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.255.254", "169.254.169.254", "172.16.0.1",
    "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1",
    "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "::", "::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:0:8.8.8.8",
    "::8.8.8.8", "64:ff9b::8.8.8.8", "64:ff9b::a00:1", "64:ff9b:1::1", "64:ff9b:1:ffff::1", "100::1", "2001::1", "2001:0:1:2::3",
    "2001:10::1", "2001:20::1", "2001:db8::1", "2002:7f00:1::", "2002:808:808::", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254",
    "fe80::1", "fe80::1%eth0", "2606:4700::1%eth0", "fec0::1", "ff02::1", "not an address", "",
)  # fmt: skip
PUBLIC = (
    "8.8.8.8", "1.1.1.1", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1", "198.20.0.1", "223.255.255.255", "2606:4700::1",
)  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_address_that_is_not_public_is_refused(address: str) -> None:
    assert not is_permitted(address, allow_loopback=False)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_address_is_permitted(address: str) -> None:
    assert is_permitted(address, allow_loopback=False)


@pytest.mark.parametrize("address", PRIVATE)
def test_setting_for_loopback_permits_nothing_else(address: str) -> None:
    assert is_permitted(address, allow_loopback=True) == (address in {"127.0.0.1", "127.255.255.254", "::1"})


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/", "ftp://example.com/", "https:///x", "example.com", "https://user@example.com/", "https://u:p@example.com/",
        "https://example.com/#x", "https://example.com:0/", "https://example.com:99999/", "https://example.com:x/", "https://10.0.0.1/",
        "https://127.0.0.1/", "https://[::1]/", "https://[::ffff:10.0.0.1]/", "https://[64:ff9b::a00:1]/", "https://169.254.169.254/latest",
        "https://[fe80::1%25eth0]/", "https://2130706433/", "https://exämple.com/", "https://example.com/a b",
        "https://example.com/\r\nX: y",
        "https://example.com/\x7f", "https://[::1", "http://localhost/", "http://127.0.0.1/", "",
    ],
)  # fmt: skip
def test_url_that_cannot_be_a_webhook_is_refused(url: str) -> None:
    with pytest.raises(BadUrlError):
        Target.parse(url, allow_loopback=False)


@pytest.mark.parametrize("url", ["http://10.0.0.1/", "http://example.com/", "https://192.168.0.1/", "http://[::ffff:127.0.0.1]/"])
def test_setting_for_loopback_permits_no_other_plain_or_private_url(url: str) -> None:
    with pytest.raises(BadUrlError):
        Target.parse(url, allow_loopback=True)


def test_parts_of_a_url_are_those_of_the_request() -> None:
    assert Target.parse("https://Example.com:8443/hooks?a=b", allow_loopback=False) == Target(True, "example.com", 8443, "/hooks?a=b")
    assert Target.parse("https://example.com", allow_loopback=False).path == "/"
    assert Target.parse("http://localhost:5000/x", allow_loopback=True).authority == "localhost:5000"
    assert Target.parse("https://[2606:4700::1]/x", allow_loopback=False).authority == "[2606:4700::1]"
