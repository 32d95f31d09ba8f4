"""Checks of every template: cdk-nag, cfn-lint, resource counts, policies, and synthesis without an account."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App, Stack
from aws_cdk import aws_s3 as s3

from infra.app import add_nag_checks
from tests.infra.conftest import BEHIND_FIREWALL, EVERYTHING, SMALL, Synthesised

COUNTS = Path(__file__).parent / "resource_counts.json"

SETTINGS = {
    "dev": {"stage": "dev"},
    "firewall": BEHIND_FIREWALL,
    "prod": {"stage": "prod"},
    "everything": EVERYTHING,
    "small": {"stage": "small"},
    "small-everything": SMALL,
}
"""Staging with default settings adds nothing to these; `make synth` checks it with cdk-nag too."""

ALLOWED_WILDCARDS = {
    "NetworkInterfaces": "network interfaces have no id before they exist, and Describe actions take no resource",
    "OwnBuckets": "an endpoint policy, limited to buckets of this account by its condition",
}
"""The statements that may use `*` as resource, with the reason."""


@pytest.fixture(params=sorted(SETTINGS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def stacks(name: str, synthesise: Callable[..., Synthesised]) -> Synthesised:
    return synthesise(**SETTINGS[name])


def test_cdk_nag_has_no_findings(stacks: Synthesised) -> None:
    assert json.loads((stacks.assembly / "validation-report.json").read_text())["pluginReports"] == []


def test_unsuppressed_finding_stops_the_synthesis(tmp_path: Path) -> None:
    app = App(outdir=str(tmp_path))
    s3.Bucket(Stack(app, "Stack"), "Bucket")
    add_nag_checks(app)

    with pytest.raises(RuntimeError, match="ValidationFailed"):
        app.synth()

    (report,) = json.loads((tmp_path / "validation-report.json").read_text())["pluginReports"]
    assert {violation["ruleName"] for violation in report["violations"]} == {"AwsSolutions-S1", "AwsSolutions-S10"}


def test_cfn_lint_accepts_the_templates(synthesise: Callable[..., Synthesised]) -> None:
    # One run with distinct templates: each run first reads the schemas of all resource types.
    texts = {
        path.read_text(): str(path) for settings in SETTINGS.values() for path in synthesise(**settings).assembly.glob("*.template.json")
    }
    # W3005: the CDK writes dependencies that CloudFormation would infer. W3691: cfn-lint lists minor versions of engines only; RDS accepts
    # a major version and takes its default minor version.
    ignored = ["W3005", "W3691"]
    command = [str(Path(sys.executable).with_name("cfn-lint")), "--ignore-checks", *ignored, "--template", *sorted(texts.values())]

    finished = subprocess.run(command, capture_output=True, text=True, check=False)

    assert len(texts) > 3 * len(SETTINGS) - 3
    assert (finished.stdout, finished.returncode) == ("", 0)


def test_number_of_resources_of_each_type_is_as_recorded(name: str, stacks: Synthesised) -> None:
    counts = dict(sorted(Counter(resource["Type"] for resource in stacks.resources.values()).items()))

    assert counts == json.loads(COUNTS.read_text())[name], "if the change is intended, run: make resource-counts"


def test_synthesis_needs_no_account(stacks: Synthesised) -> None:
    manifest = json.loads((stacks.assembly / "manifest.json").read_text())
    environments = {part["environment"] for part in manifest["artifacts"].values() if part["type"] == "aws:cloudformation:stack"}

    assert "missing" not in manifest
    # The region of the credentials; CloudFront's web ACL must be in us-east-1, and copies are in a region of their own.
    others = ({"us-east-1"} if stacks.firewall else set()) | ({"eu-west-1"} if stacks.recovery else set())
    assert environments == {f"aws://unknown-account/{region}" for region in {"unknown-region"} | others}


def test_wildcard_resource_has_a_reason(stacks: Synthesised) -> None:
    open_statements = [
        statement
        for document in _policies(stacks)
        for statement in document["Statement"]
        if statement["Effect"] == "Allow" and "*" in _listed(statement.get("Resource", []))
    ]
    # The CDK writes this statement without a Sid; its two actions take no resource.
    tracing = {"xray:PutTelemetryRecords", "xray:PutTraceSegments"}

    unexplained = [
        statement for statement in open_statements if statement.get("Sid") not in ALLOWED_WILDCARDS and set(statement["Action"]) != tracing
    ]
    assert unexplained == []


def test_no_policy_allows_every_action(stacks: Synthesised) -> None:
    allowed = [
        statement
        for document in _policies(stacks)
        for statement in document["Statement"]
        if statement["Effect"] == "Allow" and "*" in _listed(statement["Action"])
    ]

    assert allowed == []


def test_template_contains_no_password(stacks: Synthesised) -> None:
    for function in stacks.of_type("AWS::Lambda::Function"):
        environment = function["Environment"]["Variables"]
        assert not {"SECRET_KEY", "LINK_KEY"} & set(environment)
        assert "resolve:secretsmanager" not in json.dumps(environment)
    for kind in ("AWS::RDS::DBInstance", "AWS::RDS::DBCluster"):
        assert all("MasterUserPassword" not in properties for properties in stacks.of_type(kind))


def _policies(stacks: Synthesised) -> Iterator[dict[str, Any]]:
    """Yield every policy document except key policies, where `*` means the key itself."""
    for resource in stacks.resources.values():
        properties = resource.get("Properties", {})
        if "Statement" in properties.get("PolicyDocument", {}):
            yield properties["PolicyDocument"]
        yield from (policy["PolicyDocument"] for policy in properties.get("Policies", []))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
