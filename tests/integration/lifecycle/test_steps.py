"""Rules that hold for every caller of a status transition."""

from functools import partial

import pytest

from lambda_app.core.errors import UnavailableError
from lambda_app.models import FileStatus
from tests.support.lifecycle import Lifecycle, refused


def test_row_that_may_have_an_object_is_not_removed(lifecycle: Lifecycle) -> None:
    user = lifecycle.new_user()
    pending, available = lifecycle.start(user), lifecycle.start(user)
    lifecycle.put(available)
    lifecycle.complete(user, available.id)

    with lifecycle.services.unit_of_work() as session:
        for file in (pending, available):
            lifecycle.services._transitions(session).remove(file.id)

    assert (lifecycle.status_of(pending.id), lifecycle.status_of(available.id)) == (FileStatus.PENDING, FileStatus.AVAILABLE)


def test_withheld_upload_is_completed_by_the_event(lifecycle: Lifecycle) -> None:
    """Until a malware scan has finished, only the event handler and the sweep can read the object."""
    user = lifecycle.new_user()
    file = lifecycle.start(user)
    lifecycle.put(file)
    lifecycle.objects.withheld.add(file.s3_key)

    assert refused(partial(lifecycle.complete, user, file.id)) == "upload_withheld"
    # If the role of the event handler lacks this permission, the message is retried and ends in the dead-letter queue.
    with pytest.raises(UnavailableError):
        lifecycle.deliver_event(file.id)
    assert lifecycle.status_of(file.id) == FileStatus.PENDING

    lifecycle.objects.withheld.clear()
    lifecycle.deliver_event(file.id)
    lifecycle.objects.withheld.add(file.s3_key)
    assert lifecycle.complete(user, file.id).status == FileStatus.AVAILABLE
