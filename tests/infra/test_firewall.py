"""CloudFront and the web ACL in front of the API, and that direct requests are refused."""

import json
import shutil
import subprocess
from typing import Any

import pytest

from infra.components.cloudfront_entry import VIEWER_ADDRESS
from infra.components.firewall import COUNTED
from lambda_app.core.security.origin_verifier import ORIGIN_VERIFY_HEADER, VIEWER_ADDRESS_HEADER
from tests.infra.conftest import Synthesised


def distribution(stacks: Synthesised) -> dict[str, Any]:
    config: dict[str, Any] = stacks.only("AWS::CloudFront::Distribution")["DistributionConfig"]
    return config


def environment(stacks: Synthesised) -> dict[str, Any]:
    (api,) = [part for part in stacks.of_type("AWS::Lambda::Function") if part["Handler"] == "lambda_app.main.handler"]
    variables: dict[str, Any] = api["Environment"]["Variables"]
    return variables


def test_firewall_is_off_by_default(prod: Synthesised, dev: Synthesised, everything: Synthesised) -> None:
    for stacks in (prod, dev, everything):
        assert stacks.firewall == {}
        assert stacks.of_type("AWS::CloudFront::Distribution") == []
        assert "ORIGIN_KEY_ARNS" not in environment(stacks)


def test_cloudfront_uses_the_web_acl_of_the_firewall_stack(behind_firewall: Synthesised) -> None:
    assert list(behind_firewall.firewall["Outputs"]) == ["WebAclArn"]
    assert distribution(behind_firewall)["WebACLId"] == {
        "Fn::GetStackOutput": {"StackName": "WeUpload-staging-Firewall", "OutputName": "WebAclArn", "Region": "us-east-1"}
    }
    assert behind_firewall.only("AWS::WAFv2::WebACL")["Scope"] == "CLOUDFRONT"


def test_firewall_stack_is_deployed_before_the_api_stack(behind_firewall: Synthesised) -> None:
    manifest = json.loads((behind_firewall.assembly / "manifest.json").read_text())["artifacts"]

    assert "WeUpload-staging-Firewall" in manifest["WeUpload-staging-Api"]["dependencies"]


def test_origin_key_is_a_reference_and_not_in_the_template(behind_firewall: Synthesised) -> None:
    (origin,) = distribution(behind_firewall)["Origins"]
    (header,) = origin["OriginCustomHeaders"]
    reference = json.dumps(header["HeaderValue"])

    assert header["HeaderName"] == ORIGIN_VERIFY_HEADER.decode()
    assert "{{resolve:secretsmanager:" in reference
    assert "OriginKeysKey3" in reference
    assert origin["CustomOriginConfig"]["OriginProtocolPolicy"] == "https-only"
    assert origin["CustomOriginConfig"]["OriginSSLProtocols"] == ["TLSv1.2"]


def test_api_accepts_the_new_and_the_previous_key(behind_firewall: Synthesised) -> None:
    keys = [name for name in behind_firewall.api["Resources"] if name.startswith("OriginKeysKey")]
    accepted = json.dumps(environment(behind_firewall)["ORIGIN_KEY_ARNS"])

    assert sorted(name[: len("OriginKeysKey3")] for name in keys) == ["OriginKeysKey2", "OriginKeysKey3"]
    assert accepted.index("OriginKeysKey3") < accepted.index("OriginKeysKey2")


def test_api_accepts_a_key_before_cloudfront_sends_it(behind_firewall: Synthesised) -> None:
    (entry,) = [part for part in behind_firewall.api["Resources"].values() if part["Type"] == "AWS::CloudFront::Distribution"]

    assert any(name.startswith("ApiLive") for name in entry["DependsOn"])


def test_only_functions_behind_the_gateway_can_read_the_origin_keys(behind_firewall: Synthesised) -> None:
    readers = [
        name
        for name, part in behind_firewall.api["Resources"].items()
        if part["Type"] == "AWS::IAM::Policy" and "OriginKeysKey" in json.dumps(part)
    ]

    assert sorted(name.partition("Role")[0] for name in readers) == ["Api", "Identity"]


def test_cloudfront_serves_the_domain_with_tls_1_2(behind_firewall: Synthesised) -> None:
    config = distribution(behind_firewall)

    assert config["Aliases"] == ["files.example.com"]
    assert config["ViewerCertificate"]["MinimumProtocolVersion"] == "TLSv1.2_2021"
    assert config["DefaultCacheBehavior"]["ViewerProtocolPolicy"] == "https-only"
    assert behind_firewall.of_type("AWS::ApiGatewayV2::DomainName") == []
    # CloudFront's origin is the generated address; the API refuses requests without the key.
    assert not behind_firewall.only("AWS::ApiGatewayV2::Api").get("DisableExecuteApiEndpoint")


def test_cloudfront_caches_nothing_and_forwards_everything_but_the_host(behind_firewall: Synthesised) -> None:
    behavior = distribution(behind_firewall)["DefaultCacheBehavior"]

    assert behavior["CachePolicyId"] == "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"  # Managed-CachingDisabled
    assert behavior["OriginRequestPolicyId"] == "b689b0a8-53d0-40ab-baf2-68738e2966ac"  # Managed-AllViewerExceptHostHeader
    assert set(behavior["AllowedMethods"]) == {"GET", "HEAD", "OPTIONS", "PUT", "PATCH", "POST", "DELETE"}


def test_responses_have_security_headers(behind_firewall: Synthesised) -> None:
    policy = behind_firewall.only("AWS::CloudFront::ResponseHeadersPolicy")["ResponseHeadersPolicyConfig"]["SecurityHeadersConfig"]

    assert policy["StrictTransportSecurity"] == {"AccessControlMaxAgeSec": 31536000, "IncludeSubdomains": False, "Override": True}
    assert policy["ContentTypeOptions"] == {"Override": True}
    assert policy["FrameOptions"] == {"FrameOption": "DENY", "Override": False}
    assert policy["ReferrerPolicy"] == {"ReferrerPolicy": "no-referrer", "Override": False}


def test_cloudfront_and_firewall_log_no_paths(behind_firewall: Synthesised) -> None:
    acl = behind_firewall.only("AWS::WAFv2::WebACL")
    configs = [acl["VisibilityConfig"], *(rule["VisibilityConfig"] for rule in acl["Rules"])]

    assert "Logging" not in distribution(behind_firewall)
    assert behind_firewall.of_type("AWS::WAFv2::LoggingConfiguration") == []
    assert {config["SampledRequestsEnabled"] for config in configs} == {False}
    assert {config["CloudWatchMetricsEnabled"] for config in configs} == {True}


def test_firewall_blocks_bad_reputation_known_attacks_and_high_rates(behind_firewall: Synthesised) -> None:
    rate, *managed = behind_firewall.only("AWS::WAFv2::WebACL")["Rules"]

    assert rate["Statement"]["RateBasedStatement"] == {"AggregateKeyType": "IP", "Limit": 2000, "EvaluationWindowSec": 300}
    assert rate["Action"]["Block"]["CustomResponse"] == {"ResponseCode": 429, "CustomResponseBodyKey": "TooMany"}
    assert [rule["Name"] for rule in managed] == [
        "AWSManagedRulesAmazonIpReputationList",
        "AWSManagedRulesKnownBadInputsRuleSet",
        "AWSManagedRulesCommonRuleSet",
    ]
    assert all(rule["OverrideAction"] == {"None": {}} for rule in managed)
    assert len({rule["Priority"] for rule in (rate, *managed)}) == 4


def test_large_bodies_and_unusual_file_names_are_counted_and_not_blocked(behind_firewall: Synthesised) -> None:
    (common,) = [rule for rule in behind_firewall.only("AWS::WAFv2::WebACL")["Rules"] if rule["Name"] == "AWSManagedRulesCommonRuleSet"]
    overrides = common["Statement"]["ManagedRuleGroupStatement"]["RuleActionOverrides"]

    assert "SizeRestrictions_BODY" in COUNTED
    assert {rule["Name"]: rule["ActionToUse"] for rule in overrides} == {name: {"Count": {}} for name in COUNTED}


@pytest.mark.parametrize("sent", ["10.0.0.1", None])
def test_edge_function_overwrites_a_viewer_address_that_the_client_sent(behind_firewall: Synthesised, sent: str | None) -> None:
    node = shutil.which("node")
    assert node
    headers: dict[str, Any] = {"accept": {"value": "*/*"}}
    if sent is not None:
        headers[VIEWER_ADDRESS_HEADER.decode()] = {"value": sent, "multiValue": [{"value": sent}, {"value": "10.0.0.2"}]}
    event: dict[str, Any] = {"viewer": {"ip": "2001:db8::7"}, "request": {"method": "GET", "uri": "/health", "headers": headers}}
    code = VIEWER_ADDRESS.read_text() + f"\nconsole.log(JSON.stringify(handler({json.dumps(event)})));"

    request = json.loads(subprocess.run([node, "--eval", code], capture_output=True, text=True, check=True).stdout)

    assert request == event["request"] | {"headers": {"accept": {"value": "*/*"}, VIEWER_ADDRESS_HEADER.decode(): {"value": "2001:db8::7"}}}
    assert behind_firewall.only("AWS::CloudFront::Function")["FunctionCode"] == VIEWER_ADDRESS.read_text()
    (associated,) = distribution(behind_firewall)["DefaultCacheBehavior"]["FunctionAssociations"]
    assert associated["EventType"] == "viewer-request"
