"""Lines of the table whose handlers may not be in the tree yet: they deploy the day that they are."""

import json
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App

from infra.app import add_stacks
from infra.components.functions import FunctionSpec
from infra.config import STAGES
from infra.package.artifact import Artifact
from tests.infra.conftest import ROOT


@pytest.fixture(scope="module")
def resources(artifact: Artifact, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Resources of prod's API stack with every line of the table in the tree; the synthesis raises what cdk-nag finds."""
    assembly = tmp_path_factory.mktemp("assembly")
    app = App(context=json.loads((ROOT / "cdk.json").read_text())["context"], outdir=str(assembly))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FunctionSpec, "exists", True)
        stage = add_stacks(app, STAGES["prod"], artifact)
    app.synth()
    template: dict[str, Any] = json.loads(Path(assembly, stage.api.template_file).read_text())["Resources"]
    return template


def only(resources: dict[str, Any], kind: str) -> dict[str, Any]:
    (found,) = [resource["Properties"] for resource in resources.values() if resource["Type"] == kind]
    return dict(found)


def test_uploads_are_fed_to_the_live_worker_and_a_failed_record_comes_back_alone(resources: dict[str, Any]) -> None:
    mapping = only(resources, "AWS::Lambda::EventSourceMapping")
    functions = [resource["Properties"] for resource in resources.values() if resource["Type"] == "AWS::Lambda::Function"]
    (worker,) = [function for function in functions if function["Handler"] == "lambda_app.handlers.object_created.handler"]

    assert "ObjectCreatedLive" in json.dumps(mapping["FunctionName"])
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["ScalingConfig"]["MaximumConcurrency"] == worker["ReservedConcurrentExecutions"]


def test_sweep_runs_by_the_clock_on_its_live_version(resources: dict[str, Any]) -> None:
    rule = only(resources, "AWS::Events::Rule")

    assert rule["ScheduleExpression"] == "rate(15 minutes)"
    assert resources[rule["Targets"][0]["Arn"]["Ref"]]["Type"] == "AWS::Lambda::Alias"


def test_signing_key_is_rotated_by_a_function_that_may_do_that_and_nothing_else(resources: dict[str, Any]) -> None:
    schedule = only(resources, "AWS::SecretsManager::RotationSchedule")
    policy = json.dumps([value for key, value in resources.items() if key.startswith("RotateSigningKeyRoleDefaultPolicy")])
    (permission,) = [
        value["Properties"]
        for value in resources.values()
        if value["Type"] == "AWS::Lambda::Permission" and value["Properties"]["Principal"] == "secretsmanager.amazonaws.com"
    ]

    assert schedule["RotationRules"] == {"AutomaticallyAfterDays": 30}
    assert schedule["RotateImmediatelyOnUpdate"] is False
    assert "RotateSigningKey" in json.dumps(schedule["RotationLambdaARN"])
    assert "SourceAccount" in permission
    assert all(action in policy for action in ("DescribeSecret", "GetSecretValue", "PutSecretValue", "UpdateSecretVersionStage"))
    assert not any(other in policy for other in ("s3:", "rds-db:connect", "GetRandomPassword"))


def test_only_the_sweep_may_list_uploads(resources: dict[str, Any]) -> None:
    allowed = {
        key.removesuffix("DefaultPolicy") for key, value in resources.items() if "s3:ListBucketMultipartUploads" in json.dumps(value)
    }

    assert len(allowed) == 1
    assert next(iter(allowed)).startswith("SweepRole")


def test_workers_may_not_write_objects_or_read_the_signing_key(resources: dict[str, Any]) -> None:
    for name in ("ObjectCreated", "Sweep"):
        policies = [value for key, value in resources.items() if key.startswith(f"{name}RoleDefaultPolicy")]
        text = json.dumps(policies)

        assert "s3:DeleteObject" in text
        assert "rds-db:connect" in text
        assert "s3:PutObject" not in text
        assert "secretsmanager" not in text
