"""Texts of the pages behind the links in notifications, in English and German."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lambda_app.core.security.notification_tokens import Prolonged
from lambda_app.models import NotificationKind
from lambda_app.services.notifications.texts import ENGLISH, GERMAN, Texts, texts_for


@dataclass(frozen=True, slots=True)
class ProlongationTexts:
    """The texts about a share link or a file request. Times and days are inserted."""

    question: str
    expires: Callable[[str, int], str]
    prolonged: str
    expires_now: Callable[[str], str]


@dataclass(frozen=True, slots=True)
class PageTexts:
    """The texts of one language."""

    of_mails: Texts
    names: Mapping[NotificationKind, str]
    turn_off_question: str
    turn_off: str
    is_off: str
    turn_on_again: str
    prolongation: Mapping[Prolonged, ProlongationTexts]
    keep_open: Callable[[int], str]
    refusal: str
    refusal_advice: str
    footer: str

    @property
    def language(self) -> str:
        """The language tag."""
        return self.of_mails.language


_ENGLISH = PageTexts(
    of_mails=ENGLISH,
    names={
        NotificationKind.LINK_DOWNLOADS: "Downloads of your share links",
        NotificationKind.REQUEST_UPLOADS: "Files received through your file requests",
        NotificationKind.LINK_EXPIRY: "Share links and file requests that expire within a day",
        NotificationKind.NEW_SIGN_INS: "Sign-ins from a new network or browser",
    },
    turn_off_question="Turn these mails off?",
    turn_off="Turn off",
    is_off="These mails are off",
    turn_on_again="You can turn them on again in the settings of your account.",
    prolongation={
        Prolonged.LINK: ProlongationTexts(
            question="Keep the share link open?",
            expires=lambda at, days: f"Your share link expires on {at}. It can stay open for {days} more days.",
            prolonged="The share link stays open",
            expires_now=lambda at: f"It now expires on {at}.",
        ),
        Prolonged.FILE_REQUEST: ProlongationTexts(
            question="Keep the file request open?",
            expires=lambda at, days: f"Your file request expires on {at}. It can stay open for {days} more days.",
            prolonged="The file request stays open",
            expires_now=lambda at: f"It now expires on {at}.",
        ),
    },
    keep_open=lambda days: f"Keep open for {days} more days",
    refusal="This link does not work any more",
    refusal_advice="Sign in and use the settings of your account.",
    footer="Sent with",
)
_GERMAN = PageTexts(
    of_mails=GERMAN,
    names={
        NotificationKind.LINK_DOWNLOADS: "Downloads über Ihre Links",
        NotificationKind.REQUEST_UPLOADS: "Dateien, die über Ihre Dateianfragen ankommen",
        NotificationKind.LINK_EXPIRY: "Links und Dateianfragen, die innerhalb eines Tages ablaufen",
        NotificationKind.NEW_SIGN_INS: "Anmeldungen aus einem neuen Netz oder mit einem neuen Browser",
    },
    turn_off_question="Diese Mails abstellen?",
    turn_off="Abstellen",
    is_off="Diese Mails sind abgestellt",
    turn_on_again="In den Einstellungen Ihres Kontos können Sie sie wieder anstellen.",
    prolongation={
        Prolonged.LINK: ProlongationTexts(
            question="Den Link offen halten?",
            expires=lambda at, days: f"Ihr Link läuft am {at} ab. Er kann {days} Tage länger offen bleiben.",
            prolonged="Der Link bleibt offen",
            expires_now=lambda at: f"Er läuft jetzt am {at} ab.",
        ),
        Prolonged.FILE_REQUEST: ProlongationTexts(
            question="Die Dateianfrage offen halten?",
            expires=lambda at, days: f"Ihre Dateianfrage läuft am {at} ab. Sie kann {days} Tage länger offen bleiben.",
            prolonged="Die Dateianfrage bleibt offen",
            expires_now=lambda at: f"Sie läuft jetzt am {at} ab.",
        ),
    },
    keep_open=lambda days: f"{days} Tage länger offen halten",
    refusal="Dieser Link funktioniert nicht mehr",
    refusal_advice="Melden Sie sich an und benutzen Sie die Einstellungen Ihres Kontos.",
    footer="Gesendet mit",
)


def page_texts_for(locale: str | None) -> PageTexts:
    """Return the texts for a language tag; English for other languages."""
    return _GERMAN if texts_for(locale) is GERMAN else _ENGLISH
