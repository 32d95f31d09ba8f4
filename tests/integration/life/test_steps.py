"""What no step of a file's life may do, whoever calls it."""

from lambda_app.models import FileStatus
from lambda_app.repositories.file_life import FileLifeRepository
from tests.support.life import Life


def test_row_whose_bytes_may_be_there_is_not_removed(life: Life) -> None:
    user = life.new_user()
    pending, available = life.start(user), life.start(user)
    life.put(available)
    life.complete(user, available.id)

    with life.services.unit_of_work() as session:
        for file in (pending, available):
            FileLifeRepository(session).remove(file.id)

    assert (life.status_of(pending.id), life.status_of(available.id)) == (FileStatus.PENDING, FileStatus.AVAILABLE)
