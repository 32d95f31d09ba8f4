"""The HTTP API in front of the API function: rate limits per route, access logs without secrets, CORS."""

import json

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_apigatewayv2 as gateway
from aws_cdk import aws_apigatewayv2_integrations as integrations
from aws_cdk import aws_certificatemanager as acm
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.components.nag_suppressions import suppress_nag
from infra.components.network import log_retention
from infra.config import GATEWAY_TIMEOUT_SECONDS, StageConfig
from lambda_app.routers.http.cors import EXPOSED_HEADERS, METHODS, REQUEST_HEADERS
from lambda_app.routers.http.costly_routes import COSTLY_ROUTES

SIGN_IN = "login/token"
IDENTITY_ROUTES = ("GET /sign-in/{provider}", "GET /sign-in/{provider}/callback")
"""The routes of the function outside the VPC."""

ACCESS_LOG = {
    "request_id": "$context.requestId",
    "time": "$context.requestTimeEpoch",
    "source_ip": "$context.identity.sourceIp",
    "user_agent": "$context.identity.userAgent",
    # The route, never the path or query, which may hold a share token.
    "route": "$context.routeKey",
    "status": "$context.status",
    "error": "$context.error.message",
    "integration_error": "$context.integrationErrorMessage",
    "bytes": "$context.responseLength",
    "milliseconds": "$context.responseLatency",
    "function_milliseconds": "$context.integrationLatency",
}


def _integration(name: str, function: lambda_.IFunction) -> integrations.HttpLambdaIntegration:
    return integrations.HttpLambdaIntegration(
        name,
        function,
        timeout=Duration.seconds(GATEWAY_TIMEOUT_SECONDS),
        payload_format_version=gateway.PayloadFormatVersion.VERSION_2_0,
    )


class HttpApi(Construct):
    """The gateway. `url` is the address for clients."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: StageConfig,
        function: lambda_.IFunction,
        identity: lambda_.IFunction | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
        self._config = config
        domain = self._domain()
        self.api = gateway.HttpApi(
            self,
            "Api",
            api_name=f"we-upload-{config.name}",
            create_default_stage=False,
            cors_preflight=self._cors(),
            # With a custom domain the generated address would bypass everything in front of that domain.
            disable_execute_api_endpoint=domain is not None,
        )
        integration = _integration("Function", function)
        # The permission of the default route (`/*/*`) is valid for all routes. Another one for each route would fill the function's policy,
        # which has at most 20 kB. Not `scope_permission_to_route=False`: its pattern `/*/*/*` does not match the default route.
        permitted = lambda_.Function.from_function_attributes(self, "Permitted", function_arn=function.function_arn, skip_permissions=True)
        limited_integration = _integration("Limited", permitted)
        routes = [
            gateway.HttpRoute(self, "Default", http_api=self.api, route_key=gateway.HttpRouteKey.DEFAULT, integration=integration),
            *(
                gateway.HttpRoute(
                    self,
                    f"Costly{index}",
                    http_api=self.api,
                    route_key=gateway.HttpRouteKey.with_(path, gateway.HttpMethod[method]),
                    integration=limited_integration,
                )
                for index, (method, path) in enumerate(route.split() for route in COSTLY_ROUTES)
            ),
        ]
        limited = [*COSTLY_ROUTES]
        if identity is not None:
            limited += IDENTITY_ROUTES
            to_identity = _integration("Identity", identity)
            routes += [
                gateway.HttpRoute(
                    self,
                    f"SignIn{index}",
                    http_api=self.api,
                    route_key=gateway.HttpRouteKey.with_(route.removeprefix("GET "), gateway.HttpMethod.GET),
                    integration=to_identity,
                )
                for index, route in enumerate(IDENTITY_ROUTES)
            ]
        suppress_nag(
            self,
            "AwsSolutions-APIG4",
            reason="The application authorises: it must refuse a revoked token at once, and a gateway authorizer caches its decisions.",
        )
        self.access_log = logs.LogGroup(self, "AccessLog", retention=log_retention(config), removal_policy=RemovalPolicy.DESTROY)
        self.stage = self._stage(routes, domain, limited)
        self.url = f"https://{config.domain_name}" if config.domain_name else self.api.api_endpoint

    def _stage(self, routes: list[gateway.HttpRoute], domain: gateway.DomainName | None, limited: list[str]) -> gateway.HttpStage:
        config = self._config
        stage = gateway.HttpStage(
            self,
            "Stage",
            http_api=self.api,
            stage_name="$default",
            auto_deploy=True,
            # Billed for each route that had requests.
            detailed_metrics_enabled=not config.pauses_when_idle,
            throttle=gateway.ThrottleSettings(rate_limit=config.requests_per_second, burst_limit=2 * config.requests_per_second),
            domain_mapping=gateway.DomainMappingOptions(domain_name=domain) if domain else None,
        )
        resource = stage.node.default_child
        if not isinstance(resource, gateway.CfnStage):
            raise TypeError("the stage's default child must be its CloudFormation resource")
        resource.access_log_settings = gateway.CfnStage.AccessLogSettingsProperty(
            destination_arn=self.access_log.log_group_arn, format=json.dumps(ACCESS_LOG)
        )
        limits = {"ThrottlingRateLimit": config.sign_ins_per_second, "ThrottlingBurstLimit": 2 * config.sign_ins_per_second}
        # Detailed metrics are billed per route.
        measured = "" if config.pauses_when_idle else SIGN_IN
        resource.route_settings = {
            route: {**limits, "DetailedMetricsEnabled": bool(measured) and route.endswith(measured)} for route in limited
        }
        # The stage settings may only name routes that exist.
        stage.node.add_dependency(*routes)
        return stage

    def _domain(self) -> gateway.DomainName | None:
        config = self._config
        # With a firewall the domain belongs to CloudFront, whose origin is the generated address; the API refuses direct requests.
        if config.firewall or not config.domain_name or not config.certificate_arn:
            return None
        certificate = acm.Certificate.from_certificate_arn(self, "Certificate", config.certificate_arn)
        return gateway.DomainName(
            self, "Domain", domain_name=config.domain_name, certificate=certificate, security_policy=gateway.SecurityPolicy.TLS_1_2
        )

    def _cors(self) -> gateway.CorsPreflightOptions | None:
        # The gateway adds CORS headers itself, also to its own 429 and 503, and drops those of the function.
        if not self._config.cors_origins:
            return None
        return gateway.CorsPreflightOptions(
            allow_origins=list(self._config.cors_origins),
            allow_methods=[getattr(gateway.CorsHttpMethod, name) for name in METHODS],
            allow_headers=[name.lower() for name in REQUEST_HEADERS],
            expose_headers=[*(name.lower() for name in EXPOSED_HEADERS), "retry-after"],
            max_age=Duration.hours(1),
        )
