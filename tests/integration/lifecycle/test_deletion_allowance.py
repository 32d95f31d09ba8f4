"""The deletion allowance: in a versioned bucket, deleted bytes are stored for days, so a user can delete only so many."""

from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest

from lambda_app.core.errors import TooManyRequestsError
from lambda_app.models import User
from lambda_app.models.accounts.users import DELETION_WINDOW
from tests.integration.lifecycle.test_tombstones import BODY, clean, delete_now, deleted_in_parts, start_as_guest
from tests.support.lifecycle import LONG_ENOUGH, Lifecycle, refused

__all__ = ["clean"]
USED = "deletion_allowance_used"


@pytest.fixture
def small(lifecycle: Lifecycle) -> Lifecycle:
    """Services with an allowance of 12 bytes: it is used after the third file of 5 bytes."""
    settings = lifecycle.services.settings.model_copy(update={"user_deletion_bytes": 12, "trash_retention_days": 0})
    return Lifecycle(replace(lifecycle.services, settings=settings), lifecycle.traveller)


def replace_file(lifecycle: Lifecycle, user: User) -> None:
    started = lifecycle.start_signed(user, BODY)
    assert lifecycle.objects.put(started.request, BODY) == 200
    lifecycle.complete(user, started.file.id)
    delete_now(lifecycle, user, started.file.id)


def deleted_bytes(lifecycle: Lifecycle, user: User) -> int:
    with lifecycle.services.unit_of_work() as session:
        return session.get_one(User, user.id).deleted_bytes


def test_loop_of_uploads_and_deletions_ends_at_the_allowance(small: Lifecycle) -> None:
    user, other = small.new_user(), small.new_user()
    kept = small.start(user)
    small.put(kept)
    small.complete(user, kept.id)
    for _ in range(3):
        replace_file(small, user)

    assert refused(partial(small.start, user)) == USED
    assert refused(partial(small.start_parts, user, 5)) == USED
    assert refused(partial(start_as_guest, small, user)) == "no_room"
    # A deletion is always possible, and other users are not affected.
    delete_now(small, user, kept.id)
    replace_file(small, other)
    assert (deleted_bytes(small, user), deleted_bytes(small, other)) == (20, 5)


def test_allowance_grows_back_continuously(small: Lifecycle) -> None:
    user = small.new_user()
    for _ in range(3):
        replace_file(small, user)
    with pytest.raises(TooManyRequestsError) as error:
        small.start(user)
    assert error.value.headers is not None
    wait = timedelta(seconds=int(error.value.headers["Retry-After"]))
    assert DELETION_WINDOW / 4 <= wait <= DELETION_WINDOW / 4 + timedelta(seconds=2)

    small.traveller.shift(wait - timedelta(hours=1))
    assert refused(partial(small.start, user)) == USED
    small.traveller.shift(timedelta(hours=1))
    replace_file(small, user)
    assert refused(partial(small.start, user)) == USED
    assert deleted_bytes(small, user) == 17

    small.traveller.shift(DELETION_WINDOW * 2)
    replace_file(small, user)
    assert deleted_bytes(small, user) == 5


def test_uploads_that_stored_nothing_are_not_counted(small: Lifecycle) -> None:
    user = small.new_user()
    deleted_in_parts(small, user)
    small.start(user)
    small.traveller.shift(LONG_ENOUGH)
    assert small.sweep().expired == 1

    assert deleted_bytes(small, user) == 0


@pytest.mark.parametrize("is_reported", [True, False], ids=["event", "sweep"])
def test_each_object_that_a_write_url_stores_again_is_counted(small: Lifecycle, is_reported: bool) -> None:
    user = small.new_user()
    started = small.start_signed(user, BODY)
    delete_now(small, user, started.file.id)
    for _ in range(3):
        assert small.objects.put(started.request, BODY) == 200
        if is_reported:
            small.deliver_event(started.file.id)
        else:
            small.sweep()
        assert small.objects.objects == {}

    assert deleted_bytes(small, user) == 20
    assert refused(partial(small.start, user)) == USED


def test_files_purged_from_the_trash_are_counted(lifecycle: Lifecycle) -> None:
    user = lifecycle.new_user()
    file = lifecycle.start(user)
    lifecycle.put(file)
    lifecycle.complete(user, file.id)
    lifecycle.delete(user, file.id)
    assert deleted_bytes(lifecycle, user) == 0
    lifecycle.traveller.shift(LONG_ENOUGH)

    assert lifecycle.sweep().purged == 1

    assert deleted_bytes(lifecycle, user) == 5
    lifecycle.assert_nothing_differs()
