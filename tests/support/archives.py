"""Files and archives for tests of the archive services."""

import io
import random
import zipfile
from collections.abc import Callable, Sequence
from typing import TypeVar
from uuid import UUID

import pytest

from lambda_app.factory import Services
from lambda_app.models import Archive, File, Share, User
from lambda_app.schemas.archives import ArchiveCreate
from lambda_app.schemas.sharing.shares import ShareOptions
from lambda_app.services.archives import builds as archive_builds
from lambda_app.services.archives.archives import ArchiveDownload, ArchiveService
from lambda_app.services.archives.builds import BuildResult
from lambda_app.services.archives.sweep import ArchiveSweepReport
from lambda_app.storage.keys import ARCHIVE_PREFIX, REQUEST_PREFIX, requested_archive_of
from tests.support.lifecycle import Lifecycle

SMALL_PART = 64 * 1024
RNG = random.Random(6)
# The bodies produce a header whose checksum is known only two parts later, one known in the next part, a header that is split between
# parts, and empty files.
BODIES = (b"first", RNG.randbytes(150_000), b"", RNG.randbytes(46_000), RNG.randbytes(40_000), b"", b"last")

Result = TypeVar("Result")


def make_file(lifecycle: Lifecycle, user: User, body: bytes = b"hello", **fields: object) -> File:
    """Create an available file."""
    file = lifecycle.start(user, body, **fields)
    lifecycle.put(file, body)
    return lifecycle.complete(user, file.id)


def make_files(lifecycle: Lifecycle, user: User) -> list[File]:
    """Create one available file for each of `BODIES`."""
    return [make_file(lifecycle, user, body, filename=f"{number}.bin") for number, body in enumerate(BODIES)]


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


def build_parts(lifecycle: Lifecycle, archive_id: UUID, *, count: int) -> None:
    """Run a build attempt whose time budget ends after `count` parts."""
    ticks = iter(range(10**6))
    with pytest.MonkeyPatch.context() as patch:
        # The first tick is the start of the attempt; each part reads one more.
        patch.setattr(archive_builds, "monotonic", lambda: next(ticks))
        assert build(lifecycle, archive_id, budget_seconds=count + 1) is BuildResult.UNFINISHED


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
