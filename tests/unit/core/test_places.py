"""The places of addresses, from a file of the operator."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lambda_app.core.places import NO_PLACES, Places, require_places
from tests.support.places import LONDON, RECORDS, SAO_PAULO, SINGAPORE, SWEDEN, VIENNA, record, write_places


@pytest.fixture
def places(tmp_path: Path) -> Iterator[Places]:
    places = Places(write_places(tmp_path / "places.mmdb"))
    yield places
    places.close()


@pytest.mark.parametrize(
    ("address", "locale", "expected"),
    [
        (LONDON, None, "London, United Kingdom"),
        (LONDON, "en-GB", "London, United Kingdom"),
        (LONDON, "fr", "London, United Kingdom"),
        # The city has no German name.
        (LONDON, "de-AT", "London, Vereinigtes Königreich"),
        (VIENNA, "DE", "Wien, Österreich"),
        (VIENNA, "", "Vienna, Austria"),
        (SAO_PAULO, "pt-BR", "São Paulo, Brasil"),
        (SAO_PAULO, "pt-PT", "São Paulo, Brasil"),
        (SWEDEN, "de", "Schweden"),
        (SINGAPORE, "de", "Singapore"),
        (f"::ffff:{LONDON}", None, "London, United Kingdom"),
        ("81.2.70.1", None, None),
        ("2a02:d01::1", None, None),
        ("unknown", None, None),
        ("", None, None),
        (None, None, None),
    ],
)
def test_place_is_named_in_the_language_of_the_reader(
    places: Places, address: str | None, locale: str | None, expected: str | None
) -> None:
    assert places.name_of(address, locale) == expected


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "192.168.1.1", "100.64.0.1", "169.254.1.1", "::1", "fd00::1", "fe80::1%eth0"])
def test_address_outside_the_public_internet_has_no_place(tmp_path: Path, address: str) -> None:
    everywhere = record(country={"en": "Austria"})
    places = Places(write_places(tmp_path / "places.mmdb", {"0.0.0.0/0": everywhere, "8000::/1": everywhere, "::1/128": everywhere}))

    assert places.name_of(address, None) is None
    assert places.name_of("8.8.8.8", None) == "Austria"
    places.close()


@pytest.mark.parametrize(
    "content",
    [
        "Austria",
        {},
        {"country": "Austria"},
        {"country": {"iso_code": "AT"}},
        {"country": {"names": ["Austria"]}},
        {"country": {"names": {"en": 7}}},
        {"country": {"names": {"en": ""}}},
        {"country": {"names": {"de": "Österreich"}}},
        {"city": {"names": {"en": "Vienna"}}},
    ],
)
def test_record_without_a_country_that_can_be_read_has_no_place(tmp_path: Path, content: Any) -> None:
    places = Places(write_places(tmp_path / "places.mmdb", {"81.2.69.0/24": content}))

    assert places.name_of(LONDON, None) is None
    places.close()


def test_database_of_ipv4_addresses_has_no_place_for_ipv6(tmp_path: Path) -> None:
    records = {network: content for network, content in RECORDS.items() if ":" not in network}
    places = Places(write_places(tmp_path / "places.mmdb", records, ip_version=4))

    assert (places.name_of(VIENNA, None), places.name_of(SWEDEN, None)) == (None, "Sweden")
    places.close()


def test_file_that_is_cut_after_the_start_has_no_place(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("lambda_app"), "propagate", True)
    path = write_places(tmp_path / "places.mmdb")
    places = Places(path)
    os.truncate(path, path.read_bytes().index(b"London"))

    assert places.name_of(LONDON, None) is None
    assert "PLACES_FILE cannot be read" in caplog.text
    places.close()


def test_no_file_means_no_place() -> None:
    assert NO_PLACES.name_of(LONDON, None) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"", "is empty"),
        (b"<html></html>", "is not a valid MaxMind DB file"),
        (b"\xab\xcd\xefMaxMind.com", "is not a valid MaxMind DB file"),
        (b"\xab\xcd\xefMaxMind.com\xe1\x41a\x41b.", "is not a valid MaxMind DB file"),
    ],
)
def test_broken_file_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "places.mmdb"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(ValueError, match=f"^{message}$"):
        require_places(path)


def test_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read: Is a directory"):
        require_places(tmp_path)


def test_file_that_was_cut_before_the_start_is_refused(tmp_path: Path) -> None:
    path = write_places(tmp_path / "places.mmdb")
    content = path.read_bytes()
    (tmp_path / "cut.mmdb").write_bytes(content[: len(content) // 2])

    with pytest.raises(ValueError, match="is not a valid MaxMind DB file"):
        require_places(tmp_path / "cut.mmdb")


def test_database_without_places_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is a database of the type 'GeoLite2-ASN'; use one of cities or countries"):
        require_places(write_places(tmp_path / "places.mmdb", kind="GeoLite2-ASN"))
