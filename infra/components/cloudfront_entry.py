"""CloudFront with the web ACL in front of the API, and the key by which the API refuses all other requests."""

from pathlib import Path

from aws_cdk import Aws, Duration, RemovalPolicy
from aws_cdk import aws_apigatewayv2 as gateway
from aws_cdk import aws_certificatemanager as acm
from aws_cdk import aws_cloudfront as cloudfront
from aws_cdk import aws_cloudfront_origins as origins
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from infra.components.nag_suppressions import suppress_nag
from infra.config import GATEWAY_TIMEOUT_SECONDS, StageConfig

ORIGIN_VERIFY_HEADER = "x-origin-verify"
VIEWER_ADDRESS = Path(__file__).with_name("viewer_address.js")


class OriginKeys(Construct):
    """The secret that the distribution sends with each request, and the previous one, which the API still accepts.

    A key never changes; the next generation replaces it. One deployment creates the new key, configures the API with both, and then
    updates the distribution, so that the API refuses no request while CloudFront's edge locations update.
    """

    def __init__(self, scope: Construct, construct_id: str, *, generation: int) -> None:
        super().__init__(scope, construct_id)
        self.current = self._key(generation)
        self.accepted = [self.current, *([self._key(generation - 1)] if generation > 1 else [])]

    def _key(self, generation: int) -> secretsmanager.Secret:
        key = secretsmanager.Secret(
            self,
            f"Key{generation}",
            description="We-Upload: proof that a request came through CloudFront",
            generate_secret_string=secretsmanager.SecretStringGenerator(password_length=64, exclude_punctuation=True),
            removal_policy=RemovalPolicy.DESTROY,
        )
        suppress_nag(
            key, "AwsSolutions-SMG4", reason="Replaced by the next generation (`origin_key`), because two services must change together."
        )
        return key


class CloudFrontEntry(Construct):
    """The distribution."""

    def __init__(
        self, scope: Construct, construct_id: str, *, config: StageConfig, api: gateway.HttpApi, key: secretsmanager.Secret, acl_arn: str
    ) -> None:
        super().__init__(scope, construct_id)
        if not config.domain_name or not config.certificate_arn:
            raise ValueError("firewall needs domain_name and certificate_arn")
        self.distribution = cloudfront.Distribution(
            self,
            "Distribution",
            comment=f"We-Upload {config.name}",
            domain_names=[config.domain_name],
            certificate=acm.Certificate.from_certificate_arn(self, "Certificate", config.certificate_arn),
            # The default domain of CloudFront always accepts TLS 1.0, so a custom domain is required.
            minimum_protocol_version=cloudfront.SecurityPolicyProtocol.TLS_V1_2_2021,
            http_version=cloudfront.HttpVersion.HTTP2_AND_3,
            web_acl_id=acl_arn,
            default_behavior=cloudfront.BehaviorOptions(
                origin=self._origin(api, key),
                allowed_methods=cloudfront.AllowedMethods.ALLOW_ALL,
                viewer_protocol_policy=cloudfront.ViewerProtocolPolicy.HTTPS_ONLY,
                cache_policy=cloudfront.CachePolicy.CACHING_DISABLED,
                # The gateway refuses requests with the viewer's Host header.
                origin_request_policy=cloudfront.OriginRequestPolicy.ALL_VIEWER_EXCEPT_HOST_HEADER,
                response_headers_policy=self._headers(),
                function_associations=[
                    cloudfront.FunctionAssociation(function=self._viewer_address(), event_type=cloudfront.FunctionEventType.VIEWER_REQUEST)
                ],
                compress=False,
            ),
        )
        self._accept_findings()

    def _origin(self, api: gateway.HttpApi, key: secretsmanager.Secret) -> origins.HttpOrigin:
        return origins.HttpOrigin(
            f"{api.api_id}.execute-api.{Aws.REGION}.{Aws.URL_SUFFIX}",
            protocol_policy=cloudfront.OriginProtocolPolicy.HTTPS_ONLY,
            origin_ssl_protocols=[cloudfront.OriginSslPolicy.TLS_V1_2],
            read_timeout=Duration.seconds(GATEWAY_TIMEOUT_SECONDS + 1),
            # CloudFront keeps it in the distribution's configuration, readable with cloudfront:GetDistribution. The template contains a
            # reference to the secret, which CloudFormation resolves.
            custom_headers={ORIGIN_VERIFY_HEADER: key.secret_value.unsafe_unwrap()},
        )

    def _viewer_address(self) -> cloudfront.Function:
        # Not the header CloudFront-Viewer-Address: an origin request policy that adds it also forwards the viewer's Host.
        return cloudfront.Function(
            self,
            "ViewerAddress",
            code=cloudfront.FunctionCode.from_inline(VIEWER_ADDRESS.read_text()),
            runtime=cloudfront.FunctionRuntime.JS_2_0,
        )

    def _headers(self) -> cloudfront.ResponseHeadersPolicy:
        return cloudfront.ResponseHeadersPolicy(
            self,
            "Headers",
            security_headers_behavior=cloudfront.ResponseSecurityHeadersBehavior(
                strict_transport_security=cloudfront.ResponseHeadersStrictTransportSecurity(
                    access_control_max_age=Duration.days(365), include_subdomains=False, override=True
                ),
                content_type_options=cloudfront.ResponseHeadersContentTypeOptions(override=True),
                # The application's own values take precedence.
                frame_options=cloudfront.ResponseHeadersFrameOptions(frame_option=cloudfront.HeadersFrameOption.DENY, override=False),
                referrer_policy=cloudfront.ResponseHeadersReferrerPolicy(
                    referrer_policy=cloudfront.HeadersReferrerPolicy.NO_REFERRER, override=False
                ),
            ),
        )

    def _accept_findings(self) -> None:
        suppress_nag(
            self.distribution,
            "AwsSolutions-CFR1",
            reason="Files are shared with people in any country; the firewall decides which requests to block.",
        )
        suppress_nag(
            self.distribution,
            "AwsSolutions-CFR3",
            reason="CloudFront logs contain paths, which may hold share tokens; gateway and application log all forwarded requests.",
        )
