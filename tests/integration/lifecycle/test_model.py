"""Random histories of users, quotas, uploads, deletions and restores, against a model that fits on a page."""

import os
import random
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from uuid import UUID

import hypothesis
import pytest
import time_machine
from hypothesis import strategies as st
from hypothesis.errors import HypothesisException, StopTest
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import select

from lambda_app.core.errors import AppError
from lambda_app.factory import Services
from lambda_app.models import File, User
from lambda_app.services.files.quota import QuotaExceededError
from lambda_app.services.files.sweep import REJECTED_RETENTION
from tests.support.lifecycle import Lifecycle, refused
from tests.support.object_store import HeldObject
from tests.support.quota_assertions import assert_quota_is_exact

pytestmark = pytest.mark.slow

STEPS = int(os.environ.get("LIFECYCLE_STEPS", "2000"))
"""`make test-slow SIZE=full` takes 20,000."""
STEPS_OF_A_HISTORY = 100
QUOTA_BYTES = 40
QUOTA_FILES = 6
USERS = 2
CHARGED = ("pending", "available", "trashed")


@dataclass
class Kept:
    """What the model knows of a file."""

    id: UUID
    owner: int
    size: int
    in_parts: bool
    status: str = "pending"
    arrived: str = "nothing"
    """Or `whole`, or `wrong`; of parts: `parts` before they are joined."""
    days_rejected: int = 0


class Histories(RuleBasedStateMachine):
    """The services do what the model says, step by step."""

    services: Services
    steps = 0

    def __init__(self) -> None:
        super().__init__()
        self.travel = time_machine.travel("2026-01-02T03:04:05Z", tick=False)
        self.life = Lifecycle(self.services, self.travel.start())
        self.users = [self.life.new_user(quota_bytes=QUOTA_BYTES, quota_files=QUOTA_FILES) for _ in range(USERS)]
        self.quota = [QUOTA_BYTES] * USERS
        self.files: list[Kept] = []

    def teardown(self) -> None:
        """Empty both sides, so that the sweeps of later histories have less to look at."""
        with suppress(AppError):
            for kept in self.files:
                refused(partial(self.life.delete, self.users[kept.owner], kept.id, is_permanent=True))
        self.travel.stop()

    def pick(self, data: st.DataObject, *, rather: Callable[[Kept], bool]) -> Kept:
        """Draw a file, three times in four one with which the step means something."""
        fitting = [kept for kept in self.files if rather(kept)]
        from_all = not fitting or data.draw(st.integers(0, 3), label="from all") == 3
        return data.draw(st.sampled_from(self.files if from_all else fitting), label="file")

    def charged(self, owner: int) -> list[Kept]:
        return [kept for kept in self.files if kept.owner == owner and kept.status in CHARGED]

    @rule(owner=st.integers(0, USERS - 1), size=st.integers(1, 15), in_parts=st.booleans())
    def start(self, owner: int, size: int, in_parts: bool) -> None:
        kept = self.charged(owner)
        fits = sum(file.size for file in kept) + size <= self.quota[owner] and len(kept) < QUOTA_FILES
        # As the request finds the user, with the counters of now.
        with self.services.unit_of_work() as session:
            user = session.get_one(User, self.users[owner].id)
        act = partial(self.life.start_parts, user, size) if in_parts else partial(self.life.start, user, b"x" * size)
        if fits:
            self.files.append(Kept(act().id, owner, size, in_parts))
            return
        with pytest.raises(QuotaExceededError) as refusal:
            act()
        assert refusal.value.extra["bytes_left"] == max(0, self.quota[owner] - sum(file.size for file in kept))

    @rule(owner=st.integers(0, USERS - 1), quota=st.integers(0, 60))
    def change_quota(self, owner: int, quota: int) -> None:
        with self.services.unit_of_work() as session:
            session.query(User).filter(User.id == self.users[owner].id).update({"quota_bytes": quota})
        self.quota[owner] = quota

    @precondition(lambda self: self.files)
    @rule(data=st.data(), is_wrong=st.booleans())
    def send(self, data: st.DataObject, is_wrong: bool) -> None:
        kept = self.pick(data, rather=lambda kept: kept.status == "pending" and kept.arrived == "nothing")
        if kept.status != "pending" or kept.arrived != "nothing":
            return
        row = self.row(kept)
        assert row is not None
        if kept.in_parts:
            self.life.send_parts(self.users[kept.owner], row, b"x" * kept.size)
            kept.arrived = "parts"
        else:
            self.life.objects.objects[row.s3_key] = HeldObject(b"x" * (kept.size + is_wrong), "text/plain", None)
            kept.arrived = "wrong" if is_wrong else "whole"

    def verify(self, kept: Kept) -> None:
        if kept.status == "pending" and kept.arrived in ("whole", "wrong"):
            kept.status = "available" if kept.arrived == "whole" else "rejected"

    @precondition(lambda self: self.files)
    @rule(data=st.data())
    def complete(self, data: st.DataObject) -> None:
        kept = self.pick(data, rather=lambda kept: kept.status == "pending" and kept.arrived != "nothing")
        if kept.status == "pending" and kept.arrived == "parts":
            kept.arrived = "whole"
        self.verify(kept)
        expected = {
            "available": None,
            "trashed": None,
            "rejected": "upload_rejected",
            "pending": "parts_missing" if kept.in_parts else "upload_missing",
            "gone": "file_not_found",
        }[kept.status]
        assert refused(partial(self.life.complete, self.users[kept.owner], kept.id)) == expected

    @precondition(lambda self: self.files)
    @rule(data=st.data(), times=st.integers(1, 3))
    def hear_of_it(self, data: st.DataObject, times: int) -> None:
        kept = self.pick(data, rather=lambda kept: kept.status == "pending" and kept.arrived != "nothing")
        self.verify(kept)
        for _ in range(times):
            self.life.note(kept.id)

    @precondition(lambda self: self.files)
    @rule(data=st.data(), is_permanent=st.booleans())
    def delete(self, data: st.DataObject, is_permanent: bool) -> None:
        kept = self.pick(data, rather=lambda kept: kept.status != "gone")
        expected = "file_not_found" if kept.status == "gone" else None
        assert refused(partial(self.life.delete, self.users[kept.owner], kept.id, is_permanent=is_permanent)) == expected
        stays = kept.status in ("available", "trashed") and not is_permanent
        kept.status = "trashed" if stays else "gone"

    @precondition(lambda self: self.files)
    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        kept = self.pick(data, rather=lambda kept: kept.status == "trashed")
        expected = {"gone": "file_not_found", "available": None, "trashed": None}.get(kept.status, "not_in_trash")
        assert refused(partial(self.life.restore, self.users[kept.owner], kept.id)) == expected
        if kept.status == "trashed":
            kept.status = "available"

    @precondition(lambda self: self.files)
    @rule(data=st.data())
    def strangers_are_refused(self, data: st.DataObject) -> None:
        kept = self.pick(data, rather=lambda kept: kept.status != "gone")
        stranger = self.users[1 - kept.owner]
        expected = "file_not_found" if kept.status == "gone" else "file_forbidden"
        for act in (self.life.complete, self.life.delete, self.life.restore):
            assert refused(partial(act, stranger, kept.id)) == expected

    @rule(days=st.sampled_from([0, 0, 8]))
    def sweep(self, days: int) -> None:
        self.life.traveller.shift(timedelta(days=days))
        report = self.life.sweep()
        assert (report.failures, report.lost_objects) == (0, 0)
        for kept in self.files:
            if days and kept.status == "trashed":
                kept.status = "gone"
            if kept.status == "rejected":
                kept.days_rejected += days
                if kept.days_rejected > REJECTED_RETENTION.days:
                    kept.status = "gone"
            if days:
                self.verify(kept)
                if kept.status == "pending":
                    kept.status = "gone"

    @invariant()
    def agrees(self) -> None:
        type(self).steps += 1
        with self.services.unit_of_work() as session:
            query = select(File.id, File.status).where(File.owner_id.in_([user.id for user in self.users]))
            found = {row.id: row.status for row in session.execute(query)}
        assert found == {kept.id: kept.status for kept in self.files if kept.status != "gone"}
        assert_quota_is_exact(self.services, [user.id for user in self.users])
        for kept in self.files:
            has_object = kept.status in ("available", "trashed") or (kept.status == "pending" and kept.arrived in ("whole", "wrong"))
            assert self.life.is_stored(kept.id) == has_object

    def row(self, kept: Kept) -> File | None:
        with self.services.unit_of_work() as session:
            return self.services.files(session)._files.get(kept.id)


@pytest.fixture
def seed() -> int:
    seed = int(os.environ.get("LIFECYCLE_SEED", random.randrange(2**32)))
    print(f"LIFECYCLE_SEED={seed}")
    return seed


def test_random_histories_agree_with_the_model(lifecycle_services: Services, seed: int) -> None:
    class Seeded(Histories):
        services = lifecycle_services
        steps = 0

    settings = hypothesis.settings(
        max_examples=10_000,
        stateful_step_count=STEPS_OF_A_HISTORY,
        deadline=None,
        database=None,
        derandomize=False,
        phases=[hypothesis.Phase.generate, hypothesis.Phase.shrink],
        suppress_health_check=list(hypothesis.HealthCheck),
    )

    class Enough(BaseException):
        """As many steps as were asked for."""

    @hypothesis.seed(seed)
    class Counted(Seeded):
        has_failed = False

        def teardown(self) -> None:
            error = sys.exc_info()[1]
            # A history that failed is told again and again, to find the shortest: that must not count as enough.
            Counted.has_failed |= error is not None and not isinstance(error, HypothesisException | StopTest)
            super().teardown()
            if Counted.steps >= STEPS and not Counted.has_failed:
                raise Enough

    with pytest.raises(Enough):
        run_state_machine_as_test(Counted, settings=settings)

    print(f"{Counted.steps} steps")
    assert Counted.steps >= STEPS
