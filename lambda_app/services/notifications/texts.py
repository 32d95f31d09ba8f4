"""Texts of the mails with notifications, in English and German."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from lambda_app.models import NotificationKind

_UNITS = ("B", "KB", "MB", "GB", "TB", "PB")


@dataclass(frozen=True, slots=True)
class Texts:
    """The texts of one language."""

    language: str
    subjects: Mapping[NotificationKind, Callable[[int], str]]
    """The subject of a mail with one kind of notifications, by their number."""
    mixed_subject: str
    downloads: Callable[[str, int], str]
    uploads: Callable[[str, int], str]
    request_expiry_subject: Callable[[int], str]
    """The subject of a mail about file requests only that expire soon."""
    expiry: Callable[[str, str], str]
    request_expiry: Callable[[str, str], str]
    sign_ins: str
    sign_in_advice: str
    unknown_browser: str
    unknown_address: str
    place: Callable[[str], str]
    """The place of a network, which is an estimate."""
    more_items: Callable[[int], str]
    more_groups: str
    zip_name: str
    link: Callable[[str, int], str]
    request: Callable[[str], str]
    times: Callable[[int], str]
    settings: str
    unsubscribe: str
    time: Callable[[datetime], str]
    decimal_comma: bool

    def size(self, bytes_: int) -> str:
        """Return a size in units of 1000 with at most three digits."""
        power = next((power for power in range(len(_UNITS) - 1) if bytes_ / 1000**power < 999.5), len(_UNITS) - 1)
        value = bytes_ / 1000**power
        most = 0 if value >= 99.95 else 1 if value >= 9.995 else 2
        text = f"{value:.{min(most, max(0, power - 1))}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
        return f"{text.replace('.', ',') if self.decimal_comma else text} {_UNITS[power]}"


def _plural(count: int, one: str, many: str) -> str:
    return one if count == 1 else f"{count:,} {many}"


def _german_count(count: int, one: str, many: str) -> str:
    return one if count == 1 else f"{count:,} {many}".replace(",", ".")


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

ENGLISH = Texts(
    language="en",
    subjects={
        NotificationKind.LINK_DOWNLOADS: lambda count: f"{_plural(count, 'A download', 'downloads')} through your share links",
        NotificationKind.REQUEST_UPLOADS: lambda count: f"{_plural(count, 'A file', 'files')} received through your file requests",
        NotificationKind.LINK_EXPIRY: lambda count: f"{_plural(count, 'A share link expires', 'share links expire')} within a day",
        NotificationKind.NEW_SIGN_INS: lambda _count: "A new sign-in to your account",
    },
    mixed_subject="News about your account, links and file requests",
    downloads=lambda link, count: f"{_plural(count, '1 download', 'downloads')} through your share link to {link}:",
    uploads=lambda request, count: f"{_plural(count, '1 file', 'files')} received through your file request {request}:",
    expiry=lambda link, at: f"Your share link to {link} expires on {at}. To keep it open for 7 more days, open this page:",
    request_expiry_subject=lambda count: f"{_plural(count, 'A file request expires', 'file requests expire')} within a day",
    request_expiry=lambda request, at: f"Your file request {request} expires on {at}. To keep it open for 7 more days, open this page:",
    sign_ins="A sign-in to your account from a network or browser that was not used for it in the last 90 days:",
    sign_in_advice="If this was not you, change your password at once. That also ends all sessions:",
    unknown_browser="unknown program",
    unknown_address="unknown address",
    place=lambda name: f"{name}, estimated",
    more_items=lambda count: f"and {_plural(count, '1 other', 'others')}",
    more_groups="There is more than this mail can show. The web app shows all of it.",
    zip_name="all files as a zip",
    link=lambda name, more: f"“{name}”" + (f" and {_plural(more, '1 more file', 'more files')}" if more else ""),
    request=lambda title: f"“{title}”",
    times=lambda count: f"{count:,} times",
    settings="You choose in your settings which mails you get:",
    unsubscribe="To turn off all mails like this one, open this page:",
    time=lambda at: f"{at.day} {_MONTHS[at.month - 1]} {at.year:04d}, {at:%H:%M}",
    decimal_comma=False,
)
GERMAN = Texts(
    language="de",
    subjects={
        NotificationKind.LINK_DOWNLOADS: lambda count: f"{_german_count(count, 'Ein Download', 'Downloads')} über Ihre Links",
        NotificationKind.REQUEST_UPLOADS: lambda count: f"{_german_count(count, 'Eine Datei', 'Dateien')} über Ihre Dateianfragen erhalten",
        NotificationKind.LINK_EXPIRY: lambda count: f"{_german_count(count, 'Ein Link läuft', 'Links laufen')} innerhalb eines Tages ab",
        NotificationKind.NEW_SIGN_INS: lambda _count: "Eine neue Anmeldung an Ihrem Konto",
    },
    mixed_subject="Neues zu Ihrem Konto, Ihren Links und Dateianfragen",
    downloads=lambda link, count: f"{_german_count(count, '1 Download', 'Downloads')} über Ihren Link zu {link}:",
    uploads=lambda request, count: f"{_german_count(count, '1 Datei', 'Dateien')} über Ihre Dateianfrage {request} erhalten:",
    expiry=lambda link, at: f"Ihr Link zu {link} läuft am {at} ab. Um ihn 7 Tage länger offen zu halten, öffnen Sie diese Seite:",
    request_expiry_subject=lambda count: (
        f"{_german_count(count, 'Eine Dateianfrage läuft', 'Dateianfragen laufen')} innerhalb eines Tages ab"
    ),
    request_expiry=lambda request, at: (
        f"Ihre Dateianfrage {request} läuft am {at} ab. Um sie 7 Tage länger offen zu halten, öffnen Sie diese Seite:"
    ),
    sign_ins="Eine Anmeldung an Ihrem Konto aus einem Netz oder mit einem Browser, die dafür in den letzten 90 Tagen nicht benutzt wurden:",
    sign_in_advice="Wenn Sie das nicht waren, ändern Sie sofort Ihr Passwort. Das beendet auch alle Sitzungen:",
    unknown_browser="unbekanntes Programm",
    unknown_address="unbekannte Adresse",
    place=lambda name: f"{name}, geschätzt",
    more_items=lambda count: f"und {_german_count(count, '1 weitere', 'weitere')}",
    more_groups="Es gibt mehr, als diese Mail zeigen kann. Die Web-App zeigt alles.",
    zip_name="alle Dateien als Zip",
    link=lambda name, more: f"„{name}“" + (f" und {_german_count(more, '1 weiteren Datei', 'weiteren Dateien')}" if more else ""),
    request=lambda title: f"„{title}“",
    times=lambda count: f"{count:,}-mal".replace(",", "."),
    settings="In Ihren Einstellungen wählen Sie, welche Mails Sie erhalten:",
    unsubscribe="Um alle Mails wie diese abzustellen, öffnen Sie diese Seite:",
    time=lambda at: f"{at.day}.{at.month}.{at.year:04d}, {at:%H:%M} Uhr",
    decimal_comma=True,
)


def exact_time(at: datetime, texts: Texts, time_zone: str | None) -> str:
    """Return the time in the time zone of a profile, or in UTC, with the name of the zone."""
    zone = _zone(time_zone)
    return f"{texts.time(at.astimezone(zone))} ({zone.key})"


def _zone(name: str | None) -> ZoneInfo:
    try:
        return ZoneInfo(name or "UTC")
    except (ValueError, OSError, LookupError):
        # The name is unknown to this machine.
        return ZoneInfo("UTC")


def texts_for(locale: str | None) -> Texts:
    """Return the texts for a language tag; English for other languages."""
    return GERMAN if (locale or "").lower().split("-")[0] == "de" else ENGLISH
