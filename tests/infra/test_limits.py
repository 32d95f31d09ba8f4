"""Quotas that neither the synthesis nor the emulator enforces: AWS refuses the deployment, or drops a part without an error."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import pytest

from infra.config import STAGES, VaultLock
from tests.infra.conftest import BEHIND_FIREWALL, EVERYTHING, SMALL, Synthesised

RESOURCES_MAX = 500
OUTPUTS_MAX = 200
TEMPLATE_BYTES_MAX = 1_000_000
"""CloudFormation user guide, "Understand CloudFormation quotas"."""
INLINE_POLICIES_BYTES_MAX = 10_240
"""All inline policies of a role together, without white space (IAM user guide, "IAM and AWS STS quotas")."""
FUNCTION_POLICY_BYTES_MAX = 20_480
VARIABLES_BYTES_MAX = 4_096
"""Lambda developer guide, "Lambda quotas"."""
BUCKET_POLICY_BYTES_MAX = 20_480
ROUTES_MAX = 300
"""API Gateway developer guide, "Quotas for configuring and running an HTTP API"."""
SNAPSHOT_STORAGE_MB_MAX = 512
"""Lambda developer guide, "Improving startup performance with Lambda SnapStart": no more ephemeral storage, no EFS."""
SQS_CONCURRENCY_MIN = 2
SECONDS_OF_A_DAY = 86_400

SETTINGS = {"dev": {"stage": "dev"}, "firewall": BEHIND_FIREWALL, "everything": EVERYTHING, "small": SMALL}

LONG_NAME = "arn:aws:lambda:ap-southeast-2:111122223333:function:WeUpload-staging-Api-RotateSigningKeyFunction-A1B2C3D4E5F6"
"""What stands for a name that CloudFormation generates: longer than most."""
PSEUDO = {"AWS::Partition": "aws", "AWS::Region": "ap-southeast-2", "AWS::AccountId": "111122223333", "AWS::URLSuffix": "amazonaws.com"}


@pytest.fixture(params=sorted(SETTINGS))
def stacks(request: pytest.FixtureRequest, synthesise: Callable[..., Synthesised]) -> Synthesised:
    return synthesise(**SETTINGS[request.param])


def deployed(value: Any) -> Any:
    """Return a part of a template as CloudFormation sends it, with long names for what it generates."""
    if isinstance(value, list):
        return [deployed(item) for item in value]
    if not isinstance(value, dict):
        return value
    match value:
        case {"Ref": str(name)}:
            return PSEUDO.get(name, LONG_NAME)
        case {"Fn::Join": [separator, parts]}:
            return separator.join(map(str, deployed(parts)))
        case _ if len(value) == 1 and next(iter(value)).startswith("Fn::"):
            return LONG_NAME
    return {key: deployed(item) for key, item in value.items()}


def size(value: Any) -> int:
    """The bytes of a policy without white space."""
    return len(json.dumps(deployed(value), separators=(",", ":")))


def test_templates_are_within_the_quotas_of_cloudformation(stacks: Synthesised) -> None:
    for path in stacks.assembly.glob("*.template.json"):
        template = json.loads(path.read_text())

        assert len(template["Resources"]) <= RESOURCES_MAX
        assert len(template.get("Outputs", {})) <= OUTPUTS_MAX
        assert path.stat().st_size <= TEMPLATE_BYTES_MAX


def test_inline_policies_of_a_role_are_within_the_quota(stacks: Synthesised) -> None:
    bytes_of: Counter[str] = Counter()
    for policy in stacks.of_type("AWS::IAM::Policy"):
        for role in policy["Roles"]:
            bytes_of[json.dumps(role)] += size(policy["PolicyDocument"])

    assert bytes_of
    assert max(bytes_of.values()) <= INLINE_POLICIES_BYTES_MAX


def test_function_policies_are_within_the_quota_and_all_routes_of_the_api_share_one_statement(stacks: Synthesised) -> None:
    statements = defaultdict(list)
    for permission in stacks.of_type("AWS::Lambda::Permission"):
        statements[json.dumps(permission["FunctionName"])].append(permission)
    of_gateway = [
        permission["SourceArn"]
        for permission in stacks.of_type("AWS::Lambda::Permission")
        if permission["Principal"] == "apigateway.amazonaws.com" and '"/*/*/sign-in/' not in json.dumps(permission)
    ]
    integrations = {
        json.dumps(integration["IntegrationUri"])
        for integration in stacks.of_type("AWS::ApiGatewayV2::Integration")
        if "Identity" not in json.dumps(integration["IntegrationUri"])
    }

    assert max(sum(map(size, group)) for group in statements.values()) <= FUNCTION_POLICY_BYTES_MAX
    # Any stage and route of this API; the ARN of the default route has one part less than those of the others.
    assert [arn["Fn::Join"][1][-2:] for arn in of_gateway] == [[{"Ref": "GatewayApi4EDF2151"}, "/*/*"]]
    assert len(integrations) == 1


def test_variables_of_a_function_are_within_the_quota(stacks: Synthesised) -> None:
    for function in stacks.of_type("AWS::Lambda::Function"):
        assert size(function.get("Environment", {}).get("Variables", {})) <= VARIABLES_BYTES_MAX


def test_bucket_policies_are_within_the_quota(stacks: Synthesised) -> None:
    assert all(size(policy["PolicyDocument"]) <= BUCKET_POLICY_BYTES_MAX for policy in stacks.of_type("AWS::S3::BucketPolicy"))


def test_routes_of_the_gateway_are_within_the_quota_and_limited_routes_exist(stacks: Synthesised) -> None:
    routes = {route["RouteKey"] for route in stacks.of_type("AWS::ApiGatewayV2::Route")}

    assert len(routes) <= ROUTES_MAX
    assert set(stacks.only("AWS::ApiGatewayV2::Stage")["RouteSettings"]) <= routes


def test_snapshots_are_not_combined_with_what_excludes_them(stacks: Synthesised) -> None:
    for function in stacks.of_type("AWS::Lambda::Function"):
        if "SnapStart" in function:
            assert "FileSystemConfigs" not in function
            assert function.get("EphemeralStorage", {}).get("Size", 0) <= SNAPSHOT_STORAGE_MB_MAX
    assert not any("ProvisionedConcurrencyConfig" in alias for alias in stacks.of_type("AWS::Lambda::Alias"))


def test_queues_wait_longer_than_their_function_and_have_the_concurrency_that_sqs_accepts(stacks: Synthesised) -> None:
    for mapping in stacks.of_type("AWS::Lambda::EventSourceMapping"):
        assert mapping["ScalingConfig"]["MaximumConcurrency"] >= SQS_CONCURRENCY_MIN
    timeouts = [function["Timeout"] for function in stacks.of_type("AWS::Lambda::Function")]
    waits = [queue["VisibilityTimeout"] for queue in stacks.of_type("AWS::SQS::Queue") if "VisibilityTimeout" in queue]
    assert max(waits) >= 6 * max(timeouts)


def test_alarms_evaluate_at_most_a_day(stacks: Synthesised) -> None:
    for alarm in stacks.of_type("AWS::CloudWatch::Alarm"):
        periods = (
            [alarm["Period"]] if "Period" in alarm else [part["MetricStat"]["Period"] for part in alarm["Metrics"] if "MetricStat" in part]
        )
        assert max(periods) * alarm["EvaluationPeriods"] <= SECONDS_OF_A_DAY
        assert len(alarm.get("Metrics", [])) <= 10


def test_locked_vault_admits_the_retention_of_the_plan(stacks: Synthesised) -> None:
    kept = {
        rule["Lifecycle"]["DeleteAfterDays"]
        for plan in stacks.of_type("AWS::Backup::BackupPlan")
        for rule in plan["BackupPlan"]["BackupPlanRule"]
    }
    for vault in stacks.of_type("AWS::Backup::BackupVault"):
        lock = vault["LockConfiguration"]
        assert all(lock["MinRetentionDays"] <= days <= lock["MaxRetentionDays"] for days in kept)
        # Only `compliance` has this property; without it the lock can be removed.
        assert lock.get("ChangeableForDays", 3) >= 3


def test_compliance_lock_is_never_the_default() -> None:
    # It cannot be removed, so a stage must ask for it.
    assert {stage.vault_lock for stage in STAGES.values()} == {VaultLock.NONE}
