"""A small database of places in the MaxMind DB format."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmdb_writer import MMDBWriter
from netaddr import IPSet

LONDON, VIENNA, SWEDEN, SAO_PAULO, SINGAPORE = "81.2.69.142", "2a02:d00:1::1", "89.160.20.112", "200.160.2.3", "175.16.199.1"
"""An address of each place."""


def record(*, country: Mapping[str, str] | None, city: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return what a database of cities holds about a network."""
    parts = {"city": city, "country": country}
    return {name: {"names": dict(names)} for name, names in parts.items() if names is not None}


RECORDS: Mapping[str, Any] = {
    "81.2.69.0/24": record(city={"en": "London", "ja": "ロンドン"}, country={"en": "United Kingdom", "de": "Vereinigtes Königreich"}),
    "2a02:d00::/32": record(city={"en": "Vienna", "de": "Wien"}, country={"en": "Austria", "de": "Österreich"}),
    "89.160.20.0/24": record(country={"en": "Sweden", "de": "Schweden"}),
    "200.160.0.0/16": record(city={"en": "Sao Paulo", "pt-BR": "São Paulo"}, country={"en": "Brazil", "pt-BR": "Brasil"}),
    "175.16.199.0/24": record(city={"en": "Singapore"}, country={"en": "Singapore"}),
}


def write_places(path: Path, records: Mapping[str, Any] = RECORDS, *, kind: str = "Test-City", ip_version: int = 6) -> Path:
    """Write the records by network to a file, and return its path."""
    writer = MMDBWriter(ip_version, kind, languages=["en"], description="test", ipv4_compatible=ip_version == 6)
    for network, content in records.items():
        writer.insert_network(IPSet([network]), content)
    writer.to_db_file(str(path))
    return path
