"""Copies of the data in another region."""

import json

import pytest

from infra.config import ConfigError, stage_config
from tests.infra.conftest import Synthesised

REPLICA = "we-upload-staging-replica-"


def test_copies_are_off_by_default(prod: Synthesised) -> None:
    assert not prod.recovery
    assert not prod.of_type("AWS::Backup::BackupPlan")
    assert "ReplicationConfiguration" not in prod.only("AWS::S3::Bucket")


def test_database_is_backed_up_daily_and_copied_to_the_other_region(behind_firewall: Synthesised) -> None:
    (rule,) = behind_firewall.only("AWS::Backup::BackupPlan")["BackupPlan"]["BackupPlanRule"]
    (copy,) = rule["CopyActions"]
    selected = behind_firewall.only("AWS::Backup::BackupSelection")["BackupSelection"]["Resources"]

    assert rule["ScheduleExpression"] == "cron(0 3 * * ? *)"
    assert rule["Lifecycle"]["DeleteAfterDays"] == copy["Lifecycle"]["DeleteAfterDays"] == 7
    assert json.dumps(copy["DestinationBackupVaultArn"]).count(":backup:eu-west-1:") == 1
    assert "cluster" in json.dumps(selected)


def test_vaults_of_both_regions_have_the_same_name_and_lock(behind_firewall: Synthesised) -> None:
    vaults = behind_firewall.of_type("AWS::Backup::BackupVault")

    assert [vault["BackupVaultName"] for vault in vaults] == ["we-upload-staging"] * 2
    assert [vault["LockConfiguration"] for vault in vaults] == [{"ChangeableForDays": 3, "MaxRetentionDays": 7, "MinRetentionDays": 1}] * 2


def test_failed_backups_and_copies_send_a_notification(behind_firewall: Synthesised, prod: Synthesised) -> None:
    rules = [
        rule for rule in behind_firewall.of_type("AWS::Events::Rule") if "aws.backup" in rule.get("EventPattern", {}).get("source", [])
    ]
    (topic,) = [key for key, resource in behind_firewall.api["Resources"].items() if resource["Type"] == "AWS::SNS::Topic"]

    assert [rule["EventPattern"]["detail-type"] for rule in rules] == [["Backup Job State Change"], ["Copy Job State Change"]]
    assert [rule["EventPattern"]["detail"] for rule in rules] == [
        {"state": ["FAILED", "ABORTED", "EXPIRED"], "backupVaultName": ["we-upload-staging"]},
        {"state": ["FAILED", "ABORTED", "EXPIRED"], "sourceBackupVaultArn": [{"suffix": ":backup-vault:we-upload-staging"}]},
    ]
    assert [target["Arn"] for rule in rules for target in rule["Targets"]] == [{"Ref": topic}] * 2
    assert not [rule for rule in prod.of_type("AWS::Events::Rule") if "EventPattern" in rule]


def test_objects_and_deletions_are_replicated(behind_firewall: Synthesised) -> None:
    (source,) = [value["Properties"] for value in behind_firewall.data["Resources"].values() if value["Type"] == "AWS::S3::Bucket"]
    (rule,) = source["ReplicationConfiguration"]["Rules"]

    assert (rule["Status"], rule["Filter"], rule["DeleteMarkerReplication"]) == ("Enabled", {"Prefix": "uploads/"}, {"Status": "Enabled"})
    assert REPLICA in json.dumps(rule["Destination"]["Bucket"])


def test_replica_is_private_versioned_and_retained(behind_firewall: Synthesised) -> None:
    (replica,) = [value for value in behind_firewall.recovery["Resources"].values() if value["Type"] == "AWS::S3::Bucket"]
    properties = replica["Properties"]

    assert all(properties["PublicAccessBlockConfiguration"].values())
    assert properties["VersioningConfiguration"] == {"Status": "Enabled"}
    assert replica["DeletionPolicy"] == "Retain"
    assert REPLICA in json.dumps(properties["BucketName"])


def test_replication_can_write_copies_of_uploads_only(behind_firewall: Synthesised) -> None:
    (policy,) = [policy for policy in behind_firewall.of_type("AWS::IAM::Policy") if "ReplicationRole" in policy["PolicyName"]]
    actions = {action for statement in policy["PolicyDocument"]["Statement"] for action in statement["Action"]}

    assert {action for action in actions if "Replicate" in action} == {"s3:ReplicateObject", "s3:ReplicateDelete", "s3:ReplicateTags"}
    assert not actions & {"s3:PutObject", "s3:DeleteObject", "s3:GetObject"}
    (weak,) = [
        statement
        for bucket in behind_firewall.of_type("AWS::S3::BucketPolicy")
        for statement in bucket["PolicyDocument"]["Statement"]
        if statement.get("Sid") == "SignatureV4Only"
    ]
    assert "ReplicationRole" in json.dumps(weak["Condition"]["ArnNotEquals"])


def test_copies_are_deployed_before_the_data_stack(behind_firewall: Synthesised) -> None:
    manifest = json.loads((behind_firewall.assembly / "manifest.json").read_text())["artifacts"]

    assert "WeUpload-staging-Recovery" in manifest["WeUpload-staging-Data"]["dependencies"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"replicates_objects": "true"}, "need recovery_region"),
        ({"vault_lock": "governance"}, "need recovery_region"),
        ({"vault_lock": "yes", "recovery_region": "eu-west-1"}, "vault_lock must be one of none, governance, compliance"),
        ({"recovery_region": "eu-west-1", "replicates_objects": "true", "uses_kms": "true"}, "cannot be combined with uses_kms"),
    ],
)
def test_incomplete_settings_are_refused(settings: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        stage_config({"stage": "prod", **settings}.get)
