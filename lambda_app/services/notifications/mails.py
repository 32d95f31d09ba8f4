"""Composes the mail to a user from the notifications that wait."""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from lambda_app.core.mail import Mail
from lambda_app.core.places import Places
from lambda_app.core.security.notification_tokens import NotificationTokens, Prolongation, Prolonged, Unsubscription
from lambda_app.models import NotificationKind
from lambda_app.repositories.notifications.collection import ABOUT
from lambda_app.repositories.notifications.digests import Recipient
from lambda_app.schemas.text import DIRECTION_MARKS
from lambda_app.services.notifications.texts import Texts, exact_time, texts_for

GROUPS_MAX = 50
"""Links, file requests and announcements in one mail."""
ORDER = (
    NotificationKind.NEW_SIGN_INS,
    NotificationKind.LINK_EXPIRY,
    NotificationKind.REQUEST_UPLOADS,
    NotificationKind.LINK_DOWNLOADS,
)
"""The most urgent first. Of a long mail, the end is cut."""
NAME_MAX_LENGTH = 80
REQUEST_ID = "file_request_id"
"""Key of the id in the description of a file request that expires; a link has `share_id`."""
_BREAKS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


class NotificationMails:
    """Composes mails with links below `base_url` (the pages of this API) and `public_url` (the web app).

    Users without a language get `default_language`.
    """

    def __init__(self, *, tokens: NotificationTokens, base_url: str, public_url: str, default_language: str, places: Places) -> None:
        self._places = places
        self._tokens = tokens
        self._default_language = default_language
        self._base_url = base_url.rstrip("/")
        self._public_url = public_url.rstrip("/")

    def compose(self, recipient: Recipient, content: Sequence[dict[str, Any]]) -> Mail:
        """Return the mail about these notifications. Names of others are shown in one line, shortened, and without marks of direction."""
        texts = texts_for(recipient.locale or self._default_language)
        kinds = sorted({NotificationKind(each["kind"]) for each in content})
        mailbox = self._tokens.mailbox_of(recipient.email)
        token = self._tokens.sign_unsubscription(Unsubscription(recipient.user_id, mailbox, tuple(kind.value for kind in kinds)))
        unsubscribe_url = f"{self._base_url}/unsubscribe/{token}"
        ordered = sorted(content, key=lambda each: ORDER.index(NotificationKind(each["kind"])))
        paragraphs = [paragraph for each in ordered[:GROUPS_MAX] for paragraph in self._group(recipient, each, texts)]
        if len(content) > GROUPS_MAX:
            paragraphs.append(texts.more_groups)
        paragraphs += [texts.settings, f"{self._public_url}/settings#notifications", texts.unsubscribe, unsubscribe_url]
        return Mail(
            to=recipient.email,
            subject=_subject(kinds, content, texts),
            text="\n\n".join(paragraphs) + "\n",
            unsubscribe_url=unsubscribe_url,
            language=texts.language,
        )

    def _group(self, recipient: Recipient, each: dict[str, Any], texts: Texts) -> Iterator[str]:
        kind, items = NotificationKind(each["kind"]), dict(each["items"])
        about = items.pop(ABOUT, {})
        if kind is NotificationKind.LINK_EXPIRY:
            yield from self._expiry(recipient, about, texts)
            return
        if kind is NotificationKind.LINK_DOWNLOADS:
            heading = texts.downloads(_link(about, texts), each["count"])
            lines = [_counted(_one_line(item["name"]) or texts.zip_name, item["count"], texts) for item in items.values()]
        elif kind is NotificationKind.REQUEST_UPLOADS:
            heading = texts.uploads(texts.request(_one_line(about.get("name"))), each["count"])
            lines = [_sized(_one_line(item["name"]), item["size_bytes"], texts) for item in items.values()]
        else:
            heading = texts.sign_ins
            lines = [self._sign_in(item, texts, recipient.time_zone) for item in items.values()]
        hidden = each["count"] - sum(item["count"] for item in items.values())
        more = [texts.more_items(hidden)] if hidden > 0 else []
        yield "\n".join([heading, *(f"- {line}" for line in (*lines, *more))])
        if kind is NotificationKind.NEW_SIGN_INS:
            yield texts.sign_in_advice
            yield f"{self._public_url}/settings#password"

    def _sign_in(self, item: dict[str, Any], texts: Texts, time_zone: str | None) -> str:
        browser = _one_line(item["browser"]) or texts.unknown_browser
        address = item["address"] or texts.unknown_address
        # In the language of the mail, which the locale of the account may not be.
        place = _one_line(self._places.name_of(item["address"], texts.language))
        source = f"{address} ({texts.place(place)})" if place else address
        return f"{exact_time(datetime.fromisoformat(item['at']), texts, time_zone)}: {browser}, {source}"

    def _expiry(self, recipient: Recipient, about: dict[str, Any], texts: Texts) -> Iterator[str]:
        expires_at = datetime.fromisoformat(about["expires_at"])
        time = exact_time(expires_at, texts, recipient.time_zone)
        if REQUEST_ID in about:
            kind, object_id = Prolonged.FILE_REQUEST, UUID(about[REQUEST_ID])
            yield texts.request_expiry(texts.request(_one_line(about.get("name"))), time)
        else:
            kind, object_id = Prolonged.LINK, UUID(about["share_id"])
            yield texts.expiry(_link(about, texts), time)
        mailbox = self._tokens.mailbox_of(recipient.email)
        token = self._tokens.sign_prolongation(Prolongation(recipient.user_id, mailbox, object_id, expires_at, kind))
        yield f"{self._base_url}/prolong/{token}"


def _link(about: dict[str, Any], texts: Texts) -> str:
    return texts.link(_one_line(about.get("name")), about.get("more", 0))


def _subject(kinds: Sequence[NotificationKind], content: Sequence[dict[str, Any]], texts: Texts) -> str:
    count = sum(each["count"] for each in content)
    requests = sum(REQUEST_ID in each["items"].get(ABOUT, {}) for each in content)
    if kinds == [NotificationKind.LINK_EXPIRY] and requests:
        return texts.request_expiry_subject(count) if requests == len(content) else texts.mixed_subject
    return texts.subjects[kinds[0]](count) if len(kinds) == 1 else texts.mixed_subject


def _counted(name: str, count: int, texts: Texts) -> str:
    return name if count == 1 else f"{name} ({texts.times(count)})"


def _sized(name: str, size_bytes: int | None, texts: Texts) -> str:
    return name if size_bytes is None else f"{name} ({texts.size(size_bytes)})"


def _one_line(text: str | None) -> str:
    """Return the text in one line of limited length, so that it cannot look like a part of the mail."""
    line = " ".join(DIRECTION_MARKS.sub("", _BREAKS.sub(" ", text or "")).split())
    return line if len(line) <= NAME_MAX_LENGTH else f"{line[: NAME_MAX_LENGTH - 1]}…"
