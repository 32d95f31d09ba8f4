"""What the screenshots show: an account with files, links in each state, requests, keys, webhooks, and people to share with."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
from sqlalchemy import text as sql
from sqlalchemy import update
from sqlalchemy.dialects.postgresql import insert

from lambda_app.core import clock
from lambda_app.core.security.notification_tokens import NotificationTokens, Unsubscription
from lambda_app.core.security.random_tokens import hash_secret, new_secret
from lambda_app.models import Invitation, UploadHour
from tests.e2e.browser.conftest import Site
from tests.e2e.browser.scenes import content_of
from tests.support.accounts import Account, make_account, make_file
from tests.support.second_factor import set_up
from tests.support.shares import make_share

FILES = (
    ("press-kit.zip", "application/zip", 1_460_000, timedelta(days=24)),
    ("Contract Fjordbygg AS (signed).pdf", "application/pdf", 0, timedelta(days=15)),
    ("IMG_4090.jpg", "image/jpeg", 670_000, timedelta(days=9)),
    ("ground-floor.png", "image/png", 210_000, timedelta(days=7)),
    ("Budget 2027, draft 4.xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", 86_000, timedelta(days=4)),
    ("site-visit-bergen.mov", "video/quicktime", 0, timedelta(days=3)),
    ("Interview Solveig Aas, second take.wav", "audio/wav", 4_126_000, timedelta(days=1, hours=2)),
    ("IMG_4128.jpg", "image/jpeg", 790_000, timedelta(hours=1)),
    ("IMG_4127.jpg", "image/jpeg", 820_000, timedelta(minutes=50)),
    ("Harbour-house_final-plans_rev-C.pdf", "application/pdf", 0, timedelta(minutes=20)),
)
"""Name, type, least size and age of the files, from the oldest."""
PREVIEWED_TYPES = ("image/", "video/", "application/pdf")
SHARED = "Survey of the quay.pdf"
HOOK = "http://127.0.0.1:9/hooks/we-upload"
"""No server listens at the address."""
TRASHED = "old draft.txt"
REQUEST = "Photos and survey of the roof"
NOTE = "Rev C as promised. The photos show the north facade this morning; the film is long, skip to minute four."
PREVIEW_SECONDS = 60
HISTORY_DAYS = 90
WEEKEND = 5
"""The first weekday of the weekend, counted from Monday as 0."""


@dataclass(frozen=True, slots=True)
class Showcase:
    """The accounts whose screens are shown, and the addresses of pages that need no sign-in."""

    account: Account
    """A superuser with files, links, requests, keys and a webhook."""
    beginner: Account
    """An account without files."""
    protected: Account
    """An account with a second factor."""
    unprotected: Account
    """An account that must set up a second factor."""
    pages: dict[str, str]
    """The addresses of pages for recipients and guests."""
    invitation: str
    device_url: str
    unsubscribe_url: str


def fill(site: Site, client: httpx.Client, domain: str) -> Showcase:
    """Make what the screens show, for accounts of the domain. Needs running workers."""

    def account(name: str, **options: Any) -> Account:
        made = make_account(site.services, email=f"{name.split(maxsplit=1)[0].lower()}@{domain}", **options)
        profile = {"display_name": name, "shows_name_on_links": True}
        client.patch("/api/v1/users/me", json=profile, headers=made.headers).raise_for_status()
        return made

    mara, *others = account("Mara Lindqvist", is_superuser=True), account("Jonas Okafor"), account("Hanna Weiß")
    beginner, protected, unprotected = account("Ida Berg"), account("Tomasz Pawlak"), account("Solveig Aas")
    set_up(client, protected)
    with site.services.engine.begin() as connection:
        connection.execute(sql('UPDATE "user" SET requires_second_factor = true WHERE id = :id'), {"id": unprotected.id})
    owner = mara.headers
    trashed = make_file(client, mara, bytes(48_000), filename=TRASHED)["id"]
    client.delete(f"/api/v1/files/{trashed}", headers=owner).raise_for_status()
    ids = _make_files(site, client, mara)
    pages = {**_make_links(site, client, mara, ids, others), "request": _make_requests(client, mara)["url"]}
    for user in others:
        client.put(f"/api/v1/files/{ids['Interview Solveig Aas, second take.wav']}/grants", json={"email": user.email}, headers=owner)
    client.put(f"/api/v1/files/{ids['ground-floor.png']}", json={"is_public": True}, headers=owner).raise_for_status()
    survey = make_file(client, others[0], bytes(64_000), filename=SHARED, content_type="application/pdf")
    client.put(f"/api/v1/files/{survey['id']}/grants", json={"email": mara.email, "role": "editor"}, headers=others[0].headers)
    for name, scopes in (("Backup script", ["files:read"]), ("Render farm", ["files:read", "files:write"])):
        key = {"name": name, "scopes": scopes, "expires_in_days": 90}
        client.post("/api/v1/users/me/api-keys", json=key, headers=owner).raise_for_status()
    client.post("/api/v1/webhooks", json={"url": HOOK}, headers=owner).raise_for_status()
    offer = {"email": mara.email, "current_password": others[1].password}
    client.post(f"/api/v1/users/{others[1].id}/transfer", json=offer, headers=others[1].headers).raise_for_status()
    device = client.post("/api/v1/login/device", json={"client": "backup script"}).raise_for_status().json()
    tokens = NotificationTokens(site.services.link_keys)
    mails = Unsubscription(mara.id, tokens.mailbox_of(mara.email), ("request_uploads", "link_expiry"))
    _record_history(site)
    return Showcase(
        account=mara,
        beginner=beginner,
        protected=protected,
        unprotected=unprotected,
        pages=pages,
        invitation=_invite(site, mara, f"lena@{domain}"),
        device_url=device["verification_uri_complete"],
        unsubscribe_url=f"{site.url}/unsubscribe/{tokens.sign_unsubscription(mails)}",
    )


def _record_history(site: Site) -> None:
    """Record one hour of each of the last days, as the maintenance does with every hour: less traffic on weekends, growing storage."""
    noon = clock.now().replace(hour=12, minute=0, second=0, microsecond=0)
    rows = []
    for age in range(HISTORY_DAYS, 0, -1):
        hour = noon - timedelta(days=age)
        level = (2 if hour.weekday() >= WEEKEND else 9) + (age * 7) % 5
        counts = {"uploads": 3 * level, "bytes": 70_000 * level, "downloads": level * level, "stored_bytes": 8_200_000 - 58_000 * age}
        rows.append({"hour": hour, **counts})
    new = insert(UploadHour)
    replaced = {name: new.excluded[name] for name in ("uploads", "bytes", "downloads", "stored_bytes")}
    with site.services.engine.begin() as connection:
        # The maintenance has counted these hours when the workers started, and later ones before there were files.
        connection.execute(new.on_conflict_do_update(index_elements=["hour"], set_=replaced), rows)
        connection.execute(update(UploadHour).where(UploadHour.hour > rows[-1]["hour"]).values(stored_bytes=None))


def _invite(site: Site, inviter: Account, email: str) -> str:
    """Return the token of an invitation, which otherwise only its mail has."""
    token, now = new_secret(), clock.now()
    times = {"created_at": now, "sent_at": now, "expires_at": now + timedelta(days=7)}
    with site.services.unit_of_work() as session:
        session.add(Invitation(id=uuid4(), inviter_id=inviter.id, email=email, token_hash=hash_secret(token), **times))
    return token


def _make_files(site: Site, client: httpx.Client, account: Account) -> dict[str, str]:
    ids = {}
    for name, content_type, size, age in FILES:
        content = content_of(name).ljust(size, b"\0")
        ids[name] = make_file(client, account, content, filename=name, content_type=content_type)["id"]
        with site.services.engine.begin() as connection:
            connection.execute(sql("UPDATE file SET created_at = :created WHERE id = :id"), {"created": clock.now() - age, "id": ids[name]})
    waiting = [ids[name] for name, content_type, *_ in FILES if content_type.startswith(PREVIEWED_TYPES)]
    ready = sql("SELECT count(*) FROM file_preview WHERE state = 'ready' AND file_id = ANY(CAST(:ids AS uuid[]))")
    for _ in range(PREVIEW_SECONDS * 4):
        with site.services.engine.connect() as connection:
            if connection.execute(ready, {"ids": waiting}).scalar_one() == len(waiting):
                return ids
        time.sleep(0.25)
    raise TimeoutError("The previews are not ready.")


def _make_requests(client: httpx.Client, account: Account) -> dict[str, Any]:
    earlier = {"title": "Invoices of November", "allowed_content_types": ["application/pdf"], "max_files": 20}
    client.post("/api/v1/file-requests", json=earlier, headers=account.headers).raise_for_status()
    fields = {"title": REQUEST, "note": "Everything you took on Thursday, in full size.", "max_size_bytes": 1_000_000_000}
    made: dict[str, Any] = client.post("/api/v1/file-requests", json=fields, headers=account.headers).raise_for_status().json()
    return made


def _make_links(site: Site, client: httpx.Client, account: Account, ids: dict[str, str], others: Sequence[Account]) -> dict[str, str]:
    """Make links in each state, the oldest first."""
    now = clock.now()

    def link(title: str, *names: str, counts: str = "", **rules: Any) -> dict[str, Any]:
        share = make_share(client, account, *(ids[name] for name in names), title=title, **rules)
        if counts:
            with site.services.engine.begin() as connection:
                connection.execute(sql(f"UPDATE share SET {counts} WHERE id = :id"), {"id": share["id"]})  # noqa: S608 - constants below
        return share

    revoked = link("Contract Fjordbygg AS", "Contract Fjordbygg AS (signed).pdf", password="fjord-lantern-48", counts="open_count = 1")
    client.delete(f"/api/v1/shares/{revoked['id']}", headers=account.headers).raise_for_status()
    expired = "expires_at = now() - interval '8 days', open_count = 9, download_count = 5"
    link(
        "Budget 2027, draft 3", "Budget 2027, draft 4.xlsx", counts=expired, audience="named", recipients=[other.email for other in others]
    )
    link(
        "Press kit",
        "press-kit.zip",
        slug=f"press-kit-{account.id.hex[:4]}",
        max_downloads=100,
        counts="open_count = 212, download_count = 100",
    )
    link(
        "Site visit Bergen",
        "site-visit-bergen.mov",
        "IMG_4090.jpg",
        audience="signed_in",
        expires_at=(now + timedelta(days=7, hours=1)).isoformat(),
    )
    soon = (now + timedelta(hours=5)).isoformat()
    link(
        "Interview Solveig Aas",
        "Interview Solveig Aas, second take.wav",
        expires_at=soon,
        password="x7-harbour",
        counts="open_count = 3, download_count = 2",
    )
    link("Ground floor", "ground-floor.png", counts="open_count = 148, download_count = 61")
    until = (now + timedelta(days=14, hours=2)).isoformat()
    pictures = ("IMG_4127.jpg", "IMG_4128.jpg", "IMG_4090.jpg", "ground-floor.png", "site-visit-bergen.mov", FILES[-1][0])
    shown = link(
        "Harbour plans, rev C", *pictures, note=NOTE, max_downloads=20, expires_at=until, counts="open_count = 6, download_count = 8"
    )
    list_only = link("Papers", "Contract Fjordbygg AS (signed).pdf", "Budget 2027, draft 4.xlsx", "press-kit.zip")
    locked = link("Offer", FILES[-1][0], password="fjord-lantern-48")
    return {"share": shown["url"], "list": list_only["url"], "password": locked["url"]}
