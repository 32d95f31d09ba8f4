"""A network without a way out: isolated subnets, and endpoints for the two services that functions call."""

from typing import cast

from aws_cdk import Aws, Fn, RemovalPolicy
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.config import StageConfig


class Network(Construct):
    """The VPC. Nothing in it can reach the internet, so a hijacked function has nowhere to send what it reads."""

    def __init__(self, scope: Construct, construct_id: str, *, config: StageConfig) -> None:
        super().__init__(scope, construct_id)
        self.vpc = ec2.Vpc(
            self,
            "Vpc",
            # Spelt out, because a stack without a fixed account knows only two zones.
            availability_zones=[Fn.select(index, Fn.get_azs()) for index in range(config.availability_zones)],
            nat_gateways=0,
            subnet_configuration=[ec2.SubnetConfiguration(name="isolated", subnet_type=ec2.SubnetType.PRIVATE_ISOLATED, cidr_mask=22)],
            gateway_endpoints={"S3": ec2.GatewayVpcEndpointOptions(service=ec2.GatewayVpcEndpointAwsService.S3)},
            restrict_default_security_group=False,
        )
        self._restrict_s3_endpoint()
        self._log_refused_traffic(config)
        self.function_group = ec2.SecurityGroup(
            self,
            "Functions",
            vpc=self.vpc,
            description="We-Upload functions",
            # The prefix list of S3 has a different id in every region; without a gateway in the VPC there is nothing else to reach.
            allow_all_outbound=True,
        )
        self.secrets_endpoint = self.vpc.add_interface_endpoint(
            "SecretsManager", service=ec2.InterfaceVpcEndpointAwsService.SECRETS_MANAGER, subnets=self._endpoint_subnets(config), open=False
        )
        self.secrets_endpoint.connections.allow_default_port_from(self.function_group, "Functions read their secrets")
        if config.mail_from:
            self._open_way_to_mail(config)

    def _open_way_to_mail(self, config: StageConfig) -> None:
        # SES's API, since December 2025; `email-smtp` would want a user and password of its own.
        endpoint = self.vpc.add_interface_endpoint(
            "Mail", service=ec2.InterfaceVpcEndpointAwsService.EMAIL, subnets=self._endpoint_subnets(config), open=False
        )
        endpoint.connections.allow_default_port_from(self.function_group, "Functions send mail")
        # As what, the roles say; this only keeps somebody else's credentials from sending mail from here.
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
        # An interface endpoint is billed per zone; a stage that may lose its data may also lose a zone.
        subnets = self.vpc.isolated_subnets
        return ec2.SubnetSelection(subnets=subnets if config.protects_data else subnets[:1])

    def _restrict_s3_endpoint(self) -> None:
        endpoint = cast("ec2.GatewayVpcEndpoint", self.vpc.node.find_child("S3"))
        endpoint.add_to_policy(
            iam.PolicyStatement(
                sid="OwnBuckets",
                principals=[iam.AnyPrincipal()],
                actions=["s3:*"],
                # Any action on any bucket of this account: the roles say which; this only stops copies to somebody else's account.
                resources=["*"],
                conditions={"StringEquals": {"aws:ResourceAccount": Aws.ACCOUNT_ID}},
            )
        )
        endpoint.add_to_policy(
            iam.PolicyStatement(
                sid="AnswerCloudFormation",
                principals=[iam.AnyPrincipal()],
                actions=["s3:PutObject"],
                # CloudFormation reads a custom resource's answer from a bucket of AWS, named after the region.
                resources=[f"arn:{Aws.PARTITION}:s3:::cloudformation-custom-resource-response-*/*"],
            )
        )

    def _log_refused_traffic(self, config: StageConfig) -> None:
        group = logs.LogGroup(self, "RefusedTraffic", retention=log_retention(config), removal_policy=RemovalPolicy.DESTROY)
        self.vpc.add_flow_log(
            "FlowLog", destination=ec2.FlowLogDestination.to_cloud_watch_logs(group), traffic_type=ec2.FlowLogTrafficType.REJECT
        )


def mail_identity_arn(config: StageConfig) -> str:
    """Return the ARN of the SES identity that mail is sent as."""
    return f"arn:{Aws.PARTITION}:ses:{Aws.REGION}:{Aws.ACCOUNT_ID}:identity/{config.verified_sender}"


def log_retention(config: StageConfig) -> logs.RetentionDays:
    """Return the retention of `config` as CloudWatch Logs names it. Raises KeyError for a number of days it does not have."""
    named = {14: logs.RetentionDays.TWO_WEEKS, 30: logs.RetentionDays.ONE_MONTH, 90: logs.RetentionDays.THREE_MONTHS}
    return (named | {365: logs.RetentionDays.ONE_YEAR})[config.log_days]
