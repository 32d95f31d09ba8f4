"""The checks of an AWS account. The answers are written from the examples of AWS's API references; none was recorded in an account."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]  # boto3 ships no types
import pytest
from botocore.exceptions import ClientError, NoCredentialsError  # type: ignore[import-untyped]  # botocore ships no types
from botocore.stub import Stubber  # type: ignore[import-untyped]  # botocore ships no types

from infra.config import STAGES, StageConfig
from infra.package.authorities import covered_regions
from infra.preflight import checks
from infra.preflight.__main__ import main, run_checks
from infra.preflight.account import Account
from infra.preflight.findings import Finding, Level

ACCOUNT_ID = "111122223333"
REGION = "us-east-1"
CERTIFICATE = f"arn:aws:acm:{REGION}:{ACCOUNT_ID}:certificate/0b0e0b0e-0000-4000-8000-000000000000"
ZONES = {"us-east-1a": "use1-az6", "us-east-1b": "use1-az1", "us-east-1c": "use1-az2", "us-east-1e": "use1-az3"}

Answer = tuple[str, str, dict[str, Any] | str]
"""Service, operation, and the response or the error code."""


@pytest.fixture
def account() -> Iterator[Callable[..., Account]]:
    """Return an account that gives the answers, for each service in this order."""
    with ExitStack() as stubs:
        yield lambda *answers, config=STAGES["dev"], region=REGION: stubbed(stubs, answers, config, region)


def stubbed(stubs: ExitStack, answers: tuple[Answer, ...], config: StageConfig, region: str) -> Account:
    clients: dict[str, Any] = {}
    for service in {service for service, _, _ in answers}:
        clients[service] = boto3.client(service, region_name=region, aws_access_key_id="x", aws_secret_access_key="x")
        stubber = stubs.enter_context(Stubber(clients[service]))
        for _, operation, answer in (answer for answer in answers if answer[0] == service):
            if isinstance(answer, str):
                stubber.add_client_error(operation, service_error_code=answer)
            else:
                stubber.add_response(operation, answer)
    return Account(ACCOUNT_ID, region, config, lambda service, _region=region: clients[service])


def levels(found: Iterator[Finding]) -> list[str]:
    return [finding.level.value for finding in found]


def zones_answers(*, endpoint: tuple[str, ...] = tuple(ZONES), offered: tuple[str, ...] = tuple(ZONES)) -> tuple[Answer, ...]:
    described = [
        {"ZoneName": name, "ZoneId": zone, "State": "available", "RegionName": REGION, "ZoneType": "availability-zone"}
        for name, zone in ZONES.items()
    ]
    option = {"Engine": "postgres", "EngineVersion": "17.7", "AvailabilityZones": [{"Name": zone} for zone in offered], "Vpc": True}
    return (
        ("ec2", "describe_availability_zones", {"AvailabilityZones": described}),
        (
            "ec2",
            "describe_vpc_endpoint_services",
            {"ServiceDetails": [{"ServiceName": f"com.amazonaws.{REGION}.secretsmanager", "AvailabilityZones": list(endpoint)}]},
        ),
        ("rds", "describe_db_engine_versions", {"DBEngineVersions": [{"Engine": "postgres", "EngineVersion": "17.7"}]}),
        ("rds", "describe_orderable_db_instance_options", {"OrderableDBInstanceOptions": [option]}),
    )


def test_zone_without_rds_proxy_is_an_error_with_zones_to_choose(account: Callable[..., Account]) -> None:
    config = replace(STAGES["dev"], zones=("us-east-1a", "us-east-1e"))

    (found,) = checks.check_zones(account(*zones_answers(), config=config))

    assert (found.level, found.message) == (Level.ERROR, "us-east-1e (use1-az3) lacks RDS Proxy.")
    assert "-c zones=us-east-1a,us-east-1b" in found.remedy


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (zones_answers(endpoint=("us-east-1b", "us-east-1c")), f"lacks the endpoint com.amazonaws.{REGION}.secretsmanager"),
        (zones_answers(offered=("us-east-1b", "us-east-1c")), "lacks the database"),
    ],
    ids=["endpoint", "database"],
)
def test_zone_without_endpoint_or_database_is_an_error(account: Callable[..., Account], answers: tuple[Answer, ...], message: str) -> None:
    (found,) = checks.check_zones(account(*answers))

    assert found.level is Level.ERROR
    assert message in found.message
    assert "-c zones=us-east-1b,us-east-1c" in found.remedy


def test_region_without_the_endpoint_for_mail_is_an_error(account: Callable[..., Account]) -> None:
    config = replace(STAGES["dev"], mail_from="files@mail.example.com", public_url="https://files.example.com")
    unknown = ("ec2", "describe_vpc_endpoint_services", "InvalidServiceName")
    described, offered, *rest = zones_answers()

    found = list(checks.check_zones(account(described, offered, unknown, *rest, config=config)))

    assert [finding.message for finding in found] == [
        f"{zone} ({ZONES[zone]}) lacks the endpoint com.amazonaws.{REGION}.email." for zone in ("us-east-1a", "us-east-1b")
    ]
    assert found[0].remedy == f"Deploy to another region: {REGION} has only 0 usable zones."


def test_first_zones_of_the_region_are_the_default(account: Callable[..., Account]) -> None:
    (found,) = checks.check_zones(account(*zones_answers()))

    assert (found.level, found.message) == (Level.OK, "us-east-1a (use1-az6), us-east-1b (use1-az1) have all services.")


def test_unknown_zone_is_an_error(account: Callable[..., Account]) -> None:
    config = replace(STAGES["dev"], zones=("us-east-1a", "us-west-2a"))

    (found,) = checks.check_zones(account(*zones_answers(), config=config))

    assert (found.level, found.message) == (Level.ERROR, "us-east-1 has no zone us-west-2a.")


def test_region_with_too_few_usable_zones_is_an_error(account: Callable[..., Account]) -> None:
    found = list(checks.check_zones(account(*zones_answers(offered=("us-east-1a",)))))

    assert [finding.remedy for finding in found] == ["Deploy to another region: us-east-1 has only 1 usable zones."]


@pytest.mark.parametrize(
    ("versions", "options", "level"), [([], [], "error"), (["17.7"], [], "error"), (["17.7"], ["us-east-1a"], "ok")], ids=str
)
def test_engine_must_be_offered_in_the_size_of_the_stage(
    account: Callable[..., Account], versions: list[str], options: list[str], level: str
) -> None:
    described = {"DBEngineVersions": [{"Engine": "postgres", "EngineVersion": version} for version in versions]}
    orderable = {"OrderableDBInstanceOptions": [{"AvailabilityZones": [{"Name": zone}]} for zone in options]}
    answers = [("rds", "describe_db_engine_versions", described)] * 2 + [("rds", "describe_orderable_db_instance_options", orderable)]

    assert levels(checks.check_engine(account(*answers))) == [level]


@pytest.mark.parametrize(
    ("stage", "total", "unreserved", "level"),
    [
        ("dev", 10, 10, "warning"),
        ("dev", 1000, 1000, "ok"),
        ("prod", 10, 10, "error"),
        ("prod", 1000, 663, "error"),
        ("prod", 1000, 1000, "ok"),
    ],
)
def test_concurrency_limit_must_admit_the_reservations(
    account: Callable[..., Account], stage: str, total: int, unreserved: int, level: str
) -> None:
    limit = {"AccountLimit": {"ConcurrentExecutions": total, "UnreservedConcurrentExecutions": unreserved}}
    answers = [("lambda", "get_account_settings", limit), ("cloudformation", "describe_stacks", "ValidationError")]

    assert levels(checks.check_concurrency(account(*answers, config=STAGES[stage]))) == [level]


def test_stage_that_has_its_reservations_needs_no_more(account: Callable[..., Account]) -> None:
    limit = {"AccountLimit": {"ConcurrentExecutions": 1000, "UnreservedConcurrentExecutions": 400}}
    answers = [("lambda", "get_account_settings", limit), ("cloudformation", "describe_stacks", stack("UPDATE_COMPLETE"))]

    assert levels(checks.check_concurrency(account(*answers, config=STAGES["prod"]))) == ["ok"]


@pytest.mark.parametrize(("region", "level"), [("ap-east-2", "error"), ("eu-central-1", "ok")])
def test_region_must_offer_the_snapshots_of_functions(account: Callable[..., Account], region: str, level: str) -> None:
    assert levels(checks.check_snapshots(account(region=region))) == [level]


def test_stage_without_snapshots_is_deployed_to_any_region(account: Callable[..., Account]) -> None:
    assert levels(checks.check_snapshots(account(region="ap-east-2", config=STAGES["small"]))) == []


@pytest.mark.parametrize(
    ("preferences", "level"),
    [({"RDS": True, "Aurora": False}, "error"), ({"RDS": True}, "error"), ({"RDS": False, "Aurora": True}, "ok")],
    ids=["refused", "unset", "allowed"],
)
def test_backups_of_a_cluster_need_the_opt_in_of_the_account(
    account: Callable[..., Account], preferences: dict[str, bool], level: str
) -> None:
    config = replace(STAGES["prod"], recovery_region="eu-west-1")
    answers = [("backup", "describe_region_settings", {"ResourceTypeOptInPreference": preferences})]

    (found,) = checks.check_backups(account(*answers, config=config))

    assert found.level == level
    assert level == "ok" or found.remedy.endswith("update-region-settings --resource-type-opt-in-preference Aurora=true")


@pytest.mark.parametrize("config", [STAGES["prod"], replace(STAGES["dev"], recovery_region="eu-west-1")], ids=["no copies", "instance"])
def test_other_stages_need_no_opt_in(account: Callable[..., Account], config: StageConfig) -> None:
    assert levels(checks.check_backups(account(config=config))) == []


def stack(status: str) -> dict[str, Any]:
    return {"Stacks": [{"StackName": "WeUpload-dev-Data", "CreationTime": "2026-01-01T00:00:00Z", "StackStatus": status}]}


@pytest.mark.parametrize(
    ("answer", "level"),
    [("ParameterNotFound", "error"), ({"Parameter": {"Value": "5"}}, "error"), ({"Parameter": {"Value": "30"}}, "ok")],
    ids=["missing", "old", "current"],
)
def test_bootstrap_must_exist_in_the_needed_version(account: Callable[..., Account], answer: dict[str, Any] | str, level: str) -> None:
    (found,) = checks.check_bootstrap(account(("ssm", "get_parameter", answer)))

    assert found.level == level
    assert level == "ok" or found.remedy == f"Run: node_modules/.bin/cdk bootstrap aws://{ACCOUNT_ID}/{REGION}"


def test_firewall_needs_the_bootstrap_of_its_region_too(account: Callable[..., Account]) -> None:
    config = replace(STAGES["prod"], firewall=True, domain_name="files.example.com", certificate_arn=CERTIFICATE)
    answers = [("ssm", "get_parameter", {"Parameter": {"Value": "30"}}), ("ssm", "get_parameter", "ParameterNotFound")]

    assert levels(checks.check_bootstrap(account(*answers, config=config, region="eu-central-1"))) == ["ok", "error"]


def test_recovery_region_needs_its_bootstrap_and_its_stack_is_checked(account: Callable[..., Account]) -> None:
    config = replace(STAGES["prod"], recovery_region="eu-west-1")
    bootstraps = [("ssm", "get_parameter", answer) for answer in ("ParameterNotFound", {"Parameter": {"Value": "30"}})]
    stacks = [("cloudformation", "describe_stacks", answer) for answer in (*["ValidationError"] * 3, stack("ROLLBACK_COMPLETE"))]

    found = [*checks.check_bootstrap(account(*bootstraps, config=config)), *checks.check_stacks(account(*stacks, config=config))]

    assert [finding.message for finding in found if finding.level is Level.ERROR] == [
        "eu-west-1 is not bootstrapped for the CDK.",
        "WeUpload-prod-Recovery is in the state ROLLBACK_COMPLETE, which no deployment can continue.",
    ]


@pytest.mark.parametrize(
    ("status", "level"),
    [("CREATE_COMPLETE", "ok"), ("ROLLBACK_COMPLETE", "error"), ("UPDATE_IN_PROGRESS", "error"), ("UPDATE_ROLLBACK_COMPLETE", "ok")],
)
def test_stack_that_no_deployment_can_continue_is_an_error(account: Callable[..., Account], status: str, level: str) -> None:
    answers = [("cloudformation", "describe_stacks", answer) for answer in (stack(status), "ValidationError", "ValidationError")]

    assert levels(checks.check_stacks(account(*answers))) == [level, "ok", "ok"]


def test_names_and_vpcs_of_a_new_stage_must_be_free(account: Callable[..., Account]) -> None:
    proxy = {"DBProxies": [{"DBProxyName": "we-upload-dev"}]}
    quota = {"Quota": {"Value": 5.0}}
    answers = [
        ("cloudformation", "describe_stacks", "ValidationError"),
        ("rds", "describe_db_proxies", proxy),
        ("cloudformation", "describe_stacks", "ValidationError"),
        ("service-quotas", "get_service_quota", quota),
        ("ec2", "describe_vpcs", {"Vpcs": [{"VpcId": f"vpc-{number}"} for number in range(5)]}),
    ]

    found = list(checks.check_names(account(*answers)))

    assert [finding.message for finding in found] == [
        "An RDS Proxy we-upload-dev exists, but not the stack that would own it.",
        "The region has 5 of 5 VPCs.",
    ]


def test_names_of_a_deployed_stage_are_its_own(account: Callable[..., Account]) -> None:
    answers = [("cloudformation", "describe_stacks", stack("CREATE_COMPLETE"))] * 2

    assert levels(checks.check_names(account(*answers))) == ["ok"]


@pytest.mark.parametrize(
    ("certificate", "messages"),
    [
        ({"Status": "ISSUED", "DomainName": "*.example.com"}, ["The certificate is valid for files.example.com."]),
        ({"Status": "PENDING_VALIDATION", "DomainName": "files.example.com"}, ["The certificate is PENDING_VALIDATION."]),
        ({"Status": "ISSUED", "DomainName": "example.com"}, ["The certificate is for example.com."]),
    ],
    ids=["wildcard", "pending", "other-domain"],
)
def test_certificate_must_be_issued_for_the_domain(
    account: Callable[..., Account], certificate: dict[str, Any], messages: list[str]
) -> None:
    config = replace(STAGES["prod"], domain_name="files.example.com", certificate_arn=CERTIFICATE)
    answers = [
        ("acm", "describe_certificate", {"Certificate": certificate}),
        ("cloudformation", "describe_stacks", "ValidationError"),
        ("apigatewayv2", "get_domain_name", "NotFoundException"),
    ]

    assert [finding.message for finding in checks.check_domain(account(*answers, config=config))] == messages


def test_domain_that_api_gateway_has_already_is_an_error(account: Callable[..., Account]) -> None:
    config = replace(STAGES["prod"], domain_name="files.example.com", certificate_arn=CERTIFICATE)
    answers = [
        ("acm", "describe_certificate", {"Certificate": {"Status": "ISSUED", "DomainName": "files.example.com"}}),
        ("cloudformation", "describe_stacks", "ValidationError"),
        ("apigatewayv2", "get_domain_name", {"DomainName": "files.example.com"}),
    ]

    assert levels(checks.check_domain(account(*answers, config=config))) == ["ok", "error"]


@pytest.mark.parametrize("region", ["eu-central-1", REGION], ids=["wrong-region", "missing"])
def test_certificate_must_exist_in_the_region(account: Callable[..., Account], region: str) -> None:
    config = replace(STAGES["prod"], domain_name="files.example.com", certificate_arn=CERTIFICATE)
    answers = [("acm", "describe_certificate", "ResourceNotFoundException")]

    (found,) = checks.check_domain(account(*answers, config=config, region=region))

    assert (found.level, found.remedy) == (Level.ERROR, f"Create a certificate for files.example.com in {region} (ACM).")


WITH_MAIL = replace(STAGES["prod"], mail_from="files@mail.example.com", public_url="https://app.example.com")


@pytest.mark.parametrize(
    ("sending", "production", "identity", "expected"),
    [
        (True, True, {"VerifiedForSendingStatus": True}, ["ok"]),
        (True, False, {"VerifiedForSendingStatus": True}, ["warning", "ok"]),
        (False, True, {"VerifiedForSendingStatus": False}, ["error", "error"]),
        (True, True, "NotFoundException", ["error"]),
    ],
    ids=["ready", "sandbox", "paused", "missing"],
)
def test_mail_needs_a_verified_identity_and_production_access(
    account: Callable[..., Account], sending: bool, production: bool, identity: dict[str, Any] | str, expected: list[str]
) -> None:
    answers = [
        ("sesv2", "get_account", {"SendingEnabled": sending, "ProductionAccessEnabled": production}),
        ("sesv2", "get_email_identity", identity),
    ]

    assert levels(checks.check_mail(account(*answers, config=WITH_MAIL))) == expected


def test_identity_that_the_stage_would_create_must_not_exist(account: Callable[..., Account]) -> None:
    answers = [
        ("sesv2", "get_account", {"SendingEnabled": True, "ProductionAccessEnabled": True}),
        ("sesv2", "get_email_identity", {"VerifiedForSendingStatus": True}),
        ("cloudformation", "describe_stacks", "ValidationError"),
    ]
    config = replace(WITH_MAIL, makes_mail_identity=True)

    assert levels(checks.check_mail(account(*answers, config=config))) == ["error"]


def test_package_must_have_the_authorities_of_the_region(
    account: Callable[..., Account], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "rds-ca.pem"
    monkeypatch.setattr(checks, "AUTHORITIES", bundle)
    assert levels(checks.check_authorities(account())) == ["warning"]

    bundle.write_text("")
    assert covered_regions("") == set()
    (found,) = checks.check_authorities(account())
    assert found.level is Level.ERROR
    assert "us-east-1/us-east-1-bundle.pem" in found.remedy


def test_check_that_aws_refuses_is_unknown_and_the_others_run(account: Callable[..., Account]) -> None:
    def denied(_: Account) -> Iterator[Finding]:
        raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "GetAccountSettings")

    found = list(run_checks(account(), (denied, checks.check_domain)))

    assert [finding.level for finding in found] == [Level.UNKNOWN, Level.OK]
    assert "GetAccountSettings" in found[0].remedy


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--stage", "production"], "stage must be one of"),
        (["--stage", "local"], "the local stage is not deployed"),
        (["--stage", "prod", "-c", "firewall=true"], "firewall needs domain_name"),
    ],
)
def test_invalid_settings_are_reported_before_any_call(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments, open_session=lambda: pytest.fail("no call may be made")) == 1
    assert message in capsys.readouterr().out


def test_missing_credentials_are_reported_with_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    class Session:
        def get_config_variable(self, _: str) -> str:
            return REGION

        def create_client(self, *_: object, **__: object) -> Any:
            raise NoCredentialsError

    assert main(["--stage", "dev", "--require-approval", "never"], open_session=Session) == 1
    assert "aws configure" in capsys.readouterr().out
