"""Rotation of the signing keys under load: with several instances of the API, each with its own cached document, no request fails.

Time is scaled by 1,500: documents are cached for 0.2 s (300 s), keys rotate every 0.8 s (20 minutes, the minimum in
docs/adr/0009-access-token-signing.md), and a token is used for 0.4 s (10 minutes).
"""

import asyncio
import secrets
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import count

import httpx
import pytest
from fastapi import FastAPI

from lambda_app.application import create_app
from lambda_app.core.security.keys import KeyRing, SigningKey, SigningKeys
from lambda_app.core.security.tokens import AccessTokens
from lambda_app.core.settings import Settings
from lambda_app.factory import Services
from lambda_app.repositories.accounts.sessions import REFRESHES_PER_WINDOW
from lambda_app.routers.http.gateway import GatewayHandler
from tests.support.accounts import Account
from tests.support.gateway import GatewayTransport

ROTATIONS = 20
INSTANCES = 3
CACHE_SECONDS = 0.2
ROTATION_SECONDS = 0.8
TOKEN_SECONDS = 0.4


class Secret:
    """The key document that all instances fetch."""

    def __init__(self) -> None:
        self.ring = KeyRing.parse(secrets.token_urlsafe(48))

    def fetch(self) -> str:
        return self.ring.render()


class Load:
    """The shared state of the instances and their clients."""

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self.expired_count = 0
        """Tokens that a slow machine used after their (scaled) lifetime; 401 is correct for them."""
        self.failures: list[str] = []
        self.tokens: list[tuple[float, str]] = []
        self.kids: set[str] = set()
        self.is_over = False
        self.lock = threading.Lock()

    def record(self, response: httpx.Response, *, issued_at: float | None = None) -> None:
        with self.lock:
            if response.status_code == 401 and issued_at is not None and time.monotonic() - issued_at > TOKEN_SECONDS:
                self.expired_count += 1
                return
            self.statuses[response.status_code] += 1
            if response.status_code != 200:
                self.failures.append(response.text)

    def add(self, token: str, *, issued_at: float) -> None:
        with self.lock:
            self.tokens = [*self.tokens[-50:], (issued_at, token)]

    def usable(self) -> list[tuple[float, str]]:
        """Return the valid tokens of all instances, with their times of issue."""
        with self.lock:
            return [(issued_at, token) for issued_at, token in self.tokens if time.monotonic() - issued_at < TOKEN_SECONDS]


def instance(settings: Settings, secret: Secret) -> Services:
    built = Services.build(settings)
    keys = SigningKeys(secret.fetch, cache_seconds=CACHE_SECONDS)
    return replace(built, keys=keys, tokens=AccessTokens(keys=keys, lifetime=timedelta(minutes=10)))


def serve(services: Services, app: FastAPI, load: Load, account: Account) -> None:
    """Run one instance and its client until the load ends."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    transport = GatewayTransport(GatewayHandler(app))
    with httpx.Client(transport=transport, base_url="https://api.test") as client:
        form = {"username": account.email, "password": account.password}
        pair: dict[str, str] = {}
        for number in count():
            if load.is_over:
                break
            if number % (REFRESHES_PER_WINDOW - 1) == 0:
                # One session can be refreshed a limited number of times an hour.
                pair = client.post("/api/v1/login/token", data=form).json()
            requested_at = time.monotonic()
            refreshed = client.post("/api/v1/login/refresh", json={"refresh_token": pair["refresh_token"]})
            load.record(refreshed)
            if refreshed.status_code != 200:
                break
            pair = refreshed.json()
            load.add(pair["access_token"], issued_at=requested_at)
            for issued_at, token in load.usable()[-6:]:
                load.record(client.get("/api/v1/users/me", headers={"Authorization": f"Bearer {token}"}), issued_at=issued_at)
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    services.engine.dispose()


@pytest.mark.slow
@pytest.mark.timing
def test_20_key_rotations_under_load_fail_no_request(settings: Settings, make_user: Callable[..., Account]) -> None:
    secret, load = Secret(), Load()
    account = make_user()
    instances = [instance(settings, secret) for _ in range(INSTANCES)]
    # The applications are created here and not in the threads, because FastAPI changes the process's warning filters meanwhile.
    threads = [threading.Thread(target=serve, args=(one, create_app(one.settings, one), load, account)) for one in instances]
    for thread in threads:
        thread.start()
    time.sleep(ROTATION_SECONDS)
    # One more rotation, because the first rotation of a bare secret only publishes the next key.
    for _ in range(ROTATIONS + 1):
        load.kids.add(secret.ring.current.kid)
        secret.ring = secret.ring.rotated()
        time.sleep(ROTATION_SECONDS)
    load.is_over = True
    for thread in threads:
        thread.join()

    sys.stdout.write(
        f"{sum(load.statuses.values())} requests during {ROTATIONS} rotations: {dict(load.statuses)}, {load.expired_count} expired\n"
    )
    assert load.failures == []
    assert len(load.kids) == ROTATIONS
    assert load.statuses[200] > 300
    assert load.expired_count < load.statuses[200] / 10


@pytest.mark.parametrize("rotations", [3, 4])
def test_token_of_a_removed_key_is_rejected_after_the_cache_expires(rotations: int) -> None:
    secret = Secret()
    keys = SigningKeys(secret.fetch, cache_seconds=CACHE_SECONDS)
    removed = secret.ring.current
    assert keys.find(removed.kid) == removed
    for _ in range(rotations):
        secret.ring = secret.ring.rotated()
    time.sleep(CACHE_SECONDS)

    assert keys.find(removed.kid) is None
    assert isinstance(removed, SigningKey)
