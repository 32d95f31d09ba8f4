"""The fake object store of the service tests satisfies the contract of the real one."""

from collections.abc import Iterator, Mapping
from uuid import uuid4

import pytest
import time_machine

from lambda_app.core import clock
from lambda_app.core.errors import UnavailableError
from lambda_app.storage.keys import object_key
from tests.support.object_store import FakeObjectStore, StoreResponse
from tests.support.object_store_contract import ObjectStoreContract


class FakeWorld:
    """A fake store and a clock that the test advances."""

    demands_signatures = True
    checks_parts = True
    checks_size = True
    pages_uploads = True

    def __init__(self, traveller: time_machine.Traveller) -> None:
        self._traveller = traveller
        self._store = FakeObjectStore()

    def store(self, *, lifetime_seconds: int = 900) -> FakeObjectStore:
        if lifetime_seconds != 900:
            store = FakeObjectStore(lifetime_seconds=lifetime_seconds)
            store.objects = self._store.objects
            return store
        return self._store

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> StoreResponse:
        return self._store.send(method, url, headers, body)

    def wait(self, seconds: float) -> None:
        self._traveller.shift(seconds)


@pytest.fixture
def world() -> Iterator[FakeWorld]:
    with time_machine.travel("2026-01-02T03:04:05.678Z", tick=False) as traveller:
        yield FakeWorld(traveller)


class TestFakeObjectStore(ObjectStoreContract):
    """The shared contract, with the fake store."""


def test_unsigned_amz_header_is_rejected() -> None:
    store = FakeObjectStore()
    upload = store.presign_upload(key=object_key(uuid4()), size_bytes=1, content_type="text/plain", sha256=None)

    status = store.put(upload, b"x", upload.headers | {"x-amz-acl": "public-read"})

    assert status == 403
    assert store.objects == {}


def test_store_signs_urls_while_it_is_down() -> None:
    store = FakeObjectStore()
    key = object_key(uuid4())
    store.is_down = True

    for call in (store.head, store.delete):
        with pytest.raises(UnavailableError):
            call(key)
    assert store.presign_download(key=key, filename="a", content_type="text/plain").expires_at > clock.now()
