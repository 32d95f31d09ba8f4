"""The web ACL that CloudFront checks before it forwards a request to the API."""

import json
from collections.abc import Iterable

from aws_cdk import aws_wafv2 as waf
from constructs import Construct

from infra.config import StageConfig

RATE_WINDOW_SECONDS = 300

TOO_MANY = {"type": "about:blank", "title": "Too Many Requests", "status": 429, "code": "too_many_requests", "detail": "Too many requests"}
"""The members of the API's own error documents. AWS WAF cannot send `application/problem+json`."""

COUNTED = (
    # Blocks bodies over 8 kB; a request to sign 100 parts with checksums is larger. The application's limit is 256 KiB.
    "SizeRestrictions_BODY",
    # Blocks queries over 2 kB; a search of 255 letters with a cursor can be larger. The gateway's limit is 10 kB.
    "SizeRestrictions_QUERYSTRING",
    # File names, descriptions and searches are free text, for example `<b>.html`, `../notes` or `q=settings.ini`. They are harmless:
    # statements are parameterised, responses are JSON, downloads are attachments, and object keys contain ids only.
    "CrossSiteScripting_BODY",
    "CrossSiteScripting_QUERYARGUMENTS",
    "GenericLFI_BODY",
    "GenericLFI_QUERYARGUMENTS",
    "GenericRFI_BODY",
    "GenericRFI_QUERYARGUMENTS",
    "RestrictedExtensions_QUERYARGUMENTS",
    # API clients may omit User-Agent.
    "NoUserAgent_HEADER",
)
"""Rules of the AWS common rule set that count matches instead of blocking; their metrics still show attempts."""

MANAGED: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("AWSManagedRulesAmazonIpReputationList", ()),
    ("AWSManagedRulesKnownBadInputsRuleSet", ()),
    ("AWSManagedRulesCommonRuleSet", COUNTED),
)


class Firewall(Construct):
    """The web ACL. A web ACL of scope `CLOUDFRONT` must be in us-east-1 (AWS WAF developer guide)."""

    def __init__(self, scope: Construct, construct_id: str, *, config: StageConfig) -> None:
        super().__init__(scope, construct_id)
        rules = [_rate_limit(config.requests_per_address), *(_managed(*group, priority=1 + at) for at, group in enumerate(MANAGED))]
        self.acl = waf.CfnWebACL(
            self,
            "Acl",
            scope="CLOUDFRONT",
            default_action=waf.CfnWebACL.DefaultActionProperty(allow={}),
            custom_response_bodies={
                "TooMany": waf.CfnWebACL.CustomResponseBodyProperty(content_type="APPLICATION_JSON", content=json.dumps(TOO_MANY))
            },
            rules=rules,
            visibility_config=_visibility("Requests"),
        )


def _visibility(name: str) -> waf.CfnWebACL.VisibilityConfigProperty:
    # No samples: they contain paths, which may hold share tokens, and headers, which may hold credentials.
    return waf.CfnWebACL.VisibilityConfigProperty(cloud_watch_metrics_enabled=True, metric_name=name, sampled_requests_enabled=False)


def _rate_limit(requests: int) -> waf.CfnWebACL.RuleProperty:
    refusal = waf.CfnWebACL.CustomResponseProperty(response_code=429, custom_response_body_key="TooMany")
    return waf.CfnWebACL.RuleProperty(
        name="RequestsOfOneAddress",
        priority=0,
        statement=waf.CfnWebACL.StatementProperty(
            rate_based_statement=waf.CfnWebACL.RateBasedStatementProperty(
                aggregate_key_type="IP", limit=requests, evaluation_window_sec=RATE_WINDOW_SECONDS
            )
        ),
        action=waf.CfnWebACL.RuleActionProperty(block=waf.CfnWebACL.BlockActionProperty(custom_response=refusal)),
        visibility_config=_visibility("RequestsOfOneAddress"),
    )


def _managed(name: str, counted: Iterable[str], *, priority: int) -> waf.CfnWebACL.RuleProperty:
    count = waf.CfnWebACL.RuleActionProperty(count={})
    return waf.CfnWebACL.RuleProperty(
        name=name,
        priority=priority,
        statement=waf.CfnWebACL.StatementProperty(
            managed_rule_group_statement=waf.CfnWebACL.ManagedRuleGroupStatementProperty(
                vendor_name="AWS",
                name=name,
                rule_action_overrides=[waf.CfnWebACL.RuleActionOverrideProperty(name=rule, action_to_use=count) for rule in counted],
            )
        ),
        override_action=waf.CfnWebACL.OverrideActionProperty(none={}),
        visibility_config=_visibility(name),
    )
