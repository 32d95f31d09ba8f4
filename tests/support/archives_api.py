"""Archives over HTTP for tests: the worker, and a share link whose files are requested as an archive."""

from typing import Any

import httpx

from lambda_app.factory import Services
from lambda_app.handlers.archive import build_archives
from lambda_app.storage.keys import archive_request_key
from tests.support.accounts import Account, make_file
from tests.support.s3_events import batch, s3_message

BROWSER_AGENT = {"User-Agent": "Mozilla/5.0"}


def run_worker(services: Services, archive: dict[str, Any]) -> dict[str, Any]:
    """Run the worker with the S3 event of the archive's queue marker."""
    message = s3_message(archive_request_key(archive["id"]), bucket=services.settings.s3_bucket_name)
    return build_archives(services, batch(message), budget=lambda: 60.0)


class SharedFiles:
    """A share link to two files, with the requests of its owner and of an anonymous visitor."""

    def __init__(self, client: httpx.Client, owner: Account, **options: Any) -> None:
        self._client, self._owner = client, owner
        self.files = [make_file(client, owner, str(number).encode(), filename="n.txt") for number in range(2)]
        body = {"file_ids": [file["id"] for file in self.files], **options}
        created = client.post("/api/v1/shares", json=body, headers=owner.headers)
        assert created.status_code == 201, created.text
        self.id = created.json()["id"]
        self.path = f"/s/{created.json()['url'].rpartition('/')[2]}"

    def create_archive(self, **headers: str) -> httpx.Response:
        """Request an archive as a visitor."""
        return self._client.post(f"{self.path}/archives", headers=BROWSER_AGENT | headers)

    def get_archive(self, archive_id: str, **headers: str) -> httpx.Response:
        """Read the state of an archive as a visitor."""
        return self._client.get(f"{self.path}/archives/{archive_id}", headers=BROWSER_AGENT | headers)

    def download(self, archive_id: str, **headers: str) -> httpx.Response:
        """Download an archive as a visitor, without following the redirect."""
        return self._client.get(f"{self.path}/archives/{archive_id}/download", headers=BROWSER_AGENT | headers)

    def change(self, **changes: Any) -> None:
        """Change the link as its owner."""
        response = self._client.patch(f"/api/v1/shares/{self.id}", json=changes, headers=self._owner.headers)
        assert response.status_code == 200, response.text

    def downloads(self) -> int:
        """Return how many downloads the link has counted."""
        row: dict[str, int] = self._client.get(f"/api/v1/shares/{self.id}", headers=self._owner.headers).json()
        return row["download_count"]
