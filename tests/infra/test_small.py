"""The stage whose database pauses: what costs while idle is left out, and the rest still holds."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from infra.components.functions import FUNCTIONS
from infra.config import (
    FUNCTION_TIMEOUT_SECONDS,
    PAUSED_SIGN_IN_SECONDS,
    PREVIEW_TIMEOUT_SECONDS,
    STAGES,
    STARTING_SIGN_IN_SECONDS,
    STARTING_TIMEOUT_SECONDS,
    ConfigError,
    DatabaseKind,
    stage_config,
)
from tests.infra.conftest import SMALL, Synthesised

SMALL_STAGE = STAGES["small"]


@pytest.fixture
def locked(synthesise: Callable[..., Synthesised]) -> Synthesised:
    """Small with `checkpoint_lock_days` and all other options."""
    return synthesise(**SMALL)


def functions(stacks: Synthesised) -> dict[str, dict[str, Any]]:
    """The functions by the last parts of their handlers."""
    return {function["Handler"].removeprefix("lambda_app."): function for function in stacks.of_type("AWS::Lambda::Function")}


def key_policy(stacks: Synthesised) -> dict[str, dict[str, Any]]:
    """The statements of the key bucket's policy, by Sid."""
    (policy,) = [part["Properties"] for name, part in stacks.resources.items() if name.startswith("data/KeysBucketPolicy")]
    return {statement["Sid"]: statement for statement in policy["PolicyDocument"]["Statement"] if "Sid" in statement}


def roles_that_may(stacks: Synthesised, action: str, key: str) -> set[str]:
    """The functions whose role allows the action on a key."""
    return {
        name.removeprefix("api/").partition("Role")[0]
        for name, part in stacks.resources.items()
        if part["Type"] == "AWS::IAM::Policy"
        for statement in part["Properties"]["PolicyDocument"]["Statement"]
        if action in statement["Action"] and f"/keys/{key}" in json.dumps(statement["Resource"])
    }


def test_database_pauses_and_has_one_instance(small: Synthesised) -> None:
    cluster = small.only("AWS::RDS::DBCluster")

    assert cluster["ServerlessV2ScalingConfiguration"] == {"MinCapacity": 0, "MaxCapacity": 2, "SecondsUntilAutoPause": 300}
    assert len(small.of_type("AWS::RDS::DBInstance")) == 1
    assert (cluster["StorageEncrypted"], cluster["DeletionProtection"], cluster["BackupRetentionPeriod"]) == (True, True, 7)


def test_nothing_that_costs_while_idle_exists(small: Synthesised) -> None:
    kinds = {resource["Type"] for resource in small.resources.values()}

    assert not kinds & {
        "AWS::RDS::DBProxy",
        "AWS::SecretsManager::Secret",
        "AWS::EC2::NatGateway",
        "AWS::CloudWatch::CompositeAlarm",
        "AWS::KMS::Key",
    }
    assert {endpoint["VpcEndpointType"] for endpoint in small.of_type("AWS::EC2::VPCEndpoint")} == {"Gateway"}
    assert not [function for function in small.of_type("AWS::Lambda::Function") if "SnapStart" in function]
    assert len(small.of_type("AWS::CloudWatch::Alarm")) <= 6
    assert small.only("AWS::ApiGatewayV2::Stage")["DefaultRouteSettings"]["DetailedMetricsEnabled"] is False


def test_idle_connections_are_closed_before_the_database_pauses(small: Synthesised, prod: Synthesised) -> None:
    closing, kept = (stacks.only("AWS::RDS::DBClusterParameterGroup")["Parameters"] for stacks in (small, prod))
    scaling = small.only("AWS::RDS::DBCluster")["ServerlessV2ScalingConfiguration"]

    assert int(closing["idle_session_timeout"]) < 1000 * scaling["SecondsUntilAutoPause"]
    # RDS Proxy keeps idle connections open.
    assert "idle_session_timeout" not in kept


def test_application_and_owner_sign_in_to_the_cluster_by_iam_over_verified_tls(small: Synthesised) -> None:
    cluster = small.only("AWS::RDS::DBCluster")
    urls = {name: json.dumps(function["Environment"]["Variables"]["DATABASE_URL"]) for name, function in functions(small).items()}

    assert (cluster["MasterUserAuthenticationType"], cluster["EnableIAMDatabaseAuthentication"]) == ("iam-db-auth", True)
    assert not {"ManageMasterUserPassword", "MasterUserPassword"} & set(cluster)
    for name, url in urls.items():
        user = "postgres" if name == "handlers.migrate.handler" else "we_upload"
        assert f"postgresql://{user}@" in url
        assert "EndpointAddress" in url
        assert url.rstrip(']}"').endswith("sslmode=verify-full&sslrootcert=/var/task/certs/rds-ca.pem")
    for function in functions(small).values():
        assert function["Environment"]["Variables"]["DATABASE_IAM_AUTH"] == "true"
        assert "DATABASE_SECRET_ARN" not in function["Environment"]["Variables"]
    (rule,) = small.of_type("AWS::EC2::SecurityGroupIngress")
    assert (rule["Description"], "SourceSecurityGroupId" in rule) == ("Functions", True)


def test_callers_get_503_soon_and_workers_wait_for_the_start(small: Synthesised) -> None:
    for name, function in functions(small).items():
        variables = function["Environment"]["Variables"]
        if name == "main.handler":
            assert variables["DATABASE_SIGN_IN_SECONDS"] == str(PAUSED_SIGN_IN_SECONDS)
            assert function["Timeout"] == FUNCTION_TIMEOUT_SECONDS
        else:
            assert variables["DATABASE_SIGN_IN_SECONDS"] == str(STARTING_SIGN_IN_SECONDS)
            assert function["Timeout"] >= STARTING_TIMEOUT_SECONDS > 2 * STARTING_SIGN_IN_SECONDS
        assert variables["DATABASE_PAUSES"] == "true"
    timeouts = [functions(small)[f"handlers.{name}.handler"]["Timeout"] for name in ("object_created", "archive")]
    visible_again = sorted(queue["VisibilityTimeout"] for queue in small.of_type("AWS::SQS::Queue") if "VisibilityTimeout" in queue)
    # The stage has no preview worker; nothing is sent to its queue.
    assert visible_again == sorted(6 * timeout for timeout in (PREVIEW_TIMEOUT_SECONDS, *timeouts))


def test_schedules_start_the_database_once_a_day(small: Synthesised) -> None:
    rules = {rule["ScheduleExpression"] for rule in small.of_type("AWS::Events::Rule") if "ScheduleExpression" in rule}
    scheduled = [spec for spec in FUNCTIONS if spec.minutes and spec.exists and spec.name != "WebhookQueue"]

    # Within one pause of the database (five minutes without a connection). The monthly rotation does not connect, and webhooks are off.
    assert rules == {f"cron({spec.daily_minute} 3 * * ? *)" for spec in scheduled} | {"rate(30 days)"}
    assert max(spec.daily_minute for spec in scheduled) - min(spec.daily_minute for spec in scheduled) <= 10


def test_log_is_sealed_after_requests_that_wrote_audit_events(small: Synthesised, prod: Synthesised) -> None:
    subscription = small.only("AWS::Logs::SubscriptionFilter")
    (permission,) = [part for part in small.of_type("AWS::Lambda::Permission") if part["Principal"] == "logs.amazonaws.com"]

    assert subscription["FilterPattern"] == '{ $.message = "request" && $.audit_leaves[0] = "*" }'
    assert subscription["LogGroupName"]["Ref"].startswith("ApiLog")
    assert subscription["DestinationArn"]["Ref"].startswith("SealLive")
    assert "ApiLog" in json.dumps(permission["SourceArn"])
    assert prod.of_type("AWS::Logs::SubscriptionFilter") == []


def test_each_key_has_only_its_readers(small: Synthesised) -> None:
    # The rotation reads the signing key to replace it.
    assert roles_that_may(small, "s3:GetObject", "signing-key") == {"Api", "RotateSigningKey"}
    assert roles_that_may(small, "s3:GetObject", "link-key") == {"Api", "Admin", "Seal"}
    assert roles_that_may(small, "s3:GetObject", "log-key") == {"Seal"}
    for key in ("signing-key", "link-key", "log-key"):
        writers = roles_that_may(small, "s3:PutObject", key)
        assert writers == {"MigrationMigrate"} | ({"RotateSigningKey"} if key == "signing-key" else set())


def test_bucket_of_the_keys_refuses_other_readers_and_overwriting(small: Synthesised) -> None:
    statements = key_policy(small)
    (bucket,) = [part for name, part in small.resources.items() if name.startswith("data/KeysBucket") and part["Type"] == "AWS::S3::Bucket"]
    tag = {"Key": "WeUploadKeys", "Value": "read"}
    tagged = {
        name.removeprefix("api/").partition("Role")[0]
        for name, part in small.resources.items()
        if part["Type"] == "AWS::IAM::Role" and tag in part["Properties"].get("Tags", [])
    }

    assert statements["OnlyReadersOfKeys"]["Effect"] == "Deny"
    assert statements["OnlyReadersOfKeys"]["Action"] == ["s3:GetObject", "s3:GetObjectVersion"]
    assert statements["OnlyReadersOfKeys"]["Condition"] == {"StringNotEquals": {"aws:PrincipalTag/WeUploadKeys": "read"}}
    assert statements["OnlyConditionalWrites"]["Condition"] == {"Null": {"s3:if-none-match": "true", "s3:if-match": "true"}}
    assert tagged == {"Api", "Admin", "Seal", "RotateSigningKey"}
    (rule,) = bucket["Properties"]["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": "aws:kms"}
    assert bucket["Properties"]["PublicAccessBlockConfiguration"]["RestrictPublicBuckets"] is True
    assert (bucket["DeletionPolicy"], bucket["Properties"]["VersioningConfiguration"]) == ("Retain", {"Status": "Enabled"})


def test_only_audit_sealing_and_the_migration_know_the_log_key(small: Synthesised) -> None:
    informed = {name for name, function in functions(small).items() if "LOG_KEY_ARN" in function["Environment"]["Variables"]}

    assert informed == {"handlers.seal.handler", "handlers.migrate.handler"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mail_from": "files@example.com", "public_url": "https://app.example.com"}, "interface endpoint"),
        (SMALL | {"firewall": "true"}, "interface endpoint"),
        ({"releases_gradually": "true"}, "releases_gradually needs alarms"),
        ({"reads_from_standby": "true"}, "reads_from_standby needs a standby"),
    ],
)
def test_options_that_cost_while_idle_are_refused(settings: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        stage_config({**settings, "stage": "small"}.get)


@pytest.mark.parametrize("change", [{"min_capacity_units": 0.5}, {"pauses_when_idle": False}, {"database": DatabaseKind.INSTANCE}])
def test_pausing_needs_aurora_with_a_minimum_of_zero(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="pauses_when_idle"):
        replace(SMALL_STAGE, **change)


def test_copies_in_another_region_work_without_a_proxy(synthesise: Callable[..., Synthesised]) -> None:
    stacks = synthesise(**SMALL)

    assert len(stacks.of_type("AWS::Backup::BackupPlan")) == 1
    assert len(stacks.of_type("AWS::GuardDuty::MalwareProtectionPlan")) == 1


def test_bucket_of_locked_checkpoints_has_object_lock_and_stays(locked: Synthesised) -> None:
    (bucket,) = [
        part for name, part in locked.resources.items() if name.startswith("data/CheckpointsBucket") and part["Type"] == "AWS::S3::Bucket"
    ]
    properties = bucket["Properties"]

    assert properties["ObjectLockEnabled"] is True
    assert properties["VersioningConfiguration"] == {"Status": "Enabled"}
    assert all(properties["PublicAccessBlockConfiguration"].values())
    assert "LifecycleConfiguration" not in properties
    assert bucket["DeletionPolicy"] == bucket["UpdateReplacePolicy"] == "Retain"


def test_bucket_of_locked_checkpoints_refuses_later_versions_delete_markers_and_longer_locks(locked: Synthesised) -> None:
    (policy,) = [part["Properties"] for name, part in locked.resources.items() if name.startswith("data/CheckpointsBucketPolicy")]
    statements = {statement["Sid"]: statement for statement in policy["PolicyDocument"]["Statement"] if "Sid" in statement}

    assert {(sid, part["Action"], part["Effect"]) for sid, part in statements.items()} == {
        ("WriteOnce", "s3:PutObject", "Deny"),
        ("NoDeleteMarkers", "s3:DeleteObject", "Deny"),
        ("NoLongerLocks", "s3:PutObjectRetention", "Deny"),
    }
    assert statements["WriteOnce"]["Condition"] == {"Null": {"s3:if-none-match": "true"}}
    assert "Condition" not in statements["NoDeleteMarkers"]
    assert statements["NoLongerLocks"]["Condition"] == {"NumericGreaterThan": {"s3:object-lock-remaining-retention-days": "366"}}


def test_only_the_sealer_writes_and_locks_checkpoints(locked: Synthesised) -> None:
    allowed = {
        (name.removeprefix("api/").partition("Role")[0], action)
        for name, part in locked.resources.items()
        if part["Type"] == "AWS::IAM::Policy"
        for statement in part["Properties"]["PolicyDocument"]["Statement"]
        if "CheckpointsBucket" in json.dumps(statement["Resource"])
        for action in statement["Action"]
    }
    reading = {"s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket", "s3:ListBucketVersions"}
    writing = {"s3:PutObject", "s3:PutObjectRetention", "s3:GetObjectRetention"}

    assert {action for name, action in allowed if name == "Seal"} == reading | writing
    assert {action for name, action in allowed if name != "Seal"} == reading
    assert {name for name, _ in allowed} == {"Seal", "MigrationMigrate"}


def test_sealer_and_migration_know_the_bucket_of_locked_checkpoints(locked: Synthesised, small: Synthesised) -> None:
    informed = {
        name: function["Environment"]["Variables"]["CHECKPOINT_LOCK_DAYS"]
        for name, function in functions(locked).items()
        if "CHECKPOINT_BUCKET_NAME" in function["Environment"]["Variables"]
    }

    assert informed == {"handlers.seal.handler": "365", "handlers.migrate.handler": "365"}
    assert not [name for name in small.resources if "Checkpoints" in name]


def test_lock_of_checkpoints_has_a_limit() -> None:
    with pytest.raises(ConfigError, match="checkpoint_lock_days must be from 0 to 3650"):
        stage_config({"stage": "prod", "checkpoint_lock_days": "3651"}.get)
