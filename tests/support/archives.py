"""Calls of the archive services in units of work."""

import io
import zipfile
from collections.abc import Callable, Sequence
from typing import TypeVar
from uuid import UUID

from lambda_app.factory import Services
from lambda_app.models import Archive, File, Share, User
from lambda_app.schemas.archives import ArchiveCreate
from lambda_app.schemas.sharing.shares import ShareOptions
from lambda_app.services.archives.archives import ArchiveDownload, ArchiveService
from lambda_app.services.archives.builds import BuildResult
from lambda_app.services.archives.sweep import ArchiveSweepReport
from lambda_app.storage.keys import ARCHIVE_PREFIX, REQUEST_PREFIX, requested_archive_of
from tests.support.lifecycle import Lifecycle

Result = TypeVar("Result")


def with_archives(services: Services, act: Callable[[ArchiveService], Result]) -> Result:
    """Call the archive service in one unit of work."""
    with services.unit_of_work() as session:
        return act(services.archives(session))


def start(lifecycle: Lifecycle, user: User, files: Sequence[File], **fields: str) -> Archive:
    """Request an archive of the files."""
    parameters = ArchiveCreate.model_validate({"file_ids": [file.id for file in files], **fields})
    return with_archives(lifecycle.services, lambda archives: archives.start(user, parameters))


def get_archive(lifecycle: Lifecycle, user: User, archive_id: UUID) -> ArchiveDownload:
    """Read an archive as its owner."""
    return with_archives(lifecycle.services, lambda archives: archives.get(user, archive_id))


def link_to(lifecycle: Lifecycle, user: User, *files: File) -> Share:
    """Create a share link to the files."""
    with lifecycle.services.unit_of_work() as session:
        return (
            lifecycle.services.shares(session).create(user, [file.id for file in files], ShareOptions(), route="POST /shares").details.share
        )


def revoke(lifecycle: Lifecycle, user: User, share: Share) -> None:
    """Revoke a link."""
    with lifecycle.services.unit_of_work() as session:
        lifecycle.services.shares(session).revoke(user, share.id)


def start_for_link(lifecycle: Lifecycle, share: Share, *files: File) -> Archive:
    """Request an archive of a link's files, as a visitor."""
    return with_archives(lifecycle.services, lambda archives: archives.start_for_link(share, files))


def build(lifecycle: Lifecycle, archive_id: UUID, *, budget_seconds: float = 600) -> BuildResult:
    """Run one build attempt of a worker."""
    with lifecycle.services.unit_of_work() as session:
        return lifecycle.services.archive_builds(session).build(archive_id, budget_seconds=budget_seconds)


def requested(lifecycle: Lifecycle) -> list[UUID]:
    """Return the archives that have a queue marker in the bucket."""
    keys = sorted(key for key in lifecycle.objects.objects if key.startswith(REQUEST_PREFIX))
    return [archive_id for key in keys if (archive_id := requested_archive_of(key)) is not None]


def deliver(lifecycle: Lifecycle) -> list[BuildResult]:
    """Build the queued archives, as S3 events trigger it, until no marker is left; return the results."""
    results = []
    while archive_ids := requested(lifecycle):
        for archive_id in archive_ids:
            result = build(lifecycle, archive_id)
            results.append(result)
            if result is BuildResult.NOTHING:
                del lifecycle.objects.objects[f"{REQUEST_PREFIX}{archive_id}"]
    return results


def sweep(lifecycle: Lifecycle) -> ArchiveSweepReport:
    """Run the sweep of archives."""
    with lifecycle.services.unit_of_work() as session:
        return lifecycle.services.archive_sweep(session).run(budget_seconds=600)


def open_zip(lifecycle: Lifecycle, archive: Archive) -> zipfile.ZipFile:
    """Open the finished zip, after verifying its checksums."""
    found = zipfile.ZipFile(io.BytesIO(lifecycle.objects.objects[archive.s3_key].body))
    assert found.testzip() is None
    return found


def remaining_keys(lifecycle: Lifecycle) -> list[str]:
    """Return the keys of all multipart uploads, objects and markers of archives in the store."""
    uploads = [upload.key for upload in lifecycle.objects.uploads.values() if upload.key.startswith(ARCHIVE_PREFIX)]
    return uploads + [key for key in lifecycle.objects.objects if key.startswith((ARCHIVE_PREFIX, REQUEST_PREFIX))]
