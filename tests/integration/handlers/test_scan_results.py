"""Malware scans: results played in as GuardDuty sends them, and what they withhold. The scanned file is the EICAR test file."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import text

from lambda_app.application import create_app
from lambda_app.core.settings import Settings
from lambda_app.factory import Services
from lambda_app.handlers.scan_results import record_results
from lambda_app.routers.http.gateway import GatewayHandler
from lambda_app.storage.keys import object_key
from lambda_app.storage.scan_tags import SCAN_TAG
from tests.support.accounts import Account, make_account, make_file, put_object, start_upload
from tests.support.gateway import GatewayTransport
from tests.support.problems import assert_problem
from tests.support.shares import BROWSER, make_share

EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
"""The industry's test file, in two parts so that no scanner finds it in this source."""


@dataclass(frozen=True)
class Scanner:
    """An API with scans, and GuardDuty, as far as its tags and events go."""

    services: Services
    client: httpx.Client
    bucket: str

    def tag(self, file_id: str, value: str) -> str | None:
        """Tag the object with a result, and return its version."""
        s3 = self.services.aws.client("s3")
        tags = {"TagSet": [{"Key": SCAN_TAG, "Value": value}]}
        return str(s3.put_object_tagging(Bucket=self.bucket, Key=f"uploads/{file_id}", Tagging=tags).get("VersionId") or "") or None

    def deliver(self, file_id: str, *, version_id: str | None = None, bucket: str | None = None, status: str = "NO_THREATS_FOUND") -> Any:
        """Deliver a result event through the queue, as in the GuardDuty user guide. The handler must not trust `status`."""
        detail = {
            "schemaVersion": "1.0",
            "scanStatus": "COMPLETED",
            "resourceType": "S3_OBJECT",
            "s3ObjectDetails": {
                "bucketName": bucket or self.bucket,
                "objectKey": f"uploads/{file_id}",
                "eTag": "ASIAI44QH8DHBEXAMPLE",
                "versionId": version_id,
                "s3Throttled": False,
            },
            "scanResultDetails": {"scanResultStatus": status, "threats": None},
        }
        event = {"source": "aws.guardduty", "detail-type": "GuardDuty Malware Protection Object Scan Result", "detail": detail}
        return record_results(self.services, {"Records": [{"messageId": "m", "body": json.dumps(event)}]})

    def scan(self, file_id: str, value: str) -> None:
        """Tag the object, and deliver the result."""
        self.tag(file_id, value)
        assert self.deliver(file_id) == {"batchItemFailures": []}

    def audited(self, file_id: str) -> list[str]:
        """The actions of the audit log about the scan of a file."""
        query = "SELECT action FROM audit_event WHERE subject = :subject AND action = ANY(:actions) ORDER BY seq"
        actions = ["file.infected", "file.unscannable", "file.released"]
        with self.services.engine.connect() as connection:
            return [row[0] for row in connection.execute(text(query), {"subject": f"file:{file_id}", "actions": actions})]


def scanning(settings: Settings, services: Services, **changes: Any) -> Iterator[Scanner]:
    changed = settings.model_copy(update={"scans_for_malware": True, **changes})
    with_scans = replace(services, settings=changed)
    with httpx.Client(transport=GatewayTransport(GatewayHandler(create_app(changed, with_scans))), base_url="https://api.test") as client:
        yield Scanner(with_scans, client, changed.s3_bucket_name)


@pytest.fixture
def scanner(settings: Settings, services: Services) -> Iterator[Scanner]:
    yield from scanning(settings, services)


@pytest.fixture
def lenient(settings: Settings, services: Services) -> Iterator[Scanner]:
    """A stage that serves what cannot be scanned."""
    yield from scanning(settings, services, serves_unscannable=True)


@pytest.fixture
def owner(scanner: Scanner) -> Account:
    return make_account(scanner.services)


@pytest.fixture
def superuser(scanner: Scanner) -> Account:
    return make_account(scanner.services, is_superuser=True)


def shown(client: httpx.Client, owner: Account, file_id: str) -> tuple[str, bool]:
    file = client.get(f"/api/v1/files/{file_id}", headers=owner.headers).json()
    return file["scan_status"], file["is_withheld"]


def download(client: httpx.Client, owner: Account, file_id: str) -> httpx.Response:
    return client.get(f"/api/v1/files/download/{file_id}", headers=owner.headers)


def test_file_is_withheld_until_its_scan_finds_no_threat(scanner: Scanner, owner: Account) -> None:
    client = scanner.client
    file_id = str(make_file(client, owner)["id"])

    assert shown(client, owner, file_id) == ("pending", True)
    assert_problem(download(client, owner, file_id), 409, "file_not_scanned", headers={"retry-after": "5"})

    scanner.scan(file_id, "NO_THREATS_FOUND")

    assert shown(client, owner, file_id) == ("clean", False)
    assert httpx.get(download(client, owner, file_id).json()["download_url"], trust_env=False).content == b"hello"
    assert scanner.audited(file_id) == []


def test_infected_file_is_refused_everywhere_and_listed_for_the_owner_and_administrators(
    scanner: Scanner, owner: Account, superuser: Account
) -> None:
    client = scanner.client
    file_id = str(make_file(client, owner, EICAR, filename="eicar.com", content_type="application/octet-stream", is_public=True)["id"])
    clean_id = str(make_file(client, owner, filename="clean.txt")["id"])
    link = make_share(client, owner, file_id, clean_id)["url"]
    only = make_share(client, owner, file_id)["url"]
    scanner.scan(clean_id, "NO_THREATS_FOUND")
    scanner.scan(file_id, "THREATS_FOUND")

    for caller in (owner, superuser):
        assert_problem(download(client, caller, file_id), 403, "file_infected")
        (result,) = client.post("/api/v1/files/downloads", json={"file_ids": [file_id]}, headers=caller.headers).json()["results"]
        assert result["error"]["code"] == "file_infected"
        assert_problem(client.post("/api/v1/archives", json={"file_ids": [file_id]}, headers=caller.headers), 409, "files_not_available")
    assert_problem(client.get(f"/api/v1/files/download/{file_id}"), 403, "file_infected")
    assert_problem(client.get(f"/p/{file_id}"), 403, "file_infected")
    assert_problem(client.get(f"{only}/files/{file_id}"), 403, "file_infected")
    assert client.head(f"{only}/files/{file_id}").status_code == 403
    assert_problem(client.post(f"{only}/archives"), 403, "file_infected")
    # The zip of the other link contains the clean file only.
    assert client.post(f"{link}/archives").json()["file_count"] == 1

    seen = {file["filename"]: (file["scan_status"], file["is_withheld"], file["download_url"]) for file in client.get(link).json()["files"]}
    page = client.get(link, headers=BROWSER).text
    listed = client.get("/api/v1/admin/withheld-files", headers=superuser.headers).json()
    assert seen["eicar.com"] == ("infected", True, None)
    assert seen["clean.txt"][:2] == ("clean", False)
    assert "Malware found. The file cannot be downloaded." in page
    assert page.count(">Download<") == 1
    assert listed[0]["id"] == file_id
    assert scanner.audited(file_id) == ["file.infected"]
    # A refused download does not count for the link.
    (share,) = [part for part in client.get("/api/v1/shares", headers=owner.headers).json() if part["url"] == only]
    assert share["download_count"] == 0


def test_repeated_late_and_forged_results_change_nothing(scanner: Scanner, owner: Account) -> None:
    client = scanner.client
    file_id = str(make_file(client, owner, EICAR)["id"])
    scanner.scan(file_id, "THREATS_FOUND")
    before = client.get(f"/api/v1/files/{file_id}", headers=owner.headers)

    # The event claims that the object is clean; the tag, which only the scanner can write, does not.
    for _ in range(2):
        assert scanner.deliver(file_id, status="NO_THREATS_FOUND") == {"batchItemFailures": []}
    assert scanner.deliver(file_id, bucket="another-bucket") == {"batchItemFailures": []}
    assert scanner.deliver(str(uuid4())) == {"batchItemFailures": []}

    after = client.get(f"/api/v1/files/{file_id}", headers=owner.headers)
    assert (after.json(), after.headers["etag"]) == (before.json(), before.headers["etag"])
    assert scanner.audited(file_id) == ["file.infected"]


def test_result_of_an_earlier_version_is_ignored(scanner: Scanner, owner: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    file_id = str(make_file(scanner.client, owner)["id"])
    scanner.tag(file_id, "THREATS_FOUND")
    call = scanner.services.aws.call

    def versioned(service: str, operation: str, **parameters: Any) -> dict[str, Any]:
        return call(service, operation, **parameters) | {"VersionId": "current"}

    monkeypatch.setattr(scanner.services.aws, "call", versioned)

    assert scanner.deliver(file_id, version_id="earlier") == {"batchItemFailures": []}
    assert shown(scanner.client, owner, file_id) == ("pending", True)
    assert scanner.deliver(file_id, version_id="current") == {"batchItemFailures": []}
    assert shown(scanner.client, owner, file_id) == ("infected", True)


def test_result_before_the_upload_is_complete_counts(scanner: Scanner, owner: Account) -> None:
    client = scanner.client
    upload = start_upload(client, owner, EICAR)
    assert put_object(upload, EICAR).status_code == 200

    scanner.scan(upload["file_id"], "THREATS_FOUND")
    completed = client.post(f"/api/v1/files/{upload['file_id']}/complete", headers=owner.headers).json()

    assert (completed["status"], completed["scan_status"], completed["is_withheld"]) == ("available", "infected", True)


def test_result_for_a_deleted_file_is_ignored(scanner: Scanner, owner: Account) -> None:
    file_id = str(make_file(scanner.client, owner)["id"])
    assert scanner.client.delete(f"/api/v1/files/{file_id}?permanent=true", headers=owner.headers).status_code == 204

    assert scanner.deliver(file_id) == {"batchItemFailures": []}

    assert scanner.audited(file_id) == []


def test_event_before_the_tag_is_delivered_again(scanner: Scanner, owner: Account) -> None:
    file_id = str(make_file(scanner.client, owner)["id"])

    assert scanner.deliver(file_id) == {"batchItemFailures": [{"itemIdentifier": "m"}]}

    scanner.scan(file_id, "NO_THREATS_FOUND")
    assert shown(scanner.client, owner, file_id) == ("clean", False)


@pytest.mark.parametrize("tag", ["UNSUPPORTED", "ACCESS_DENIED", "FAILED"])
def test_file_that_cannot_be_scanned_is_withheld(scanner: Scanner, owner: Account, tag: str) -> None:
    file_id = str(make_file(scanner.client, owner)["id"])

    scanner.scan(file_id, tag)

    assert shown(scanner.client, owner, file_id) == ("unscannable", True)
    assert_problem(download(scanner.client, owner, file_id), 403, "file_unscannable")
    assert scanner.audited(file_id) == ["file.unscannable"]


@pytest.mark.parametrize(("tag", "is_withheld"), [("UNSUPPORTED", False), ("FAILED", True)])
def test_stage_can_serve_unsupported_files(lenient: Scanner, tag: str, is_withheld: bool) -> None:
    owner = make_account(lenient.services)
    file_id = str(make_file(lenient.client, owner)["id"])

    lenient.scan(file_id, tag)

    assert shown(lenient.client, owner, file_id) == ("unscannable", is_withheld)


def test_superuser_releases_a_false_alarm(scanner: Scanner, owner: Account, superuser: Account) -> None:
    client = scanner.client
    file_id = str(make_file(client, owner)["id"])
    path = f"/api/v1/admin/withheld-files/{file_id}/release"
    assert_problem(client.post(path, headers=superuser.headers), 409, "file_not_withheld", scan_status="pending")
    scanner.scan(file_id, "THREATS_FOUND")

    assert_problem(client.post(path, headers=owner.headers), 403, "permission_denied")
    released = client.post(path, headers=superuser.headers)
    assert_problem(client.post(path, headers=superuser.headers), 409, "file_not_withheld", scan_status="infected")
    # A late result does not withhold it again.
    assert scanner.deliver(file_id) == {"batchItemFailures": []}

    assert (released.json()["scan_status"], released.json()["is_withheld"]) == ("infected", False)
    assert download(client, owner, file_id).status_code == 200
    assert file_id not in [file["id"] for file in client.get("/api/v1/admin/withheld-files", headers=superuser.headers).json()]
    assert scanner.audited(file_id) == ["file.infected", "file.released"]
    s3 = scanner.services.aws.client("s3")
    (tag,) = s3.get_object_tagging(Bucket=scanner.bucket, Key=object_key(UUID(file_id)))["TagSet"]
    assert tag == {"Key": SCAN_TAG, "Value": "RELEASED"}


def test_superuser_purges_an_infected_file(scanner: Scanner, owner: Account, superuser: Account) -> None:
    file_id = str(make_file(scanner.client, owner, EICAR)["id"])
    scanner.scan(file_id, "THREATS_FOUND")

    purged = scanner.client.delete(f"/api/v1/files/{file_id}?permanent=true", headers=superuser.headers)

    assert purged.status_code == 204
    assert scanner.client.get(f"/api/v1/files/{file_id}", headers=owner.headers).status_code == 404


def test_files_from_before_the_scans_and_of_stages_without_are_served(client: httpx.Client, scanner: Scanner, owner: Account) -> None:
    file_id = str(make_file(client, owner)["id"])

    assert shown(client, owner, file_id) == ("none", False)
    # In AWS the policy of the bucket decides about objects without a tag.
    assert download(scanner.client, owner, file_id).status_code == 200


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"detail-type": 1, "detail": []}', '{"Records": []}'])
def test_unreadable_message_ends_in_the_dead_letter_queue(services: Services, body: str) -> None:
    assert record_results(services, {"Records": [{"messageId": "m", "body": body}]}) == {"batchItemFailures": [{"itemIdentifier": "m"}]}
