"""The worker functions, including those whose handler module may not exist yet."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App

from infra.app import add_stacks
from infra.components.functions import FunctionSpec
from infra.config import STAGES
from infra.local.object_store import PREVIEW_ACTIONS
from infra.package.artifact import Artifact
from tests.infra.conftest import ROOT, Synthesised


@pytest.fixture(scope="module")
def resources(artifact: Artifact, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Resources of prod's API stack with every spec; synthesis fails on cdk-nag findings."""
    assembly = tmp_path_factory.mktemp("assembly")
    app = App(context=json.loads((ROOT / "cdk.json").read_text())["context"], outdir=str(assembly))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FunctionSpec, "exists", True)
        stage = add_stacks(app, STAGES["prod"], artifact, artifact)
    app.synth()
    template: dict[str, Any] = json.loads(Path(assembly, stage.api.template_file).read_text())["Resources"]
    return template


def only(resources: dict[str, Any], kind: str) -> dict[str, Any]:
    (found,) = [resource["Properties"] for resource in resources.values() if resource["Type"] == kind]
    return dict(found)


def allowed(resources: dict[str, Any], name: str) -> dict[str, set[str]]:
    """Return the allowed actions of a function's role, by the end of the resource ARN."""
    found: dict[str, set[str]] = {}
    for policy in (value for key, value in resources.items() if key.startswith(f"{name}RoleDefaultPolicy")):
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]:
            actions = [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]
            targets = statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
            for target in targets:
                parts = target.get("Fn::Join", ["", [""]])[1] if isinstance(target, dict) else [target]
                found.setdefault(str(parts[-1]), set()).update(actions)
    return found


@pytest.mark.parametrize(
    ("name", "module", "batch_size"),
    [
        ("ObjectCreated", "lambda_app.handlers.object_created", 10),
        ("Archive", "lambda_app.handlers.archive", 1),
        ("Preview", "lambda_preview.handler", 1),
        ("WebhookDelivery", "lambda_app.handlers.webhook_delivery", 1),
        ("WebhookQueue", "lambda_app.handlers.webhook_queue", 10),
    ],
)
def test_events_go_to_the_live_version_and_only_failed_records_are_retried(
    resources: dict[str, Any], name: str, module: str, batch_size: int
) -> None:
    mappings = [value["Properties"] for value in resources.values() if value["Type"] == "AWS::Lambda::EventSourceMapping"]
    (mapping,) = [mapping for mapping in mappings if f"{name}Live" in json.dumps(mapping["FunctionName"])]
    functions = [resource["Properties"] for resource in resources.values() if resource["Type"] == "AWS::Lambda::Function"]
    (worker,) = [function for function in functions if function["Handler"] == f"{module}.handler"]

    assert len(mappings) == 5
    assert mapping["BatchSize"] == batch_size
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["ScalingConfig"]["MaximumConcurrency"] == worker["ReservedConcurrentExecutions"]


def test_archive_worker_can_read_files_and_write_archives_only(resources: dict[str, Any]) -> None:
    found = allowed(resources, "Archive")

    assert found["/uploads/*"] == {"s3:GetObject", "s3:ListMultipartUploadParts"}
    assert "s3:PutObject" in found["/archives/*"]
    assert found["/archive-requests/*"] == {"s3:PutObject", "s3:DeleteObject"}
    assert not any("secretsmanager" in action for actions in found.values() for action in actions)


def test_preview_worker_reads_files_and_writes_previews_and_nothing_else(resources: dict[str, Any]) -> None:
    # The same permissions as in a local run, where the emulator enforces them.
    found = allowed(resources, "Preview")

    assert {end: actions for end, actions in found.items() if end.startswith("/")} == {
        f"/{prefix}*": set(actions) for prefix, actions in PREVIEW_ACTIONS.items()
    }
    others = {action for end, actions in found.items() if not end.startswith("/") for action in actions}
    assert others <= {
        *("logs:CreateLogStream", "logs:PutLogEvents", "xray:PutTraceSegments", "xray:PutTelemetryRecords"),
        *("sqs:ReceiveMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueUrl", "sqs:DeleteMessage", "sqs:GetQueueAttributes"),
    }


def test_preview_worker_runs_outside_the_network_without_settings_of_the_application(resources: dict[str, Any]) -> None:
    functions = [resource["Properties"] for resource in resources.values() if resource["Type"] == "AWS::Lambda::Function"]
    (worker,) = [function for function in functions if function["Handler"] == "lambda_preview.handler.handler"]

    assert "VpcConfig" not in worker
    assert set(worker["Environment"]["Variables"]) == {"S3_BUCKET_NAME"}
    # A gigabyte for the decoder, and a time limit that leaves it its 20 s.
    assert (worker["MemorySize"], worker["Timeout"]) == (2048, 60)
    role = next(value for key, value in resources.items() if key.startswith("PreviewRole") and value["Type"] == "AWS::IAM::Role")
    assert "WeUploadUnscanned" not in json.dumps(role)


@pytest.mark.parametrize(
    ("name", "granted"),
    [
        ("Api", {"/previews/*": {"s3:GetObject", "s3:DeleteObject"}, "/preview-requests/*": {"s3:PutObject"}}),
        (
            "ObjectCreated",
            {
                "/previews/*": {"s3:DeleteObject"},
                "/preview-requests/*": {"s3:PutObject"},
                "/preview-results/*": {"s3:GetObject", "s3:DeleteObject"},
            },
        ),
        ("Sweep", {"/previews/*": {"s3:DeleteObject"}, "/preview-requests/*": {"s3:PutObject"}}),
    ],
)
def test_function_has_only_the_permissions_on_previews_that_it_needs(
    resources: dict[str, Any], name: str, granted: dict[str, set[str]]
) -> None:
    assert {end: actions for end, actions in allowed(resources, name).items() if end.startswith("/preview")} == granted


def test_lambda_does_not_stop_workers_that_continue_their_own_work(prod: Synthesised) -> None:
    allowed = [function["Handler"] for function in prod.of_type("AWS::Lambda::Function") if function.get("RecursiveLoop") == "Allow"]

    assert sorted(handler.split(".")[2] for handler in allowed) == ["archive", "webhook_delivery", "webhook_queue"]


def test_api_can_request_archives_and_not_write_them(resources: dict[str, Any]) -> None:
    found = allowed(resources, "Api")

    assert found["/archives/*"] == {"s3:GetObject", "s3:DeleteObject", "s3:AbortMultipartUpload"}
    assert found["/archive-requests/*"] == {"s3:PutObject"}


@pytest.mark.parametrize(("name", "rate"), [("Sweep", "rate(15 minutes)"), ("Seal", "rate(1 minute)"), ("WebhookQueue", "rate(1 minute)")])
def test_scheduled_function_runs_its_live_version(resources: dict[str, Any], name: str, rate: str) -> None:
    (rule,) = [
        value["Properties"]
        for key, value in resources.items()
        if value["Type"] == "AWS::Events::Rule" and key.startswith(f"{name}Schedule")
    ]

    assert rule["ScheduleExpression"] == rate
    assert resources[rule["Targets"][0]["Arn"]["Ref"]]["Type"] == "AWS::Lambda::Alias"


def test_rotation_function_can_rotate_the_signing_key_and_nothing_else(resources: dict[str, Any]) -> None:
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


def test_only_functions_that_need_the_link_key_know_and_read_it(resources: dict[str, Any]) -> None:
    readers = {
        key.partition("Role")[0]
        for key, value in resources.items()
        if value["Type"] == "AWS::IAM::Policy" and "LinkKey" in json.dumps(value["Properties"]["PolicyDocument"])
    }
    functions = [value["Properties"] for value in resources.values() if value["Type"] == "AWS::Lambda::Function"]
    informed = {part["Handler"] for part in functions if "LINK_KEY_ARN" in part["Environment"]["Variables"]}
    (api,) = [part for part in functions if part["Handler"] == "lambda_app.main.handler"]

    # The sealer's function signs the links of notifications, the queue's decrypts the secrets of webhooks.
    assert readers == {"Api", "Admin", "Seal", "WebhookQueue"}
    assert informed == {f"lambda_app.{module}.handler" for module in ("main", "handlers.admin", "handlers.seal", "handlers.webhook_queue")}
    assert "LinkKey" in json.dumps(api["Environment"]["Variables"]["LINK_KEY_ARN"])
    (secrets,) = [
        statement
        for key, value in resources.items()
        if key.startswith("ApiRoleDefaultPolicy")
        for statement in value["Properties"]["PolicyDocument"]["Statement"]
        if "secretsmanager" in json.dumps(statement["Action"])
    ]
    assert secrets["Action"] == "secretsmanager:GetSecretValue"
    assert [re.findall("LinkKey|SigningKey", json.dumps(part))[0] for part in secrets["Resource"]] == ["LinkKey", "SigningKey"]


def test_function_that_sends_webhooks_is_outside_the_vpc_and_reaches_nothing_but_its_batches(resources: dict[str, Any]) -> None:
    (function,) = [
        value["Properties"]
        for value in resources.values()
        if value["Type"] == "AWS::Lambda::Function" and value["Properties"]["Handler"] == "lambda_app.handlers.webhook_delivery.handler"
    ]
    (policy,) = [value for key, value in resources.items() if key.startswith("WebhookDeliveryRoleDefaultPolicy")]
    text = json.dumps(policy)

    assert "VpcConfig" not in function
    assert set(function["Environment"]["Variables"]) == {"ENVIRONMENT", "S3_BUCKET_NAME", "LOG_LEVEL", "WEBHOOK_KEY_ARN"}
    found = allowed(resources, "WebhookDelivery")
    assert {end: actions for end, actions in found.items() if end.endswith("/*")} == {
        "/webhook-work/*": {"s3:GetObject", "s3:DeleteObject"},
        "/webhook-results/*": {"s3:PutObject"},
    }
    assert "rds-db" not in text
    assert re.findall("(?:Link|Signing|Log|Webhook)Key", text) == ["WebhookKey"]


def test_function_that_queues_webhooks_cannot_read_the_batches_that_it_wrote(resources: dict[str, Any]) -> None:
    found = allowed(resources, "WebhookQueue")

    assert {end: actions for end, actions in found.items() if end.endswith("/*")} == {
        "/webhook-work/*": {"s3:PutObject"},
        "/webhook-results/*": {"s3:GetObject", "s3:DeleteObject"},
    }


def test_all_other_functions_are_in_the_vpc(resources: dict[str, Any]) -> None:
    outside = {
        value["Properties"]["Handler"]
        for value in resources.values()
        if value["Type"] == "AWS::Lambda::Function" and "VpcConfig" not in value["Properties"]
    }

    assert {handler for handler in outside if handler.startswith("lambda_app.")} == {"lambda_app.handlers.webhook_delivery.handler"}


def test_only_the_sweep_can_list_uploads(resources: dict[str, Any]) -> None:
    allowed = {
        key.removesuffix("DefaultPolicy") for key, value in resources.items() if "s3:ListBucketMultipartUploads" in json.dumps(value)
    }

    assert len(allowed) == 1
    assert next(iter(allowed)).startswith("SweepRole")


def test_only_the_sealer_can_read_the_key_of_the_audit_log(resources: dict[str, Any]) -> None:
    readers = {key for key, value in resources.items() if value["Type"] == "AWS::IAM::Policy" and "LogKey" in json.dumps(value)}
    told = {key for key, value in resources.items() if value["Type"] == "AWS::Lambda::Function" and "LOG_KEY_ARN" in json.dumps(value)}

    assert [key.partition("Role")[0] for key in readers] == ["Seal"]
    assert [key.partition("Function")[0] for key in told] == ["Seal"]


def test_sealer_can_write_and_read_copies_of_checkpoints_only(resources: dict[str, Any]) -> None:
    (policy,) = [value for key, value in resources.items() if key.startswith("SealRoleDefaultPolicy")]
    text = json.dumps(policy)

    assert {end: set(actions) for end, actions in allowed(resources, "Seal").items() if end.endswith("/*")} == {
        "/audit-log/checkpoints/*": {"s3:PutObject", "s3:GetObject"}
    }
    assert "s3:Delete" not in text
    assert "rds-db:connect" in text


def test_age_of_unsealed_events_has_an_alarm_that_expects_a_value(resources: dict[str, Any]) -> None:
    (alarm,) = [
        value["Properties"]
        for value in resources.values()
        if value["Type"] == "AWS::CloudWatch::Alarm" and value["Properties"].get("MetricName") == "OldestUnsealedSeconds"
    ]

    assert (alarm["Threshold"], alarm["TreatMissingData"]) == (600, "breaching")


def test_workers_cannot_write_objects_or_read_the_signing_key(resources: dict[str, Any]) -> None:
    for name in ("ObjectCreated", "Sweep"):
        policies = [value for key, value in resources.items() if key.startswith(f"{name}RoleDefaultPolicy")]
        text = json.dumps(policies)

        assert "s3:DeleteObject" in text
        assert "rds-db:connect" in text
        assert not any(
            "s3:PutObject" in actions
            for end, actions in allowed(resources, name).items()
            if end not in ("/archive-requests/*", "/preview-requests/*")
        )
        assert "secretsmanager" not in text


def test_stage_without_previews_has_no_worker_and_shows_none(synthesise: Callable[..., Synthesised]) -> None:
    stage = synthesise(stage="dev", makes_previews="false")
    functions = stage.of_type("AWS::Lambda::Function")

    assert not [function for function in functions if function["Handler"] == "lambda_preview.handler.handler"]
    (api,) = [function for function in functions if function["Handler"] == "lambda_app.main.handler"]
    assert api["Environment"]["Variables"]["PREVIEWS_ENABLED"] == "false"
