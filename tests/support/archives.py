"""Archives at the door of the services: asked for, built, looked into."""

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

Answer = TypeVar("Answer")


def ask(services: Services, act: Callable[[ArchiveService], Answer]) -> Answer:
    """Do something with archives, as one unit of work."""
    with services.unit_of_work() as session:
        return act(services.archives(session))


def start(life: Lifecycle, user: User, files: Sequence[File], **fields: str) -> Archive:
    """Ask for an archive of the files."""
    wanted = ArchiveCreate.model_validate({"file_ids": [file.id for file in files], **fields})
    return ask(life.services, lambda archives: archives.start(user, wanted))


def look(life: Lifecycle, user: User, archive_id: UUID) -> ArchiveDownload:
    """Ask how far an archive is."""
    return ask(life.services, lambda archives: archives.get(user, archive_id))


def link_to(life: Lifecycle, user: User, *files: File) -> Share:
    """Make a share link to the files."""
    with life.services.unit_of_work() as session:
        return life.services.shares(session).create(user, [file.id for file in files], ShareOptions(), route="POST /shares").kept.share


def revoke(life: Lifecycle, user: User, share: Share) -> None:
    """End a link."""
    with life.services.unit_of_work() as session:
        life.services.shares(session).revoke(user, share.id)


def start_at(life: Lifecycle, share: Share, *files: File) -> Archive:
    """Ask for an archive at a link, as a visitor of it does."""
    return ask(life.services, lambda archives: archives.start_for_link(share, files))


def build(life: Lifecycle, archive_id: UUID, *, budget_seconds: float = 600) -> BuildResult:
    """Give a worker its turn."""
    with life.services.unit_of_work() as session:
        return life.services.archive_builds(session).build(archive_id, budget_seconds=budget_seconds)


def requested(life: Lifecycle) -> list[UUID]:
    """Return the archives that the bucket asks the worker for."""
    keys = sorted(key for key in life.objects.objects if key.startswith(REQUEST_PREFIX))
    return [archive_id for key in keys if (archive_id := requested_archive_of(key)) is not None]


def deliver(life: Lifecycle) -> list[BuildResult]:
    """Do what S3's events lead to until nothing is asked for any more."""
    done = []
    while asked := requested(life):
        for archive_id in asked:
            built = build(life, archive_id)
            done.append(built)
            if built is BuildResult.NOTHING:
                del life.objects.objects[f"{REQUEST_PREFIX}{archive_id}"]
    return done


def sweep(life: Lifecycle) -> ArchiveSweepReport:
    """Run the sweep's part in archives."""
    with life.services.unit_of_work() as session:
        return life.services.archive_sweep(session).run(budget_seconds=600)


def opened(life: Lifecycle, archive: Archive) -> zipfile.ZipFile:
    """Open the finished zip, whose checksums hold."""
    found = zipfile.ZipFile(io.BytesIO(life.objects.objects[archive.s3_key].body))
    assert found.testzip() is None
    return found


def leftovers(life: Lifecycle) -> list[str]:
    """Return the keys of what the store holds of archives."""
    uploads = [upload.key for upload in life.objects.uploads.values() if upload.key.startswith(ARCHIVE_PREFIX)]
    return uploads + [key for key in life.objects.objects if key.startswith((ARCHIVE_PREFIX, REQUEST_PREFIX))]
