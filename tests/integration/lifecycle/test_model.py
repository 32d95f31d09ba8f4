"""Model-based test: random sequences of quota changes, uploads, deletions, restores and sweeps, compared with a small model."""

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
from tests.support.object_store import FakeObject
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
class ModelFile:
    """The model's state of a file."""

    id: UUID
    owner: int
    size: int
    in_parts: bool
    status: str = "pending"
    uploaded: str = "nothing"
    """`nothing`, `parts` (uploaded, not completed), `whole` or `wrong`."""
    days_rejected: int = 0
    is_url_valid: bool = True
    """Whether the upload URL has not expired: after the end of the file it is still charged."""

    @property
    def is_charged(self) -> bool:
        return self.status in CHARGED or (self.is_url_valid and not self.in_parts)


class Histories(RuleBasedStateMachine):
    """Applies each step to the services and to the model, and compares them."""

    services: Services
    steps = 0

    def __init__(self) -> None:
        super().__init__()
        self.travel = time_machine.travel("2026-01-02T03:04:05Z", tick=False)
        self.lifecycle = Lifecycle(self.services, self.travel.start())
        self.users = [self.lifecycle.new_user(quota_bytes=QUOTA_BYTES, quota_files=QUOTA_FILES) for _ in range(USERS)]
        self.quota = [QUOTA_BYTES] * USERS
        self.files: list[ModelFile] = []

    def teardown(self) -> None:
        """Delete all files, so that the sweeps of later histories take less time."""
        with suppress(AppError):
            for model_file in self.files:
                refused(partial(self.lifecycle.delete, self.users[model_file.owner], model_file.id, is_permanent=True))
        self.travel.stop()

    def pick(self, data: st.DataObject, *, rather: Callable[[ModelFile], bool]) -> ModelFile:
        """Draw a file; in three of four cases one to which the step applies."""
        fitting = [model_file for model_file in self.files if rather(model_file)]
        from_all = not fitting or data.draw(st.integers(0, 3), label="from all") == 3
        return data.draw(st.sampled_from(self.files if from_all else fitting), label="file")

    def charged(self, owner: int) -> list[ModelFile]:
        return [model_file for model_file in self.files if model_file.owner == owner and model_file.is_charged]

    @rule(owner=st.integers(0, USERS - 1), size=st.integers(1, 15), in_parts=st.booleans())
    def start(self, owner: int, size: int, in_parts: bool) -> None:
        model_file = self.charged(owner)
        fits = sum(file.size for file in model_file) + size <= self.quota[owner] and len(model_file) < QUOTA_FILES
        # The request reads the user with current counters.
        with self.services.unit_of_work() as session:
            user = session.get_one(User, self.users[owner].id)
        act = partial(self.lifecycle.start_parts, user, size) if in_parts else partial(self.lifecycle.start, user, b"x" * size)
        if fits:
            self.files.append(ModelFile(act().id, owner, size, in_parts))
            return
        with pytest.raises(QuotaExceededError) as refusal:
            act()
        assert refusal.value.extra["bytes_left"] == max(0, self.quota[owner] - sum(file.size for file in model_file))

    @rule(owner=st.integers(0, USERS - 1), quota=st.integers(0, 60))
    def change_quota(self, owner: int, quota: int) -> None:
        with self.services.unit_of_work() as session:
            session.query(User).filter(User.id == self.users[owner].id).update({"quota_bytes": quota})
        self.quota[owner] = quota

    @precondition(lambda self: self.files)
    @rule(data=st.data(), is_wrong=st.booleans())
    def send(self, data: st.DataObject, is_wrong: bool) -> None:
        model_file = self.pick(data, rather=lambda model_file: model_file.status == "pending" and model_file.uploaded == "nothing")
        if model_file.status != "pending" or model_file.uploaded != "nothing":
            return
        row = self.row(model_file)
        assert row is not None
        if model_file.in_parts:
            self.lifecycle.send_parts(self.users[model_file.owner], row, b"x" * model_file.size)
            model_file.uploaded = "parts"
        else:
            self.lifecycle.objects.objects[row.s3_key] = FakeObject(b"x" * (model_file.size + is_wrong), "text/plain", None)
            model_file.uploaded = "wrong" if is_wrong else "whole"

    def verify(self, model_file: ModelFile) -> None:
        if model_file.status == "pending" and model_file.uploaded in ("whole", "wrong"):
            model_file.status = "available" if model_file.uploaded == "whole" else "rejected"

    @precondition(lambda self: self.files)
    @rule(data=st.data())
    def complete(self, data: st.DataObject) -> None:
        model_file = self.pick(data, rather=lambda model_file: model_file.status == "pending" and model_file.uploaded != "nothing")
        if model_file.status == "pending" and model_file.uploaded == "parts":
            model_file.uploaded = "whole"
        self.verify(model_file)
        expected = {
            "available": None,
            "trashed": None,
            "rejected": "upload_rejected",
            "pending": "parts_missing" if model_file.in_parts else "upload_missing",
            "gone": "file_not_found",
        }[model_file.status]
        assert refused(partial(self.lifecycle.complete, self.users[model_file.owner], model_file.id)) == expected

    @precondition(lambda self: self.files)
    @rule(data=st.data(), times=st.integers(1, 3))
    def receive_event(self, data: st.DataObject, times: int) -> None:
        model_file = self.pick(data, rather=lambda model_file: model_file.status == "pending" and model_file.uploaded != "nothing")
        self.verify(model_file)
        for _ in range(times):
            self.lifecycle.deliver_event(model_file.id)

    @precondition(lambda self: self.files)
    @rule(data=st.data(), is_permanent=st.booleans())
    def delete(self, data: st.DataObject, is_permanent: bool) -> None:
        model_file = self.pick(data, rather=lambda model_file: model_file.status != "gone")
        expected = "file_not_found" if model_file.status == "gone" else None
        assert refused(partial(self.lifecycle.delete, self.users[model_file.owner], model_file.id, is_permanent=is_permanent)) == expected
        stays = model_file.status in ("available", "trashed") and not is_permanent
        model_file.status = "trashed" if stays else "gone"

    @precondition(lambda self: self.files)
    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        model_file = self.pick(data, rather=lambda model_file: model_file.status == "trashed")
        expected = {"gone": "file_not_found", "available": None, "trashed": None}.get(model_file.status, "not_in_trash")
        assert refused(partial(self.lifecycle.restore, self.users[model_file.owner], model_file.id)) == expected
        if model_file.status == "trashed":
            model_file.status = "available"

    @precondition(lambda self: self.files)
    @rule(data=st.data())
    def strangers_are_refused(self, data: st.DataObject) -> None:
        model_file = self.pick(data, rather=lambda model_file: model_file.status != "gone")
        stranger = self.users[1 - model_file.owner]
        expected = "file_not_found" if model_file.status == "gone" else "file_forbidden"
        for act in (self.lifecycle.complete, self.lifecycle.delete, self.lifecycle.restore):
            assert refused(partial(act, stranger, model_file.id)) == expected

    @rule(days=st.sampled_from([0, 0, 8]))
    def sweep(self, days: int) -> None:
        self.lifecycle.traveller.shift(timedelta(days=days))
        report = self.lifecycle.sweep()
        assert (report.failures, report.lost_objects) == (0, 0)
        for model_file in self.files:
            model_file.is_url_valid &= not days
            if days and model_file.status == "trashed":
                model_file.status = "gone"
            if model_file.status == "rejected":
                model_file.days_rejected += days
                if model_file.days_rejected > REJECTED_RETENTION.days:
                    model_file.status = "gone"
            if days:
                self.verify(model_file)
                if model_file.status == "pending":
                    model_file.status = "gone"

    @invariant()
    def agrees(self) -> None:
        type(self).steps += 1
        with self.services.unit_of_work() as session:
            query = select(File.id, File.status).where(File.owner_id.in_([user.id for user in self.users]))
            found = {row.id: row.status for row in session.execute(query)}
        assert found == {model_file.id: model_file.status for model_file in self.files if model_file.status != "gone"}
        assert_quota_is_exact(self.services, [user.id for user in self.users])
        for model_file in self.files:
            has_object = model_file.status in ("available", "trashed") or (
                model_file.status == "pending" and model_file.uploaded in ("whole", "wrong")
            )
            assert self.lifecycle.is_stored(model_file.id) == has_object

    def row(self, model_file: ModelFile) -> File | None:
        with self.services.unit_of_work() as session:
            return self.services.files(session)._files.get(model_file.id)


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
        """The requested number of steps was executed."""

    @hypothesis.seed(seed)
    class Counted(Seeded):
        has_failed = False

        def teardown(self) -> None:
            error = sys.exc_info()[1]
            # Hypothesis repeats a failed history to shrink it; these steps must not end the test.
            Counted.has_failed |= error is not None and not isinstance(error, HypothesisException | StopTest)
            super().teardown()
            if Counted.steps >= STEPS and not Counted.has_failed:
                raise Enough

    with pytest.raises(Enough):
        run_state_machine_as_test(Counted, settings=settings)

    print(f"{Counted.steps} steps")
    assert Counted.steps >= STEPS
