"""A VPC without internet access: isolated subnets, and endpoints for the services that the functions call."""

from typing import cast

from aws_cdk import Aws, Fn, RemovalPolicy
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.config import StageConfig


class Network(Construct):
    """The VPC. Nothing in it can reach the internet, so a compromised function cannot send data out."""

    def __init__(self, scope: Construct, construct_id: str, *, config: StageConfig) -> None:
        super().__init__(scope, construct_id)
        self.vpc = ec2.Vpc(
            self,
            "Vpc",
            # Explicit: a stack without a fixed account would use two zones only. `make preflight` checks which services each zone has.
            availability_zones=list(config.zones) or [Fn.select(index, Fn.get_azs()) for index in range(config.availability_zones)],
            nat_gateways=0,
            subnet_configuration=[ec2.SubnetConfiguration(name="isolated", subnet_type=ec2.SubnetType.PRIVATE_ISOLATED, cidr_mask=22)],
            gateway_endpoints={"S3": ec2.GatewayVpcEndpointOptions(service=ec2.GatewayVpcEndpointAwsService.S3)},
            restrict_default_security_group=False,
        )
        self._restrict_s3_endpoint()
        self._log_rejected_traffic(config)
        self.function_group = ec2.SecurityGroup(
            self,
            "Functions",
            vpc=self.vpc,
            description="We-Upload functions",
            # The id of S3's prefix list differs per region; without a gateway the VPC has no other destinations.
            allow_all_outbound=True,
        )
        if not config.pauses_when_idle:
            self._add_secrets_endpoint(config)
        if config.mail_from:
            self._add_mail_endpoint(config)

    def _add_secrets_endpoint(self, config: StageConfig) -> None:
        endpoint = self.vpc.add_interface_endpoint(
            "SecretsManager", service=ec2.InterfaceVpcEndpointAwsService.SECRETS_MANAGER, subnets=self._endpoint_subnets(config), open=False
        )
        endpoint.connections.allow_default_port_from(self.function_group, "Functions read their secrets")

    def _add_mail_endpoint(self, config: StageConfig) -> None:
        # The SES API; `email-smtp` would need separate SMTP credentials.
        endpoint = self.vpc.add_interface_endpoint(
            "Mail", service=ec2.InterfaceVpcEndpointAwsService.EMAIL, subnets=self._endpoint_subnets(config), open=False
        )
        endpoint.connections.allow_default_port_from(self.function_group, "Functions send mail")
        # The roles limit the sender; this policy refuses credentials of other accounts.
        endpoint.add_to_policy(
            iam.PolicyStatement(
                sid="OwnMail",
                principals=[iam.AnyPrincipal()],
                actions=["ses:SendEmail"],
                resources=[mail_identity_arn(config)],
                conditions={"StringEquals": {"aws:PrincipalAccount": Aws.ACCOUNT_ID}},
            )
        )

    def _endpoint_subnets(self, config: StageConfig) -> ec2.SubnetSelection:
        # Interface endpoints are billed per zone; a stage without data protection uses one zone.
        subnets = self.vpc.isolated_subnets
        return ec2.SubnetSelection(subnets=subnets if config.protects_data else subnets[:1])

    def _restrict_s3_endpoint(self) -> None:
        endpoint = cast("ec2.GatewayVpcEndpoint", self.vpc.node.find_child("S3"))
        endpoint.add_to_policy(
            iam.PolicyStatement(
                sid="OwnBuckets",
                principals=[iam.AnyPrincipal()],
                actions=["s3:*"],
                # All buckets of this account: the roles limit the actions; this policy prevents copies to other accounts.
                resources=["*"],
                conditions={"StringEquals": {"aws:ResourceAccount": Aws.ACCOUNT_ID}},
            )
        )
        endpoint.add_to_policy(
            iam.PolicyStatement(
                sid="AnswerCloudFormation",
                principals=[iam.AnyPrincipal()],
                actions=["s3:PutObject"],
                # CloudFormation reads a custom resource's response from a bucket of AWS, whose name contains the region.
                resources=[f"arn:{Aws.PARTITION}:s3:::cloudformation-custom-resource-response-*/*"],
            )
        )

    def _log_rejected_traffic(self, config: StageConfig) -> None:
        group = logs.LogGroup(self, "RefusedTraffic", retention=log_retention(config), removal_policy=RemovalPolicy.DESTROY)
        self.vpc.add_flow_log(
            "FlowLog", destination=ec2.FlowLogDestination.to_cloud_watch_logs(group), traffic_type=ec2.FlowLogTrafficType.REJECT
        )


def mail_identity_arn(config: StageConfig) -> str:
    """Return the ARN of the sender's SES identity."""
    return f"arn:{Aws.PARTITION}:ses:{Aws.REGION}:{Aws.ACCOUNT_ID}:identity/{config.verified_sender}"


def log_retention(config: StageConfig) -> logs.RetentionDays:
    """Return `log_days` as a RetentionDays. Raises KeyError for a number of days that CloudWatch Logs does not offer."""
    named = {14: logs.RetentionDays.TWO_WEEKS, 30: logs.RetentionDays.ONE_MONTH, 90: logs.RetentionDays.THREE_MONTHS}
    return (named | {365: logs.RetentionDays.ONE_YEAR})[config.log_days]
