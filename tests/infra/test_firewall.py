"""What stands before the API when it stands behind a firewall, and that there is no way past it."""

import json
import shutil
import subprocess
from typing import Any

import pytest
from infra.components.origin_verifier import VIEWER_ADDRESS

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


def test_no_stage_has_a_firewall_unasked(prod: Synthesised, dev: Synthesised, everything: Synthesised) -> None:
    for stacks in (prod, dev, everything):
        assert stacks.firewall == {}
        assert stacks.of_type("AWS::CloudFront::Distribution") == []
        assert "ORIGIN_KEY_ARNS" not in environment(stacks)


def test_cloudfront_asks_the_web_acl_of_the_firewall_stack(behind_firewall: Synthesised) -> None:
    assert list(behind_firewall.firewall["Outputs"]) == ["WebAclArn"]
    assert distribution(behind_firewall)["WebACLId"] == {
        "Fn::GetStackOutput": {"StackName": "WeUpload-staging-Firewall", "OutputName": "WebAclArn", "Region": "us-east-1"}
    }
    assert behind_firewall.only("AWS::WAFv2::WebACL")["Scope"] == "CLOUDFRONT"


def test_firewall_is_deployed_before_what_it_protects(behind_firewall: Synthesised) -> None:
    manifest = json.loads((behind_firewall.assembly / "manifest.json").read_text())["artifacts"]

    assert "WeUpload-staging-Firewall" in manifest["WeUpload-staging-Api"]["dependencies"]


def test_api_knows_cloudfront_by_a_secret_that_no_template_holds(behind_firewall: Synthesised) -> None:
    (origin,) = distribution(behind_firewall)["Origins"]
    (header,) = origin["OriginCustomHeaders"]
    reference = json.dumps(header["HeaderValue"])

    assert header["HeaderName"] == ORIGIN_VERIFY_HEADER.decode()
    assert "{{resolve:secretsmanager:" in reference
    assert "OriginKeysKey3" in reference
    assert origin["CustomOriginConfig"]["OriginProtocolPolicy"] == "https-only"
    assert origin["CustomOriginConfig"]["OriginSSLProtocols"] == ["TLSv1.2"]


def test_api_believes_the_new_key_and_the_one_before_it(behind_firewall: Synthesised) -> None:
    keys = [name for name in behind_firewall.api["Resources"] if name.startswith("OriginKeysKey")]
    verification_keys = json.dumps(environment(behind_firewall)["ORIGIN_KEY_ARNS"])

    assert sorted(name[: len("OriginKeysKey3")] for name in keys) == ["OriginKeysKey2", "OriginKeysKey3"]
    assert verification_keys.index("OriginKeysKey3") < verification_keys.index("OriginKeysKey2")


def test_key_is_believed_before_it_is_sent(behind_firewall: Synthesised) -> None:
    (door,) = [part for part in behind_firewall.api["Resources"].values() if part["Type"] == "AWS::CloudFront::Distribution"]

    assert any(name.startswith("ApiLive") for name in door["DependsOn"])


def test_only_the_api_may_read_the_origin_keys(behind_firewall: Synthesised) -> None:
    readers = [
        name
        for name, part in behind_firewall.api["Resources"].items()
        if part["Type"] == "AWS::IAM::Policy" and "OriginKeysKey" in json.dumps(part)
    ]

    assert [name.startswith("ApiRole") for name in readers] == [True]


def test_domain_and_its_tls_are_cloudfronts(behind_firewall: Synthesised) -> None:
    config = distribution(behind_firewall)

    assert config["Aliases"] == ["files.example.com"]
    assert config["ViewerCertificate"]["MinimumProtocolVersion"] == "TLSv1.2_2021"
    assert config["DefaultCacheBehavior"]["ViewerProtocolPolicy"] == "https-only"
    assert behind_firewall.of_type("AWS::ApiGatewayV2::DomainName") == []
    # CloudFront's origin is the generated address; the key, not the switch, closes it to others.
    assert not behind_firewall.only("AWS::ApiGatewayV2::Api").get("DisableExecuteApiEndpoint")


def test_nothing_of_the_api_is_cached_and_all_but_the_host_is_passed_on(behind_firewall: Synthesised) -> None:
    behavior = distribution(behind_firewall)["DefaultCacheBehavior"]

    assert behavior["CachePolicyId"] == "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"  # Managed-CachingDisabled
    assert behavior["OriginRequestPolicyId"] == "b689b0a8-53d0-40ab-baf2-68738e2966ac"  # Managed-AllViewerExceptHostHeader
    assert set(behavior["AllowedMethods"]) == {"GET", "HEAD", "OPTIONS", "PUT", "PATCH", "POST", "DELETE"}


def test_answers_carry_security_headers(behind_firewall: Synthesised) -> None:
    policy = behind_firewall.only("AWS::CloudFront::ResponseHeadersPolicy")["ResponseHeadersPolicyConfig"]["SecurityHeadersConfig"]

    assert policy["StrictTransportSecurity"] == {"AccessControlMaxAgeSec": 31536000, "IncludeSubdomains": False, "Override": True}
    assert policy["ContentTypeOptions"] == {"Override": True}
    assert policy["FrameOptions"] == {"FrameOption": "DENY", "Override": False}
    assert policy["ReferrerPolicy"] == {"ReferrerPolicy": "no-referrer", "Override": False}


def test_no_log_of_cloudfront_or_the_firewall_holds_a_path(behind_firewall: Synthesised) -> None:
    acl = behind_firewall.only("AWS::WAFv2::WebACL")
    seen = [acl["VisibilityConfig"], *(rule["VisibilityConfig"] for rule in acl["Rules"])]

    assert "Logging" not in distribution(behind_firewall)
    assert behind_firewall.of_type("AWS::WAFv2::LoggingConfiguration") == []
    assert {config["SampledRequestsEnabled"] for config in seen} == {False}
    assert {config["CloudWatchMetricsEnabled"] for config in seen} == {True}


def test_firewall_blocks_by_reputation_known_attacks_and_rate(behind_firewall: Synthesised) -> None:
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


def test_large_bodies_and_odd_file_names_are_counted_and_not_blocked(behind_firewall: Synthesised) -> None:
    (common,) = [rule for rule in behind_firewall.only("AWS::WAFv2::WebACL")["Rules"] if rule["Name"] == "AWSManagedRulesCommonRuleSet"]
    overrides = common["Statement"]["ManagedRuleGroupStatement"]["RuleActionOverrides"]

    assert "SizeRestrictions_BODY" in COUNTED
    assert {rule["Name"]: rule["ActionToUse"] for rule in overrides} == {name: {"Count": {}} for name in COUNTED}


@pytest.mark.parametrize("said", ["10.0.0.1", None])
def test_function_at_the_edge_writes_the_callers_address_over_what_it_says(behind_firewall: Synthesised, said: str | None) -> None:
    node = shutil.which("node")
    assert node
    headers: dict[str, Any] = {"accept": {"value": "*/*"}}
    if said is not None:
        headers[VIEWER_ADDRESS_HEADER.decode()] = {"value": said, "multiValue": [{"value": said}, {"value": "10.0.0.2"}]}
    event: dict[str, Any] = {"viewer": {"ip": "2001:db8::7"}, "request": {"method": "GET", "uri": "/health", "headers": headers}}
    code = VIEWER_ADDRESS.read_text() + f"\nconsole.log(JSON.stringify(handler({json.dumps(event)})));"

    request = json.loads(subprocess.run([node, "--eval", code], capture_output=True, text=True, check=True).stdout)

    assert request == event["request"] | {"headers": {"accept": {"value": "*/*"}, VIEWER_ADDRESS_HEADER.decode(): {"value": "2001:db8::7"}}}
    assert behind_firewall.only("AWS::CloudFront::Function")["FunctionCode"] == VIEWER_ADDRESS.read_text()
    (associated,) = distribution(behind_firewall)["DefaultCacheBehavior"]["FunctionAssociations"]
    assert associated["EventType"] == "viewer-request"
