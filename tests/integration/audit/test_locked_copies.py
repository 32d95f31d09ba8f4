"""Copies of checkpoints under Object Lock: nothing deletes them, and what covers them is noticed."""

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from infra.local.object_store import TEST_BUCKETS, ObjectStoreServer
from lambda_app.core.aws import AwsResponseError
from lambda_app.core.settings import Settings
from lambda_app.services.audit_sealing import LogMismatchError
from lambda_app.storage.checkpoint_copies import COPY_PREFIX, CheckpointCopies
from tests.support.audit_log import OwnLog, own_log

LOCK_DAYS = 30


class Bucket:
    """The bucket of the copies, as its attacker sees it: with all permissions."""

    def __init__(self, log: OwnLog) -> None:
        self._aws = log.services.aws
        self.name = str(log.services.settings.checkpoint_bucket_name)
        self.call("create_bucket", ObjectLockEnabledForBucket=True)

    def call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        return self._aws.call("s3", operation, Bucket=self.name, **parameters)

    def versions(self) -> list[tuple[str, str]]:
        """Key and version of each copy."""
        return [(item["Key"], item["VersionId"]) for item in self.call("list_object_versions").get("Versions", ())]


@pytest.fixture(scope="module")
def log(settings: Settings, make_migrated_database: Callable[[], str], s3_server: ObjectStoreServer) -> Iterator[OwnLog]:
    name = f"{TEST_BUCKETS}{uuid.uuid4()}"
    changes = {"checkpoint_bucket_name": name, "checkpoint_lock_days": LOCK_DAYS}
    with own_log(settings, make_migrated_database(), s3_server, **changes) as own:
        yield own


@pytest.fixture(scope="module")
def bucket(log: OwnLog) -> Bucket:
    return Bucket(log)


@pytest.fixture(autouse=True)
def is_sealed(log: OwnLog, bucket: Bucket) -> None:
    """The tests share one log, which each leaves sealed or in a new era: a database for each takes longer than the tests."""
    log.add(1)
    log.seal()


def newest_key(log: OwnLog) -> str:
    era, size = (log.value(f"SELECT {name} FROM audit_checkpoint ORDER BY era DESC, size DESC LIMIT 1") for name in ("era", "size"))  # noqa: S608  # a name
    return f"{COPY_PREFIX}{era:08d}/{size:020d}"


def start_era(log: OwnLog) -> None:
    with log.services.unit_of_work() as session:
        log.services.audit_eras(session).start(reason="the copies were attacked")
    log.seal()


def test_copy_is_locked_and_cannot_be_deleted(log: OwnLog, bucket: Bucket) -> None:
    ((key, version),) = [entry for entry in bucket.versions() if entry[0] == newest_key(log)]

    kept = bucket.call("head_object", Key=key, VersionId=version)
    for bypass in ({}, {"BypassGovernanceRetention": True}):
        with pytest.raises(AwsResponseError) as refused:
            bucket.call("delete_object", Key=key, VersionId=version, **bypass)
        assert refused.value.http_status == 403

    assert kept["ObjectLockMode"] == "COMPLIANCE"
    remaining = kept["ObjectLockRetainUntilDate"] - datetime.now(UTC)
    assert timedelta(days=LOCK_DAYS, minutes=-5) < remaining <= timedelta(days=LOCK_DAYS)
    assert not log.services.aws.call("s3", "list_objects_v2", Bucket=log.services.settings.s3_bucket_name, Prefix=COPY_PREFIX).get(
        "Contents"
    )


def test_sealing_continues_with_locked_copies(log: OwnLog, bucket: Bucket) -> None:
    before = len(bucket.versions())
    log.add(2)

    report = log.seal()
    again = log.seal()

    assert (report.sealed, again.sealed, len(bucket.versions())) == (2, 0, before + 1)
    assert log.faults() == []


def test_copy_that_exists_is_not_overwritten(log: OwnLog, bucket: Bucket) -> None:
    copies = CheckpointCopies(log.services.settings, log.services.aws)
    before = bucket.versions()
    era, size = (int(part) for part in newest_key(log).removeprefix(COPY_PREFIX).split("/"))

    copies.put(era, size, "another note")

    assert bucket.versions() == before


def test_version_over_a_copy_stops_sealing(log: OwnLog, bucket: Bucket) -> None:
    bucket.call("put_object", Key=newest_key(log), Body=log.note().encode())
    log.add(1)

    with pytest.raises(LogMismatchError, match="was overwritten or deleted"):
        log.seal()
    start_era(log)


def test_first_version_counts_after_a_changed_database(log: OwnLog, bucket: Bucket) -> None:
    """The attacker changes the checkpoint in the database, and writes the same note over its copy."""
    genuine = log.note()
    forged = genuine.replace("we-upload", "we-forged")
    bucket.call("put_object", Key=newest_key(log), Body=forged.encode())
    log.disable_triggers()
    log.run(f"UPDATE audit_checkpoint SET note = '{forged}' WHERE note = '{genuine}'")  # noqa: S608  # a test of an attack
    log.enable_triggers()

    with pytest.raises(LogMismatchError, match="differs from its copy"):
        log.seal()
    start_era(log)
    recorded = str(log.value("SELECT details FROM audit_event WHERE action = 'audit.era_started' ORDER BY seq DESC LIMIT 1"))
    assert "we-upload" in recorded
    assert "we-forged" not in recorded


def test_database_set_back_is_noticed_behind_a_delete_marker(log: OwnLog, bucket: Bucket) -> None:
    """Without its versions, the list of the bucket would not show the checkpoint that the database has lost."""
    bucket.call("delete_object", Key=newest_key(log))
    log.disable_triggers()
    log.run(
        "DELETE FROM audit_checkpoint WHERE (era, size) = (SELECT era, size FROM audit_checkpoint ORDER BY era DESC, size DESC LIMIT 1)"
    )
    log.enable_triggers()
    log.add(1)

    with pytest.raises(LogMismatchError, match="which the database has lost"):
        log.seal()
    start_era(log)


def test_lock_of_the_newest_copy_is_extended_when_half_of_it_is_over(log: OwnLog, bucket: Bucket) -> None:
    era, size = (int(part) for part in newest_key(log).removeprefix(COPY_PREFIX).split("/"))
    longer = log.services.settings.model_copy(update={"checkpoint_lock_days": 3 * LOCK_DAYS})
    slightly_longer = log.services.settings.model_copy(update={"checkpoint_lock_days": LOCK_DAYS + 1})

    ends = []
    for settings in (slightly_longer, longer):
        copies = CheckpointCopies(settings, log.services.aws)
        copy = copies.get(era, size)
        assert copy is not None
        copies.extend_lock(era, size, copy)
        ends.append(bucket.call("head_object", Key=newest_key(log))["ObjectLockRetainUntilDate"] - datetime.now(UTC))

    assert ends[0] < timedelta(days=LOCK_DAYS) < timedelta(days=3 * LOCK_DAYS, minutes=-5) < ends[1]
