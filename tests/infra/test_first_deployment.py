"""What only a first deployment to AWS would show: zones, quotas, engine versions, timeouts, certificates."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from infra.config import HEALTH_REQUEST, STAGES, ConfigError, stage_config
from infra.package.authorities import RegionNotCoveredError, covered_regions, require_region
from infra.package.contents import PackageError, add_database_authorities
from tests.infra.conftest import EVERYTHING, Synthesised


def statements(stacks: Synthesised, action: str) -> list[dict[str, Any]]:
    """The role statements that allow `action`."""
    documents = [policy["PolicyDocument"] for policy in stacks.of_type("AWS::IAM::Policy")]
    return [statement for document in documents for statement in document["Statement"] if action in statement["Action"]]


def test_stage_can_name_its_zones(synthesise: Callable[..., Synthesised]) -> None:
    stacks = synthesise(stage="dev", zones="us-east-1a,us-east-1d")

    assert [subnet["AvailabilityZone"] for subnet in stacks.of_type("AWS::EC2::Subnet")] == ["us-east-1a", "us-east-1d"]


@pytest.mark.parametrize("zones", ["us-east-1a", "us-east-1a,us-east-1a", "us-east-1a,us-east-1b,us-east-1c"])
def test_number_of_zones_must_match_the_stage(zones: str) -> None:
    with pytest.raises(ConfigError, match="zones must name 2 different"):
        stage_config({"stage": "dev", "zones": zones}.get)


@pytest.mark.parametrize(("stage", "kind"), [("prod", "cluster"), ("dev", "db")])
def test_restored_database_accepts_the_same_roles(stage: str, kind: str, synthesise: Callable[..., Synthesised]) -> None:
    resources = [json.dumps(statement["Resource"]) for statement in statements(synthesise(stage=stage), "rds-db:connect")]
    servers = [resource for resource in resources if f":dbuser:{kind}-*/" in resource]

    # The proxy keeps its id after a restore, so the functions stay limited to it.
    assert [resource for resource in resources if resource not in servers and "prx-" not in resource and "Proxy" not in resource] == []
    assert sorted(resource.rpartition("/")[2].partition('"')[0] for resource in servers) == ["postgres", "we_upload"]


def test_scanner_can_write_and_tag_encrypted_objects(everything: Synthesised) -> None:
    by_kms = statements(everything, "kms:GenerateDataKey")
    scanner = [
        policy["PolicyDocument"]["Statement"]
        for policy in everything.of_type("AWS::IAM::Policy")
        if "FilesMalwareRole" in policy["PolicyName"]
    ]

    assert len(scanner) == 1
    allowed = [statement for statement in scanner[0] if statement in by_kms]
    assert [sorted(statement["Action"]) for statement in allowed] == [["kms:Decrypt", "kms:GenerateDataKey"]]


def test_eventbridge_of_a_scanned_bucket_is_in_the_template(everything: Synthesised, prod: Synthesised) -> None:
    scanned, plain = (stacks.only("AWS::S3::Bucket")["NotificationConfiguration"] for stacks in (everything, prod))

    assert scanned["EventBridgeConfiguration"] == {"EventBridgeEnabled": True}
    assert "EventBridgeConfiguration" not in plain


def test_plan_that_cannot_scan_sends_a_notification(everything: Synthesised, prod: Synthesised) -> None:
    (rule,) = [rule for rule in everything.of_type("AWS::Events::Rule") if "Resource Status" in json.dumps(rule.get("EventPattern"))]
    (topic,) = [key for key, resource in everything.api["Resources"].items() if resource["Type"] == "AWS::SNS::Topic"]

    assert rule["EventPattern"]["source"] == ["aws.guardduty"]
    assert [kind.rpartition(" ")[2] for kind in rule["EventPattern"]["detail-type"]] == ["Warning", "Error"]
    assert [target["Arn"] for target in rule["Targets"]] == [{"Ref": topic}]
    # The topic's policy admits CloudWatch of this account only.
    assert "RoleArn" in rule["Targets"][0]
    assert not [rule for rule in prod.of_type("AWS::Events::Rule") if "EventPattern" in rule]


def test_stage_decides_whether_unscannable_objects_can_be_read(everything: Synthesised, synthesise: Callable[..., Synthesised]) -> None:
    def readable(stacks: Synthesised) -> Any:
        policy = stacks.only("AWS::S3::BucketPolicy")["PolicyDocument"]["Statement"]
        (statement,) = [statement for statement in policy if statement.get("Sid") == "OnlyCleanObjects"]
        return statement["Condition"]["StringNotEquals"]["s3:ExistingObjectTag/GuardDutyMalwareScanStatus"]

    assert readable(everything) == ["NO_THREATS_FOUND", "RELEASED"]
    assert readable(synthesise(**EVERYTHING, serves_unscannable="true")) == ["NO_THREATS_FOUND", "RELEASED", "UNSUPPORTED"]
    with pytest.raises(ConfigError, match="serves_unscannable needs scans_for_malware"):
        replace(STAGES["prod"], serves_unscannable=True)


def test_dev_fits_the_concurrency_limit_of_a_new_account(dev: Synthesised, prod: Synthesised) -> None:
    assert not [function for function in dev.of_type("AWS::Lambda::Function") if "ReservedConcurrentExecutions" in function]
    assert all("ReservedConcurrentExecutions" in function for function in prod.of_type("AWS::Lambda::Function"))


def test_template_names_the_major_version_of_the_engine_only(prod: Synthesised, dev: Synthesised) -> None:
    cluster, instance = prod.only("AWS::RDS::DBCluster"), dev.only("AWS::RDS::DBInstance")

    assert (cluster["EngineVersion"], instance["EngineVersion"]) == ("17", "17")
    assert prod.only("AWS::RDS::DBClusterParameterGroup")["Family"] == "aurora-postgresql17"
    assert dev.only("AWS::RDS::DBParameterGroup")["Family"] == "postgres17"
    assert instance["AutoMinorVersionUpgrade"] is True


def test_only_the_api_starts_from_a_snapshot(prod: Synthesised) -> None:
    with_snapshots = [function["Handler"] for function in prod.of_type("AWS::Lambda::Function") if "SnapStart" in function]

    assert with_snapshots == ["lambda_app.main.handler"]


def test_live_version_is_invoked_daily_so_that_it_keeps_its_snapshot(
    prod: Synthesised, behind_firewall: Synthesised, synthesise: Callable[..., Synthesised]
) -> None:
    def invoked(stacks: Synthesised) -> list[str]:
        rules = [rule for rule in stacks.of_type("AWS::Events::Rule") if rule.get("ScheduleExpression") == "rate(1 day)"]
        called = [target for rule in rules for target in rule["Targets"]]
        assert all(json.loads(target["Input"]) == HEALTH_REQUEST for target in called)
        return sorted(target["Arn"]["Ref"][: len("Identity")] for target in called)

    assert invoked(prod) == ["ApiLive7"]
    assert invoked(behind_firewall) == ["ApiLive7", "Identity"]
    assert invoked(synthesise(stage="small")) == []


def test_database_log_contains_no_values_and_stays_on_the_server(prod: Synthesised, dev: Synthesised) -> None:
    for stacks, kind in ((prod, "AWS::RDS::DBClusterParameterGroup"), (dev, "AWS::RDS::DBParameterGroup")):
        parameters = stacks.only(kind)["Parameters"]
        assert parameters["log_parameter_max_length"] == parameters["log_parameter_max_length_on_error"] == "0"
        assert parameters["log_error_verbosity"] == "terse"
        assert parameters["rds.log_retention_period"] == "10080"
    # RDS creates the log group of an export without a retention.
    assert "EnableCloudwatchLogsExports" not in prod.only("AWS::RDS::DBCluster")
    assert "EnableCloudwatchLogsExports" not in dev.only("AWS::RDS::DBInstance")


def test_synthesis_stops_for_a_region_without_a_certificate_authority(tmp_path: Path) -> None:
    add_database_authorities(tmp_path)
    bundle = tmp_path / "certs" / "rds-ca.pem"

    require_region(bundle, "eu-central-1")
    assert {"us-east-1", "eu-west-3", "ap-southeast-4"} <= covered_regions(bundle.read_text())
    with pytest.raises(RegionNotCoveredError, match="for xx-north-9"):
        require_region(bundle, "xx-north-9")


def test_additional_authorities_are_added_and_must_be_those_of_rds(tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    add_database_authorities(tmp_path / "first")
    known = (tmp_path / "first" / "certs" / "rds-ca.pem").read_text()
    certificate = known[: known.index("-----END") + len("-----END CERTIFICATE-----")]
    (tmp_path / "new.pem").write_text(certificate)
    (tmp_path / "other.pem").write_text("no certificate")
    for folder in ("second", "third"):
        (tmp_path / folder).mkdir()

    add_database_authorities(tmp_path / "second", additional=tmp_path / "new.pem")

    text = (tmp_path / "second" / "certs" / "rds-ca.pem").read_text()
    assert text.count("BEGIN CERTIFICATE") == known.count("BEGIN CERTIFICATE") + 1
    with pytest.raises(PackageError, match="contains no certificate of RDS"):
        add_database_authorities(tmp_path / "third", additional=tmp_path / "other.pem")
