"""Receipts: who gets them, what they show, and that they verify offline with two independent implementations."""

import base64
import hashlib
import importlib.util
import json
import socket
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

import httpx
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from we_upload.cli.main import main as command

from lambda_app.storage.object_store import StoredObject
from lambda_app.storage.s3 import S3ObjectStore
from tests.support.accounts import Account, make_account, make_file, put_object, sha256_hex
from tests.support.audit_log import OwnLog
from tests.support.problems import assert_problem
from tests.support.shares import make_share

KEYS = "/.well-known/we-upload/log-key"
BODY = b"the content of the file"
CLIENT = Path(__file__).resolve().parents[3] / "clients" / "python" / "src" / "we_upload" / "receipts.py"


def load_client() -> ModuleType:
    """Load the module by its path: it must work without the server's code and without the rest of its package."""
    spec = importlib.util.spec_from_file_location("we_upload_receipts_under_test", CLIENT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


client_receipts = load_client()


@pytest.fixture
def owner(api: httpx.Client, log: OwnLog) -> Account:
    return make_account(log.services)


def receipt_of(api: httpx.Client, owner: Account, file: dict[str, Any]) -> httpx.Response:
    return api.get(f"/api/v1/files/{file['id']}/receipt", headers=owner.headers)


def opened(event: dict[str, Any]) -> dict[str, str]:
    return {field["name"]: field["value"] for field in event["fields"] if "value" in field}


def verify_independently(receipt: bytes, keys: str) -> list[dict[str, str]]:
    """Verify a receipt by the definitions, with no code of the server or the client; return the opened fields of each event."""
    found = []
    for event in json.loads(receipt)["events"]:
        entry = b""
        for field in event["fields"]:
            if "hash" in field:
                entry += base64.b64decode(field["hash"])
            else:
                entry += hashlib.sha256(base64.b64decode(field["salt"]) + f"{field['name']}={field['value']}".encode()).digest()
        origin, size, root, *_ = event["checkpoint"].split("\n")
        path = [base64.b64decode(part) for part in event["proof"]]
        assert base64.b64encode(climb(hashlib.sha256(b"\0" + entry).digest(), event["index"], int(size), path)).decode() == root
        text, _, line = event["checkpoint"].partition("\n\n")
        blob = base64.b64decode(line.split(" ")[2])
        key = next(base64.b64decode(part[2])[1:] for part in (line.split("+", 2) for line in keys.split()) if part[1] == blob[:4].hex())
        assert hashlib.sha256(origin.encode() + b"\n\x01" + key).digest()[:4] == blob[:4]
        Ed25519PublicKey.from_public_bytes(key).verify(blob[4:], f"{text}\n".encode())
        found.append(opened(event))
    return found


def climb(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """PATH of RFC 9162, section 2.1.3.1, as a recursion from the root."""
    if size == 1:
        assert not path
        return leaf
    half = 1 << ((size - 1).bit_length() - 1)
    if index < half:
        return hashlib.sha256(b"\1" + climb(leaf, index, half, path[:-1]) + path[-1]).digest()
    return hashlib.sha256(b"\1" + path[-1] + climb(leaf, index - half, size - half, path[:-1])).digest()


def test_command_verifies_a_receipt_and_refuses_another_file(
    api: httpx.Client, log: OwnLog, owner: Account, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = make_file(api, owner, BODY, sha256=sha256_hex(BODY))
    log.seal()
    contents = {"receipt": receipt_of(api, owner, file).content, "keys": api.get(KEYS).content, "copy": BODY, "other": b"another content"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    receipt, keys, copy, other = (str(tmp_path / name) for name in contents)

    assert command(["verify", receipt, copy, "--key", keys]) == 0
    assert command(["verify", receipt, other, "--key", keys]) == 1

    assert "The receipt is not valid" in capsys.readouterr().err


def test_receipt_of_a_file_verifies_offline(
    api: httpx.Client, log: OwnLog, owner: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = make_file(api, owner, BODY, filename='ä "quoted" \u2028🔑.txt', sha256=sha256_hex(BODY))
    waiting = receipt_of(api, owner, file)
    log.add(3)
    log.seal()
    receipt = receipt_of(api, owner, file)
    keys = api.get(KEYS)
    (tmp_path / "copy").write_bytes(BODY)

    monkeypatch.setattr(socket, "socket", None)
    (event,) = client_receipts.verify_receipt(receipt.content, keys.text, file=tmp_path / "copy")
    (fields,) = verify_independently(receipt.content, keys.text)

    assert_problem(waiting, 409, "receipt_not_ready")
    assert waiting.headers["Retry-After"] == "60"
    assert receipt.status_code == 200
    assert keys.headers["content-type"].startswith("text/plain")
    assert (event.action, event.subject, event.at) == (fields["action"], fields["subject"], fields["at"])
    assert (event.action, event.subject) == ("file.available", f"file:{file['id']}")
    assert event.details == {
        "filename": 'ä "quoted" \u2028🔑.txt',
        "size_bytes": len(BODY),
        "sha256": sha256_hex(BODY),
        "owner_id": str(owner.id),
    }
    assert event.log == f"we-upload/{log.services.settings.s3_bucket_name}/1"
    assert set(fields) == {"seq", "at", "action", "subject", "details"}


def test_receipt_without_a_declared_digest_has_the_checksum_of_s3(
    api: httpx.Client, log: OwnLog, owner: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # S3 computes it for every object without another checksum; the emulator does not. The value is the check value of the algorithm.
    checksum = base64.b64encode(bytes.fromhex("ae8b14860a799888")).decode()
    read_small = S3ObjectStore.read_small

    def with_checksum(store: S3ObjectStore, key: str, max_bytes: int) -> tuple[StoredObject, bytes] | None:
        found = read_small(store, key, max_bytes)
        return found and (replace(found[0], crc64nvme=checksum), found[1])

    monkeypatch.setattr(S3ObjectStore, "read_small", with_checksum)
    file = make_file(api, owner, b"123456789")
    log.seal()
    receipt, keys = receipt_of(api, owner, file).content, api.get(KEYS).text
    (tmp_path / "same").write_bytes(b"123456789")
    (tmp_path / "other").write_bytes(b"123456788")

    (event,) = client_receipts.verify_receipt(receipt, keys, file=tmp_path / "same")

    assert "sha256" not in event.details
    assert event.details["crc64nvme"] == checksum
    with pytest.raises(client_receipts.ReceiptError, match="the file differs"):
        client_receipts.verify_receipt(receipt, keys, file=tmp_path / "other")


def test_changing_any_byte_of_file_receipt_or_keys_makes_it_fail(api: httpx.Client, log: OwnLog, owner: Account, tmp_path: Path) -> None:
    file = make_file(api, owner, BODY, sha256=sha256_hex(BODY))
    log.seal()
    receipt, keys = receipt_of(api, owner, file).content, api.get(KEYS).text
    copy = tmp_path / "copy"
    copy.write_bytes(BODY)
    client_receipts.verify_receipt(receipt, keys, file=copy)

    for index in range(len(receipt)):
        for flipped in (1, 32, 128):
            changed = receipt[:index] + bytes([receipt[index] ^ flipped]) + receipt[index + 1 :]
            with pytest.raises(client_receipts.ReceiptError):
                client_receipts.verify_receipt(changed, keys)
    line = keys.strip()
    for index in range(len(line)):
        with pytest.raises(client_receipts.ReceiptError):
            client_receipts.verify_receipt(receipt, line[:index] + chr(ord(line[index]) ^ 1) + line[index + 1 :])
    for index in range(len(BODY)):
        copy.write_bytes(BODY[:index] + bytes([BODY[index] ^ 1]) + BODY[index + 1 :])
        with pytest.raises(client_receipts.ReceiptError, match="the file differs"):
            client_receipts.verify_receipt(receipt, keys, file=copy)
    copy.write_bytes(BODY + b"\n")
    with pytest.raises(client_receipts.ReceiptError, match="size"):
        client_receipts.verify_receipt(receipt, keys, file=copy)
    for changed in (receipt + b"\n", json.dumps(json.loads(receipt), indent=1).encode(), b"[]", b"\xff", receipt[:-1]):
        with pytest.raises(client_receipts.ReceiptError):
            client_receipts.verify_receipt(changed, keys)


def test_receipt_from_before_a_key_rotation_verifies(api: httpx.Client, log: OwnLog, owner: Account) -> None:
    file = make_file(api, owner, BODY)
    log.seal()
    earlier, first_keys = receipt_of(api, owner, file).content, api.get(KEYS).text
    log.with_key("the next key, of at least 32 bytes").seal()
    keys = api.get(KEYS).text
    later = receipt_of(api, owner, file).content

    assert len(keys.split()) == 2
    assert keys.split()[1] == first_keys.strip()
    for receipt in (earlier, later):
        client_receipts.verify_receipt(receipt, keys)
        verify_independently(receipt, keys)
    with pytest.raises(client_receipts.ReceiptError, match="none of the keys"):
        client_receipts.verify_receipt(later, first_keys)
    with pytest.raises((StopIteration, InvalidSignature)):
        verify_independently(later, first_keys)


def test_downloads_of_a_link_have_receipts_without_the_visitor(api: httpx.Client, log: OwnLog, owner: Account) -> None:
    file = make_file(api, owner, BODY)
    share = make_share(api, owner, file["id"])
    assert api.get(f"{share['url']}/files/{file['id']}").status_code == 302
    path = f"/api/v1/shares/{share['id']}/receipts"
    before = api.get(path, headers=owner.headers)
    log.seal()

    response = api.get(path, headers=owner.headers)

    assert before.json() == []
    (receipt,) = response.json()
    canonical = json.dumps(receipt, ensure_ascii=False, separators=(",", ":")).encode()
    download, available = client_receipts.verify_receipt(canonical, api.get(KEYS).text)
    assert (download.action, download.subject) == ("share.downloaded", f"share:{share['id']}")
    assert download.details == {"file_id": file["id"]}
    assert available.subject == f"file:{file['id']}"
    assert "203.0.113" not in response.text
    assert_problem(api.get(path, params={"limit": 21}, headers=owner.headers), 422, "malformed_request")


def test_guest_gets_the_receipt_with_the_tokens_of_the_upload(api: httpx.Client, log: OwnLog, owner: Account) -> None:
    request = api.post("/api/v1/file-requests", json={"title": "t"}, headers=owner.headers).json()
    address = f"/r/{request['token']}/files"
    upload = api.post(address, json={"filename": "a.txt", "content_type": "text/plain", "size_bytes": len(BODY)}).json()
    tokens = {"guest_token": upload["guest_token"]}
    assert put_object(upload, BODY).status_code == 200
    receipts = f"{address}/{upload['file_id']}/receipt"
    too_early = api.post(receipts, json=tokens)
    assert api.post(f"{address}/{upload['file_id']}/complete", json=tokens).status_code == 200
    unsealed = api.post(receipts, json=tokens)
    log.seal()

    response = api.post(receipts, json=tokens)

    assert_problem(too_early, 404, "receipt_not_found")
    assert_problem(unsealed, 409, "receipt_not_ready")
    (event,) = client_receipts.verify_receipt(response.content, api.get(KEYS).text)
    assert event.details["file_request_id"] == request["id"]
    assert str(owner.id) not in response.text
    assert_problem(api.post(receipts, json={"guest_token": "x" * 43}), 404, "link_not_found")
    assert_problem(api.post(f"{address}/{uuid4()}/receipt", json=tokens), 404, "link_not_found")


def test_receipt_is_for_users_who_may_manage_the_file(api: httpx.Client, log: OwnLog, owner: Account) -> None:
    file = make_file(api, owner, BODY)
    reader = make_account(log.services)
    grant = api.put(f"/api/v1/files/{file['id']}/grants", json={"user_id": str(reader.id)}, headers=owner.headers)
    assert grant.status_code == 200
    log.seal()

    assert receipt_of(api, reader, file).status_code == 403
    assert receipt_of(api, make_account(log.services), file).status_code == 403
    assert_problem(receipt_of(api, owner, {"id": uuid4()}), 404, "file_not_found")


def test_receipt_hides_erased_fields(api: httpx.Client, log: OwnLog, owner: Account) -> None:
    file = make_file(api, owner, BODY)
    log.seal()
    with log.services.unit_of_work() as session:
        tree = log.services.audit_log(session)
        event = tree.find_event(f"file:{file['id']}", "file.available")
        assert event is not None
        tree.erase(event, ["details"])

    receipt = receipt_of(api, owner, file).content

    (fields,) = verify_independently(receipt, api.get(KEYS).text)
    assert set(fields) == {"seq", "at", "action", "subject"}
    (verified,) = client_receipts.verify_receipt(receipt, api.get(KEYS).text)
    assert verified.details == {}


def test_no_key_is_published_before_the_first_seal(api: httpx.Client) -> None:
    assert (api.get(KEYS).status_code, api.get(KEYS).text) == (200, "")
