"""Places of network addresses, from a database file of the operator in the MaxMind DB format (setting `PLACES_FILE`).

A place is an estimate from the network. It is computed when it is shown, and not stored.
"""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lambda_app.core.addresses import parse_address

if TYPE_CHECKING:
    from maxminddb import Reader

ENGLISH = "en"
_TYPES: Final = ("city", "country", "enterprise")
"""What the type of a database with places contains, such as `GeoLite2-City` or `DBIP-Country-Lite`."""
_BROKEN: Final = (RuntimeError, ValueError, TypeError, LookupError, OSError)
"""What the library raises for damaged files. Its InvalidDatabaseError is a RuntimeError, as is RecursionError."""

logger = logging.getLogger(__name__)


def require_places(path: Path) -> Path:
    """Return the path of the database. Raises ValueError unless it is a readable MaxMind DB file with cities or countries."""
    _open(path).close()
    return path


class Places:
    """Names the places of addresses. Without a file, no place is known."""

    def __init__(self, path: Path | None = None) -> None:
        """Open the file. Raises ValueError like `require_places`."""
        self._reader = None if path is None else _open(path)

    def close(self) -> None:
        """Close the file."""
        if self._reader is not None:
            self._reader.close()

    def name_of(self, address: str | None, locale: str | None) -> str | None:
        """Return the city and country of an address, or the country alone; None if the database does not know it.

        The names are those of the locale, such as `de-AT`, else of its language, else English ones. Addresses that are not of the public
        internet have no place.
        """
        parsed = parse_address(address)
        if self._reader is None or parsed is None or not parsed.is_global:
            return None
        if parsed.version == 6 and self._reader.metadata().ip_version == 4:
            return None
        try:
            record: Any = self._reader.get(parsed)
        except _BROKEN as error:
            # The file was changed after the start. Users must still see their sessions, to end them.
            logger.warning("PLACES_FILE cannot be read: %s", type(error).__name__)
            return None
        city, country = (_name(record, part, (locale or ENGLISH).lower()) for part in ("city", "country"))
        if country is None or city is None or city == country:
            return country
        return f"{city}, {country}"


NO_PLACES: Final = Places()


def _open(path: Path) -> "Reader":
    # Imported here, because a process without the setting does not need it.
    from maxminddb import MODE_FILE, open_database

    try:
        if not path.stat().st_size:
            raise ValueError("is empty")
        # Not mapped into memory: a process with a mapping ends with a signal when the file is made shorter.
        reader = open_database(path, MODE_FILE)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error
    except (RuntimeError, TypeError, LookupError, UnicodeError) as error:
        raise ValueError("is not a valid MaxMind DB file") from error
    kind = str(reader.metadata().database_type)
    if not any(name in kind.lower() for name in _TYPES):
        reader.close()
        raise ValueError(f"is a database of the type {kind!r}; use one of cities or countries")
    return reader


def _name(record: Any, part: str, locale: str) -> str | None:
    """Return the name of a part of the record; None if it has none in this language or English."""
    found = record.get(part) if isinstance(record, dict) else None
    names = found.get("names") if isinstance(found, dict) else None
    if not isinstance(names, dict):
        return None
    by_locale = {key.lower(): name for key, name in names.items() if isinstance(key, str) and isinstance(name, str) and name}
    language = locale.partition("-")[0]
    # A database may have only a variant, such as pt-BR.
    variant = next((key for key in by_locale if key.partition("-")[0] == language), ENGLISH)
    return next((by_locale[key] for key in (locale, language, variant, ENGLISH) if key in by_locale), None)
