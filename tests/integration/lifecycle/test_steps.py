"""What no step of a file's life may do, whoever calls it."""

from functools import partial

import pytest

from lambda_app.core.errors import UnavailableError
from lambda_app.models import FileStatus
from lambda_app.repositories.files.transitions import FileTransitionRepository
from tests.support.lifecycle import Lifecycle, refused


def test_row_whose_bytes_may_be_there_is_not_removed(life: Lifecycle) -> None:
    user = life.new_user()
    pending, available = life.start(user), life.start(user)
    life.put(available)
    life.complete(user, available.id)

    with life.services.unit_of_work() as session:
        for file in (pending, available):
            FileTransitionRepository(session).remove(file.id)

    assert (life.status_of(pending.id), life.status_of(available.id)) == (FileStatus.PENDING, FileStatus.AVAILABLE)


def test_upload_that_is_checked_first_is_completed_by_the_event(life: Lifecycle) -> None:
    """Until a malware scan has found it clean, S3 shows an object to the event's function and the sweep only."""
    user = life.new_user()
    file = life.start(user)
    life.put(file)
    life.objects.withheld.add(file.s3_key)

    assert refused(partial(life.complete, user, file.id)) == "upload_withheld"
    # A function whose role lacks the tag leaves it to the next turn, and the dead letters tell of it.
    with pytest.raises(UnavailableError):
        life.note(file.id)
    assert life.status_of(file.id) == FileStatus.PENDING

    life.objects.withheld.clear()
    life.note(file.id)
    life.objects.withheld.add(file.s3_key)
    assert life.complete(user, file.id).status == FileStatus.AVAILABLE
