"""The functions: one line of the table each, with a role of its own that may do what the line says."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Flag, StrEnum, auto
from functools import cached_property
from pathlib import Path

from aws_cdk import Duration, RemovalPolicy, Stack, Tags
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_lambda_event_sources as event_sources
from aws_cdk import aws_logs as logs
from aws_cdk import aws_secretsmanager as secretsmanager
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.components.acknowledged import acknowledge
from infra.components.file_bucket import ARCHIVE_REQUESTS, ARCHIVES, UNSCANNED_TAG, UNSCANNED_VALUE
from infra.components.network import log_retention
from infra.config import ARCHIVE_TIMEOUT_SECONDS, FUNCTION_TIMEOUT_SECONDS, StageConfig
from infra.package.artifact import Artifact

ROOT = Path(__file__).resolve().parents[2]
KEY_ROTATION_DAYS = 30
LIVE = "live"
"""The alias that takes traffic; rolling back is pointing it at an older version."""


class May(Flag):
    """What a function is allowed to do beyond writing its log."""

    NOTHING = 0
    USE_DATABASE = auto()
    READ_OBJECTS = auto()
    READ_UNSCANNED = auto()
    """Where uploads are scanned for malware, look at them before. For functions that give no bytes away."""
    WRITE_OBJECTS = auto()
    DELETE_OBJECTS = auto()
    LIST_UPLOADS = auto()
    ASK_FOR_ARCHIVES = auto()
    BUILD_ARCHIVES = auto()
    SWEEP_ARCHIVES = auto()
    READ_SIGNING_KEY = auto()
    ROTATE_SIGNING_KEY = auto()
    SEND_MAIL = auto()


class Runs(StrEnum):
    """What calls a function."""

    ON_REQUEST = "request"
    ON_UPLOAD = "upload"
    ON_ARCHIVE = "archive"
    ON_SCHEDULE = "schedule"
    ON_DEPLOY = "deploy"
    ON_ROTATION = "rotation"
    BY_HAND = "hand"


@dataclass(frozen=True, kw_only=True)
class FunctionSpec:
    """One line of the table. `minutes` is the period of a scheduled function."""

    name: str
    handler: str
    runs: Runs
    may: May
    memory_mib: int = 512
    timeout_seconds: int = FUNCTION_TIMEOUT_SECONDS
    minutes: int = 0
    concurrency: str | None = "worker_concurrency"
    """The setting of the stage that limits its copies; None is one at a time."""

    @property
    def is_published(self) -> bool:
        """Whether callers use a published version by its alias; what seldom runs is always the newest code."""
        return self.runs not in (Runs.BY_HAND, Runs.ON_DEPLOY, Runs.ON_ROTATION)

    @property
    def exists(self) -> bool:
        """Whether the module of the handler is in the tree."""
        return (ROOT / (self.handler.rpartition(".")[0].replace(".", "/") + ".py")).is_file()


# 1769 MiB is one whole vCPU: a password hash costs 23 ms there and four times that at 512.
FUNCTIONS = (
    FunctionSpec(
        name="Api",
        handler="lambda_app.main.handler",
        runs=Runs.ON_REQUEST,
        may=May.USE_DATABASE
        | May.READ_OBJECTS
        | May.WRITE_OBJECTS
        | May.DELETE_OBJECTS
        | May.ASK_FOR_ARCHIVES
        | May.READ_SIGNING_KEY
        | May.SEND_MAIL,
        memory_mib=1769,
        concurrency="api_concurrency",
    ),
    FunctionSpec(
        name="ObjectCreated",
        handler="lambda_app.handlers.object_created.handler",
        runs=Runs.ON_UPLOAD,
        may=May.USE_DATABASE | May.READ_OBJECTS | May.READ_UNSCANNED | May.DELETE_OBJECTS,
    ),
    FunctionSpec(
        name="Archive",
        handler="lambda_app.handlers.archive.handler",
        runs=Runs.ON_ARCHIVE,
        may=May.USE_DATABASE | May.READ_OBJECTS | May.BUILD_ARCHIVES,
        # Half of the time goes into checksums and digests: a whole vCPU, and the bandwidth that comes with it.
        memory_mib=1769,
        timeout_seconds=ARCHIVE_TIMEOUT_SECONDS,
    ),
    FunctionSpec(
        name="Sweep",
        handler="lambda_app.handlers.sweep.handler",
        runs=Runs.ON_SCHEDULE,
        may=May.USE_DATABASE | May.READ_OBJECTS | May.READ_UNSCANNED | May.DELETE_OBJECTS | May.LIST_UPLOADS | May.SWEEP_ARCHIVES,
        timeout_seconds=240,
        minutes=15,
    ),
    FunctionSpec(
        name="RotateSigningKey",
        handler="lambda_app.handlers.rotate_signing_key.handler",
        runs=Runs.ON_ROTATION,
        may=May.ROTATE_SIGNING_KEY,
        concurrency=None,
    ),
    FunctionSpec(
        name="Superuser", handler="lambda_app.handlers.superuser.handler", runs=Runs.BY_HAND, may=May.USE_DATABASE, concurrency=None
    ),
)
"""A line whose handler is not in the tree yet is left out, so that a stack never points at nothing."""

OBJECT_ACTIONS = {
    May.READ_OBJECTS: ("s3:GetObject", "s3:ListMultipartUploadParts"),
    May.WRITE_OBJECTS: ("s3:PutObject",),
    May.DELETE_OBJECTS: ("s3:DeleteObject", "s3:AbortMultipartUpload"),
}
_ARCHIVE_ACTIONS: Mapping[May, Mapping[str, tuple[str, ...]]] = {
    May.ASK_FOR_ARCHIVES: {ARCHIVES: ("s3:GetObject", "s3:DeleteObject", "s3:AbortMultipartUpload"), ARCHIVE_REQUESTS: ("s3:PutObject",)},
    May.BUILD_ARCHIVES: {
        ARCHIVES: ("s3:PutObject", "s3:GetObject", "s3:DeleteObject", "s3:ListMultipartUploadParts", "s3:AbortMultipartUpload"),
        ARCHIVE_REQUESTS: ("s3:PutObject", "s3:DeleteObject"),
    },
    May.SWEEP_ARCHIVES: {
        ARCHIVES: ("s3:DeleteObject", "s3:AbortMultipartUpload"),
        ARCHIVE_REQUESTS: ("s3:PutObject", "s3:DeleteObject"),
    },
}


def archive_actions(may: May) -> dict[str, tuple[str, ...]]:
    """Return what a function may do to zips and to requests for them, by prefix."""
    return {prefix: actions for permission, granted in _ARCHIVE_ACTIONS.items() if permission in may for prefix, actions in granted.items()}


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What functions of one stage have in common. Without a `vpc` they run outside one."""

    config: StageConfig
    artifact: Artifact
    environment: Mapping[str, str]
    vpc: ec2.IVpc | None = None
    security_group: ec2.ISecurityGroup | None = None
    snapshots: bool = True


class AppFunction(Construct):
    """A function with its log and its role."""

    def __init__(self, scope: Construct, construct_id: str, *, spec: FunctionSpec, around: Surroundings) -> None:
        super().__init__(scope, construct_id)
        self.spec = spec
        snapshots = around.snapshots and spec.is_published
        self.workers: int = getattr(around.config, spec.concurrency) if spec.concurrency else 1
        config, artifact = around.config, around.artifact
        self.log_group = logs.LogGroup(self, "Log", retention=log_retention(config), removal_policy=RemovalPolicy.DESTROY)
        self.role = self._role(in_vpc=around.vpc is not None)
        self.function = lambda_.Function(
            self,
            "Function",
            runtime=lambda_.Runtime(f"python{artifact.python_version}", lambda_.RuntimeFamily.PYTHON, supports_snap_start=True),
            architecture=lambda_.Architecture.ARM_64 if artifact.architecture == "arm64" else lambda_.Architecture.X86_64,
            code=lambda_.Code.from_asset(str(artifact.zip), asset_hash=artifact.digest),
            handler=spec.handler,
            memory_size=spec.memory_mib,
            timeout=Duration.seconds(spec.timeout_seconds),
            environment=dict(around.environment),
            role=self.role,
            log_group=self.log_group,
            logging_format=lambda_.LoggingFormat.JSON,
            tracing=lambda_.Tracing.ACTIVE,
            reserved_concurrent_executions=self.workers,
            vpc=around.vpc,
            vpc_subnets=ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_ISOLATED) if around.vpc else None,
            security_groups=[around.security_group] if around.security_group else None,
            snap_start=lambda_.SnapStartConf.ON_PUBLISHED_VERSIONS if snapshots else None,
            # Kept when a newer one is published: rolling back needs somewhere to roll back to.
            current_version_options=lambda_.VersionOptions(removal_policy=RemovalPolicy.RETAIN),
        )
        acknowledge(
            self.function,
            "AwsSolutions-L1",
            reason="The package is compiled for, and tested on, the Python it was built with; a newer runtime comes with a new build.",
        )
        if snapshots:
            reason = "The alias below is what is called, and it points at a published version."
            acknowledge(self.function, "Annotation::@aws-cdk/aws-lambda:snapStartRequirePublish", reason=reason)

    @cached_property
    def live(self) -> lambda_.Alias:
        """The alias that callers use; made when first asked for, because migrations are called directly."""
        return lambda_.Alias(self, "Live", alias_name=LIVE, version=self.function.current_version)

    def _role(self, *, in_vpc: bool) -> iam.Role:
        role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        self.log_group.grant_write(role)
        if May.READ_UNSCANNED in self.spec.may:
            # By a tag: the bucket's stack is made before this one, and its policy cannot name the role.
            Tags.of(role).add(UNSCANNED_TAG, UNSCANNED_VALUE)
        if in_vpc:
            role.add_to_policy(
                iam.PolicyStatement(
                    sid="NetworkInterfaces",
                    actions=[
                        "ec2:CreateNetworkInterface",
                        "ec2:DescribeNetworkInterfaces",
                        "ec2:DescribeSubnets",
                        "ec2:DeleteNetworkInterface",
                        "ec2:AssignPrivateIpAddresses",
                        "ec2:UnassignPrivateIpAddresses",
                    ],
                    # Lambda makes the interfaces with this role, before any has an id; the describing actions know no resource.
                    resources=["*"],
                )
            )
            acknowledge(
                role, "AwsSolutions-IAM5", "Resource::*", reason="Interfaces have no id before they exist, and traces have no resource."
            )
        return role


def run_on_schedule(function: AppFunction) -> events.Rule:
    """Call the function's live version every `minutes` of its line."""
    return events.Rule(
        function,
        "Schedule",
        schedule=events.Schedule.rate(Duration.minutes(function.spec.minutes)),
        # The next run does the work of a missed one.
        targets=[targets.LambdaFunction(function.live, retry_attempts=0)],
    )


def run_on_rotation(function: AppFunction, *, secret: secretsmanager.ISecret) -> None:
    """Let Secrets Manager call the function for each step of a rotation of the secret, every 30 days.

    Not the CDK's own RotationSchedule, which also allows GetRandomPassword on everything.
    """
    function.role.add_to_policy(
        iam.PolicyStatement(
            actions=[
                "secretsmanager:DescribeSecret",
                "secretsmanager:GetSecretValue",
                "secretsmanager:PutSecretValue",
                "secretsmanager:UpdateSecretVersionStage",
            ],
            resources=[secret.secret_arn],
        )
    )
    function.function.add_permission(
        "SecretsManager",
        principal=iam.ServicePrincipal("secretsmanager.amazonaws.com"),
        source_account=Stack.of(function).account,
    )
    schedule = secretsmanager.CfnRotationSchedule(
        function,
        "Rotation",
        secret_id=secret.secret_arn,
        rotation_lambda_arn=function.function.function_arn,
        rotation_rules=secretsmanager.CfnRotationSchedule.RotationRulesProperty(automatically_after_days=KEY_ROTATION_DAYS),
        # A deployment is no reason to rotate.
        rotate_immediately_on_update=False,
    )
    # Secrets Manager tries the function as soon as the schedule is there.
    schedule.node.add_dependency(function)


def run_on_upload(function: AppFunction, *, events_of_bucket: sqs.IQueue, batch_size: int = 10) -> None:
    """Feed the function's live version from the queue of S3's events; a record that fails comes back alone."""
    function.live.add_event_source(
        event_sources.SqsEventSource(
            events_of_bucket,
            batch_size=batch_size,
            report_batch_item_failures=True,
            # Never more copies than the function may have: the rest would be throttled and count as failed receives.
            max_concurrency=function.workers,
        )
    )
