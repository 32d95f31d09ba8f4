"""The API stack: functions, gateway, migration, alarms."""

import json
import re
from pathlib import Path
from typing import Any

from infra.components.functions import FUNCTIONS
from infra.components.objectives import BURN_RATES
from lambda_app.routers.http.costly_routes import COSTLY_ROUTES
from tests.infra.conftest import ROOT, Synthesised


def functions(stacks: Synthesised) -> dict[str, dict[str, Any]]:
    """Properties of our functions, by handler."""
    found = [resource for resource in stacks.api["Resources"].values() if resource["Type"] == "AWS::Lambda::Function"]
    return {resource["Properties"]["Handler"]: resource["Properties"] for resource in found}


def test_every_handler_in_the_tree_is_deployed_and_no_other(prod: Synthesised, everything: Synthesised, small: Synthesised) -> None:
    modules = (ROOT / "lambda_app" / "handlers").glob("[!_]*.py")
    entry_points = {f"lambda_app.handlers.{path.stem}.handler" for path in modules if "\ndef handler(" in path.read_text()}

    optional = {"lambda_app.handlers.scan_results.handler", "lambda_app.handlers.rotate_stored_key.handler"}
    others = {"lambda_app.main.handler", "lambda_preview.handler.handler"}
    assert set(functions(prod)) == entry_points - optional | others
    assert {*functions(everything), *functions(small)} == entry_points | others


def test_spec_without_a_handler_module_is_left_out() -> None:
    missing = [spec for spec in FUNCTIONS if not spec.exists]

    assert all(not Path(ROOT, *spec.handler.split(".")[:-1]).with_suffix(".py").exists() for spec in missing)


def test_functions_run_the_python_and_processor_of_their_package(prod: Synthesised) -> None:
    for function in functions(prod).values():
        assert (function["Runtime"], function["Architectures"]) == ("python3.13", ["arm64"])


def test_api_starts_from_a_snapshot_and_is_called_by_its_alias(prod: Synthesised) -> None:
    alias_targets = [alias["FunctionVersion"]["Fn::GetAtt"][1] for alias in prod.of_type("AWS::Lambda::Alias")]
    (called,) = {integration["IntegrationUri"]["Ref"] for integration in prod.of_type("AWS::ApiGatewayV2::Integration")}

    assert functions(prod)["lambda_app.main.handler"]["SnapStart"] == {"ApplyOn": "PublishedVersions"}
    assert set(alias_targets) == {"Version"}
    assert prod.api["Resources"][called]["Type"] == "AWS::Lambda::Alias"


def test_older_versions_are_retained_for_rollback(prod: Synthesised) -> None:
    versions = [resource for resource in prod.resources.values() if resource["Type"] == "AWS::Lambda::Version"]

    assert {version["DeletionPolicy"] for version in versions} == {"Retain"}


def test_every_function_has_its_own_role_and_a_concurrency_limit(prod: Synthesised) -> None:
    all_functions = list(functions(prod).values())

    assert len({function["Role"]["Fn::GetAtt"][0] for function in all_functions}) == len(all_functions)
    assert all(function["ReservedConcurrentExecutions"] > 0 for function in all_functions)
    assert functions(prod)["lambda_app.main.handler"]["ReservedConcurrentExecutions"] == 500


def test_application_signs_in_through_the_proxy_without_a_password(prod: Synthesised) -> None:
    environment = functions(prod)["lambda_app.main.handler"]["Environment"]["Variables"]
    address = json.dumps(environment["DATABASE_URL"])

    assert environment["DATABASE_IAM_AUTH"] == "true"
    assert "postgresql://we_upload@" in address
    assert "sslmode=verify-full" in address
    assert "DatabaseProxy" in address


def test_api_cannot_sign_in_as_the_database_owner(prod: Synthesised) -> None:
    policies = {key: value for key, value in prod.api["Resources"].items() if value["Type"] == "AWS::IAM::Policy"}
    of_api = json.dumps([policy for key, policy in policies.items() if key.startswith("ApiRole")])

    assert "rds-db:connect" in of_api
    assert of_api.count("secretsmanager:GetSecretValue") == 1
    assert "/we_upload" in of_api
    assert "MasterUserSecret" not in of_api


def test_migration_can_sign_in_as_the_owner_by_password_and_by_token(prod: Synthesised) -> None:
    policies = [policy for key, policy in prod.api["Resources"].items() if key.startswith("MigrationMigrateRoleDefaultPolicy")]
    environment = functions(prod)["lambda_app.handlers.migrate.handler"]["Environment"]["Variables"]

    assert '-*/postgres"' in json.dumps(policies)
    assert '"rds-db:connect"' in json.dumps(policies)
    assert '"secretsmanager:GetSecretValue"' in json.dumps(policies)
    assert "sslrootcert=/var/task/certs/rds-ca.pem" in json.dumps(environment["DATABASE_URL"])
    assert environment["DATABASE_APP_ROLE"] == "we_upload"


def test_new_version_takes_traffic_only_after_the_migration(prod: Synthesised) -> None:
    resources = prod.api["Resources"]
    (step,) = [key for key, resource in resources.items() if resource["Type"] == "Custom::DatabaseMigration"]
    aliases = {key: value for key, value in resources.items() if value["Type"] == "AWS::Lambda::Alias" and not key.startswith("Migration")}

    assert aliases
    assert all(step in alias["DependsOn"] for alias in aliases.values())
    assert resources[step]["Properties"]["Package"] == "0" * 64


def test_migration_without_a_response_stops_the_deployment_in_minutes(prod: Synthesised) -> None:
    (step,) = prod.of_type("Custom::DatabaseMigration")

    assert int(step["ServiceTimeout"]) <= 900


def test_access_log_contains_no_path_query_or_header(prod: Synthesised) -> None:
    (stage,) = prod.of_type("AWS::ApiGatewayV2::Stage")
    assert all(isinstance(value, str) for value in json.loads(stage["AccessLogSettings"]["Format"]).values())
    # Its value is quoted already, which would break the JSON line.
    assert "messageString" not in stage["AccessLogSettings"]["Format"]
    logged = set(re.findall(r"\$context\.[\w.]+", stage["AccessLogSettings"]["Format"]))

    assert "$context.routeKey" in logged
    assert not {"$context.path", "$context.protocol", "$context.domainName"} & logged
    assert not any("header" in name.lower() or "query" in name.lower() for name in logged)


def test_sign_in_routes_have_a_lower_rate_limit(prod: Synthesised) -> None:
    (stage,) = prod.of_type("AWS::ApiGatewayV2::Stage")
    routes = {route["RouteKey"] for route in prod.of_type("AWS::ApiGatewayV2::Route")}

    assert stage["DefaultRouteSettings"]["ThrottlingRateLimit"] == 1000
    assert set(stage["RouteSettings"]) < routes
    for path in ("/login/token", "/api/v1/login/token", "/api/v1/login/forgot-password", "/api/v1/users", "/s/{token}"):
        assert f"POST {path}" in stage["RouteSettings"]
    assert set(stage["RouteSettings"]) == set(COSTLY_ROUTES)
    assert functions(prod)["lambda_app.main.handler"]["Environment"]["Variables"]["GATEWAY_HAS_COSTLY_ROUTES"] == "true"
    for limit in stage["RouteSettings"].values():
        assert (limit["ThrottlingRateLimit"], limit["ThrottlingBurstLimit"]) == (50, 100)


def test_sign_in_at_providers_runs_outside_the_vpc_without_database_and_signing_key(behind_firewall: Synthesised) -> None:
    function = functions(behind_firewall)["lambda_app.identity_main.handler"]
    environment = function["Environment"]["Variables"]
    policies = [value for key, value in behind_firewall.api["Resources"].items() if key.startswith("IdentityRoleDefaultPolicy")]
    statements = [statement for policy in policies for statement in policy["Properties"]["PolicyDocument"]["Statement"]]
    actions = {action for one in statements for action in (one["Action"] if isinstance(one["Action"], list) else [one["Action"]])}
    resources = json.dumps([one["Resource"] for one in statements if one["Action"] == "secretsmanager:GetSecretValue"])

    assert "VpcConfig" not in function
    assert set(environment) == {
        *("ENVIRONMENT", "API_URL", "LOG_LEVEL", "IDENTITY_PROVIDERS", "IDENTITY_KEY_ARN", "IDENTITY_SECRETS_ARN"),
        *("ORIGIN_KEY_ARNS", "PASSWORD_SIGN_IN"),
    }
    assert "client_secret" not in environment["IDENTITY_PROVIDERS"]
    assert actions <= {
        *("secretsmanager:GetSecretValue", "xray:PutTraceSegments", "xray:PutTelemetryRecords"),
        *("logs:CreateLogStream", "logs:PutLogEvents"),
    }
    assert "IdentityKey" in resources
    assert "client-secrets-AbCdEf" in resources
    assert "SigningKey" not in resources
    assert "LinkKey" not in resources


def test_gateway_sends_only_the_routes_of_the_sign_in_there(behind_firewall: Synthesised, prod: Synthesised) -> None:
    integrations = {
        key: value for key, value in behind_firewall.api["Resources"].items() if value["Type"] == "AWS::ApiGatewayV2::Integration"
    }
    (identity,) = [key for key, value in integrations.items() if "IdentityLive" in json.dumps(value["Properties"]["IntegrationUri"])]
    routes = behind_firewall.of_type("AWS::ApiGatewayV2::Route")
    (stage,) = behind_firewall.of_type("AWS::ApiGatewayV2::Stage")

    there = {route["RouteKey"] for route in routes if identity in json.dumps(route["Target"])}
    assert there == {"GET /sign-in/{provider}", "GET /sign-in/{provider}/callback"}
    assert there <= set(stage["RouteSettings"])
    api = functions(behind_firewall)["lambda_app.main.handler"]["Environment"]["Variables"]
    assert (api["SERVES_IDENTITY_ROUTES"], api["PASSWORD_SIGN_IN"]) == ("false", "false")
    assert "IDENTITY_SECRETS_ARN" not in api
    assert "lambda_app.identity_main.handler" not in functions(prod)


def test_gateway_allows_configured_origins_only(everything: Synthesised, prod: Synthesised) -> None:
    cors = everything.only("AWS::ApiGatewayV2::Api")["CorsConfiguration"]

    assert cors["AllowOrigins"] == ["https://app.example.com", "https://www.example.com"]
    assert "AllowCredentials" not in cors
    assert "CorsConfiguration" not in prod.only("AWS::ApiGatewayV2::Api")


def test_custom_domain_disables_the_generated_address(everything: Synthesised, prod: Synthesised) -> None:
    (domain,) = everything.of_type("AWS::ApiGatewayV2::DomainName")

    assert domain["DomainNameConfigurations"][0]["SecurityPolicy"] == "TLS_1_2"
    assert everything.only("AWS::ApiGatewayV2::Api")["DisableExecuteApiEndpoint"] is True
    assert not prod.only("AWS::ApiGatewayV2::Api").get("DisableExecuteApiEndpoint")


def test_every_alarm_has_an_action_and_a_runbook_entry(everything: Synthesised) -> None:
    entries = {
        line.removeprefix("## ").strip().lower()
        for line in (ROOT / "docs" / "runbook.md").read_text().splitlines()
        if line.startswith("## ")
    }
    all_alarms = [value for value in everything.api["Resources"].items() if value[1]["Type"].startswith("AWS::CloudWatch::")]
    # The windows of a burn rate and the alarms of a release notify through the composite alarm and the deployment.
    silent = [alarm["Properties"] for key, alarm in all_alarms if "AlarmActions" not in alarm["Properties"] and "Alarm" in alarm["Type"]]
    alarms = [alarm["Properties"] for _, alarm in all_alarms if "AlarmActions" in alarm["Properties"]]

    assert len(alarms) == 16 + 3 * len(functions(everything)) + len(BURN_RATES)
    assert len(silent) == 3 + 2 * len(BURN_RATES)
    assert {alarm["AlarmDescription"].rpartition("#")[2] for alarm in silent} <= entries
    for alarm in alarms:
        assert alarm["AlarmActions"]
        assert alarm["AlarmDescription"].rpartition("#")[2] in entries
    assert everything.only("AWS::SNS::Subscription")["Endpoint"] == "ops@example.com"


def test_cloudwatch_can_publish_to_the_alarm_topic(prod: Synthesised) -> None:
    statements = prod.only("AWS::SNS::TopicPolicy")["PolicyDocument"]["Statement"]
    allowed = [statement for statement in statements if statement["Effect"] == "Allow"]

    assert [statement["Principal"] for statement in allowed] == [{"Service": "cloudwatch.amazonaws.com"}]
    assert allowed[0]["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}


def test_log_retention_is_that_of_the_stage(prod: Synthesised) -> None:
    assert {group["RetentionInDays"] for group in prod.of_type("AWS::Logs::LogGroup")} == {365}
