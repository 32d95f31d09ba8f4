"""Gradual releases, the service level objective, the budget, dashboards and saved queries."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # ships no types

from infra.components.journeys import FIGURES, JOURNEYS, QUERIES
from infra.components.objectives import BURN_RATES
from tests.infra.conftest import ROOT, Synthesised

DOCUMENT = json.loads((ROOT / "docs" / "openapi.json").read_text())


def test_release_moves_a_tenth_first_and_goes_back_on_alarms(prod: Synthesised) -> None:
    (api,) = [value for key, value in prod.api["Resources"].items() if value["Type"] == "AWS::Lambda::Alias" and key.startswith("ApiLive")]
    group = prod.only("AWS::CodeDeploy::DeploymentGroup")

    update = api["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]
    assert update["DeploymentGroupName"]["Ref"].startswith("ReleaseGroup")
    assert group["DeploymentConfigName"] == "CodeDeployDefault.LambdaCanary10Percent5Minutes"
    assert set(group["AutoRollbackConfiguration"]["Events"]) == {
        "DEPLOYMENT_FAILURE",
        "DEPLOYMENT_STOP_ON_ALARM",
        "DEPLOYMENT_STOP_ON_REQUEST",
    }
    assert group["AlarmConfiguration"]["Enabled"] is True
    assert len(group["AlarmConfiguration"]["Alarms"]) == 3


def test_alarms_of_a_release_are_decided_within_the_canary(prod: Synthesised) -> None:
    alarms = [alarm for key, alarm in resources(prod, "AWS::CloudWatch::Alarm").items() if key.startswith("Release")]

    assert len(alarms) == 3
    assert all(alarm["Period"] * alarm["EvaluationPeriods"] <= 120 for alarm in alarms)
    # One on the alias, where errors of the new version count although the old one works.
    dimensions = json.dumps([alarm["Dimensions"] for alarm in alarms])
    assert dimensions.count(":live") == 2


def test_dev_moves_all_traffic_at_once(dev: Synthesised) -> None:
    assert not dev.of_type("AWS::CodeDeploy::DeploymentGroup")


def resources(stacks: Synthesised, kind: str) -> dict[str, dict[str, Any]]:
    return {key: value["Properties"] for key, value in stacks.api["Resources"].items() if value["Type"] == kind}


@pytest.mark.parametrize("name", BURN_RATES)
def test_burn_rate_alarm_needs_both_windows(prod: Synthesised, name: str) -> None:
    (alarm,) = [alarm for key, alarm in resources(prod, "AWS::CloudWatch::CompositeAlarm").items() if key.startswith(f"Objectives{name}")]
    windows = [alarm for key, alarm in resources(prod, "AWS::CloudWatch::Alarm").items() if key.startswith(f"Objectives{name}")]
    burn = BURN_RATES[name]

    rule = "".join(part if isinstance(part, str) else "X" for part in alarm["AlarmRule"]["Fn::Join"][1])
    assert re.fullmatch(r'\(ALARM\("X"\) AND ALARM\("X"\)\)', rule)
    assert alarm["AlarmActions"]
    assert {window["Threshold"] for window in windows} == {round(burn.factor / 1000, 6)}
    periods = {metric["MetricStat"]["Period"] for window in windows for metric in window["Metrics"] if "MetricStat" in metric}
    assert periods == {burn.long.to_seconds(), burn.short.to_seconds()}


def test_budget_warns_the_recipient_of_alarms(everything: Synthesised, prod: Synthesised) -> None:
    budget = everything.only("AWS::Budgets::Budget")
    warnings = budget["NotificationsWithSubscribers"]

    assert budget["Budget"]["BudgetLimit"] == {"Amount": 1000, "Unit": "USD"}
    assert budget["Budget"]["CostFilters"] == {"TagKeyValue": ["user:stage$prod"]}
    assert [warning["Notification"]["NotificationType"] for warning in warnings] == ["ACTUAL", "FORECASTED"]
    assert {subscriber["Address"] for warning in warnings for subscriber in warning["Subscribers"]} == {"ops@example.com"}
    assert not prod.of_type("AWS::Budgets::Budget")


def test_queries_are_saved_for_each_stage(prod: Synthesised, dev: Synthesised) -> None:
    names = {query["Name"] for query in prod.of_type("AWS::Logs::QueryDefinition")}

    assert names == {f"we-upload-prod/{name}" for name in QUERIES}
    assert not names & {query["Name"] for query in dev.of_type("AWS::Logs::QueryDefinition")}


def requests() -> list[tuple[str, str]]:
    return [(method.upper(), path) for path, operations in DOCUMENT["paths"].items() for method in operations]


@pytest.mark.parametrize("condition", [*JOURNEYS.values(), *FIGURES.values()], ids=[*JOURNEYS, *FIGURES])
def test_filters_of_the_dashboard_match_routes_of_the_api(condition: str) -> None:
    """A renamed route would leave a row of the dashboard empty."""
    (method,) = re.findall(r"method = '(\w+)'", condition) or [None]
    patterns = [pattern.replace(r"\/", "/") for pattern in re.findall(r"like /((?:[^/\\]|\\.)+)/", condition)]

    assert patterns
    for pattern in patterns:
        # A pattern may have alternatives, and each must match.
        for alternative in re.sub(r"\(\w.*\)", "", pattern).split("|") if "(" not in pattern else [pattern]:
            assert [path for verb, path in requests() if re.search(alternative, path) and method in (None, verb)], alternative


WORKFLOWS = ROOT / ".github" / "workflows"
DEPLOY_ROLE = ROOT / "infra" / "release" / "deploy-role.yaml"


def workflow(name: str) -> dict[str, Any]:
    # YAML 1.1 reads the key `on` as True.
    return dict(yaml.safe_load((WORKFLOWS / name).read_text()))


def test_workflow_deploys_the_stages_in_order_after_the_checks() -> None:
    jobs = workflow("deploy.yml")["jobs"]

    assert {name: job.get("needs") for name, job in jobs.items()} == {"check": None, "dev": "check", "staging": "dev", "prod": "staging"}
    assert [jobs[stage]["with"]["stage"] for stage in ("dev", "staging", "prod")] == ["dev", "staging", "prod"]
    assert jobs["check"]["uses"] == "./.github/workflows/ci.yml"
    assert "workflow_call" in workflow("ci.yml")[True]  # type: ignore[index]  # the key `on`


def test_workflow_gets_credentials_by_oidc_after_the_build_and_walks_last() -> None:
    called = workflow("deploy-stage.yml")
    (job,) = called["jobs"].values()
    steps = [step.get("uses", step.get("run", "")) for step in job["steps"]]
    text = (WORKFLOWS / "deploy-stage.yml").read_text()

    assert job["environment"] == "${{ inputs.stage }}"
    assert job["permissions"] == {"contents": "read", "id-token": "write"}
    build, credentials = (
        next(at for at, step in enumerate(steps) if part in step) for part in ("make package", "configure-aws-credentials")
    )
    assert build < credentials
    assert [step.split()[1] for step in steps[credentials + 1 :]] == ["preflight", "deploy", "walk"]
    assert "AWS_SECRET_ACCESS_KEY" not in text
    # An expression inside a script would let a variable run commands.
    assert not any("${{" in step for step in steps if step.startswith("make"))


class CloudFormationLoader(yaml.SafeLoader):  # type: ignore[misc]  # its base is untyped
    """Reads `!Sub` and the other short forms as their arguments."""


def _plain(loader: yaml.SafeLoader, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_scalar(node)
    return loader.construct_sequence(node, deep=True) if isinstance(node, yaml.SequenceNode) else loader.construct_mapping(node, deep=True)


CloudFormationLoader.add_multi_constructor("!", lambda loader, _suffix, node: _plain(loader, node))


def test_role_can_be_assumed_by_jobs_of_its_environment_only() -> None:
    role = yaml.load(DEPLOY_ROLE.read_text(), CloudFormationLoader)["Resources"]["Deploy"]["Properties"]  # noqa: S506 - a safe loader
    (trust,) = role["AssumeRolePolicyDocument"]["Statement"]

    assert trust["Condition"]["StringEquals"] == {
        "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
        "token.actions.githubusercontent.com:sub": "repo:${Repository}:environment:${Stage}",
    }
    statements = {statement["Sid"]: statement for statement in role["Policies"][0]["PolicyDocument"]["Statement"]}
    writes = {
        sid for sid, statement in statements.items() if statement["Effect"] == "Allow" and sid not in ("Bootstrap", "Stacks", "Preflight")
    }
    assert writes == {"RolesOfTheCdk", "OldVersions"}
    assert all(action.split(":")[1].startswith(("Describe", "Get", "GET")) for action in statements["Preflight"]["Action"])


def test_cfn_lint_accepts_the_role() -> None:
    command = [str(Path(sys.executable).with_name("cfn-lint")), "--template", str(DEPLOY_ROLE)]

    finished = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (finished.stdout, finished.returncode) == ("", 0)
