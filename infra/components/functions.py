"""The Lambda functions: one FunctionSpec each, and a role with exactly the permissions of the spec."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
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
from aws_cdk import aws_logs_destinations as destinations
from aws_cdk import aws_secretsmanager as secretsmanager
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.components.file_bucket import (
    ARCHIVE_REQUESTS,
    ARCHIVES,
    PREVIEW_REQUESTS,
    PREVIEW_RESULTS,
    PREVIEWS,
    RELEASER_TAG,
    RELEASER_VALUE,
    UNSCANNED_TAG,
    UNSCANNED_VALUE,
    UPLOADS,
    WEBHOOK_RESULTS,
    WEBHOOK_WORK,
)
from infra.components.nag_suppressions import suppress_nag
from infra.components.network import log_retention
from infra.config import (
    ARCHIVE_TIMEOUT_SECONDS,
    FUNCTION_TIMEOUT_SECONDS,
    HEALTH_REQUEST,
    PREVIEW_TIMEOUT_SECONDS,
    STARTING_TIMEOUT_SECONDS,
    WEBHOOK_TIMEOUT_SECONDS,
    StageConfig,
)
from infra.package.artifact import Artifact

ROOT = Path(__file__).resolve().parents[2]
KEY_ROTATION_DAYS = 30
DAILY_HOUR = 3
"""Hour (UTC) of the schedules of a stage whose database pauses."""
AUDITED_REQUEST = '{ $.message = "request" && $.audit_leaves[0] = "*" }'
"""Pattern of the log lines of requests that wrote audit events (routers/http/request_middleware)."""
LIVE = "live"
"""The alias that takes traffic. To roll back, point it at an older version."""


class Permission(Flag):
    """What a function may do besides writing its log."""

    NOTHING = 0
    USE_DATABASE = auto()
    READ_OBJECTS = auto()
    READ_UNSCANNED = auto()
    """Read objects before the malware scan. Only for functions that never serve the bytes."""
    WRITE_OBJECTS = auto()
    DELETE_OBJECTS = auto()
    LIST_UPLOADS = auto()
    REQUEST_ARCHIVES = auto()
    BUILD_ARCHIVES = auto()
    SWEEP_ARCHIVES = auto()
    SHOW_PREVIEWS = auto()
    """Request previews, sign the URLs of their images, and delete them."""
    RECORD_PREVIEWS = auto()
    """Request previews, and record the results of the worker."""
    SWEEP_PREVIEWS = auto()
    MAKE_PREVIEWS = auto()
    """Read files and write previews. The function decodes files from users, so it has no other permission."""
    READ_SIGNING_KEY = auto()
    READ_LINK_KEY = auto()
    ROTATE_SIGNING_KEY = auto()
    SEND_MAIL = auto()
    READ_IDENTITY_KEY = auto()
    READ_CLIENT_SECRETS = auto()
    """Read the secrets of this service at the identity providers."""
    SEAL_AUDIT_LOG = auto()
    """Sign checkpoints of the audit log and copy them to the bucket."""
    QUEUE_WEBHOOKS = auto()
    """Write encrypted batches of webhook messages to the bucket, and read their results."""
    SEND_WEBHOOKS = auto()
    """Read these batches, and write their results."""
    READ_SCAN_TAGS = auto()
    """Read the tag that the malware scan writes."""
    RELEASE_SCANNED = auto()
    """Replace that tag with the one that makes an object readable, and with no other."""


class Trigger(StrEnum):
    """What invokes a function."""

    REQUEST = "request"
    UPLOAD = "upload"
    ARCHIVE = "archive"
    PREVIEW = "preview"
    WEBHOOK_WORK = "webhook_work"
    WEBHOOK_RESULT = "webhook_result"
    """Results, and a schedule too."""
    SCAN = "scan"
    SCHEDULE = "schedule"
    DEPLOY = "deploy"
    ROTATION = "rotation"
    MANUAL = "manual"


@dataclass(frozen=True, kw_only=True)
class FunctionSpec:
    """One function. `minutes` is the period of a scheduled function."""

    name: str
    handler: str
    trigger: Trigger
    permissions: Permission
    memory_mib: int = 512
    timeout_seconds: int = FUNCTION_TIMEOUT_SECONDS
    minutes: int = 0
    daily_minute: int = 0
    """Minute after `DAILY_HOUR` of a scheduled function in a stage whose database pauses. All in one hour start the database once."""
    follows_audited_requests: bool = False
    """Whether it also runs after requests that wrote audit events, in a stage whose database pauses."""
    concurrency: str | None = "worker_concurrency"
    """The stage setting that limits its concurrent executions. None: one at a time."""
    starts_again: bool = False
    """Whether a run may lead to the next run of the same function, through an object and a queue.

    Lambda stops such a chain after about 16 runs unless the function allows it (Lambda developer guide, "Use Lambda recursive loop
    detection"). The chain ends by itself: a run that makes no progress is repeated a limited number of times.
    """
    in_vpc: bool = True
    """False for a function that sends to the internet. It has no access to the database."""

    @property
    def is_published(self) -> bool:
        """Whether callers use a published version through the alias. Other functions always run the newest code."""
        return self.trigger not in (Trigger.MANUAL, Trigger.DEPLOY, Trigger.ROTATION)

    @property
    def has_snapshots(self) -> bool:
        """Whether it starts from a SnapStart snapshot. Each version's snapshot has a cost, so only a function that callers wait for."""
        return self.trigger is Trigger.REQUEST

    @property
    def exists(self) -> bool:
        """Whether the handler's module is in the source tree."""
        return (ROOT / (self.handler.rpartition(".")[0].replace(".", "/") + ".py")).is_file()


# 1769 MiB is one full vCPU: a password hash takes 23 ms there, and four times that at 512 MiB.
FUNCTIONS = (
    FunctionSpec(
        name="Api",
        handler="lambda_app.main.handler",
        trigger=Trigger.REQUEST,
        permissions=Permission.USE_DATABASE
        | Permission.READ_OBJECTS
        | Permission.WRITE_OBJECTS
        | Permission.DELETE_OBJECTS
        | Permission.REQUEST_ARCHIVES
        | Permission.SHOW_PREVIEWS
        | Permission.READ_SIGNING_KEY
        | Permission.READ_LINK_KEY
        | Permission.RELEASE_SCANNED
        | Permission.READ_IDENTITY_KEY
        | Permission.SEND_MAIL,
        memory_mib=1769,
        concurrency="api_concurrency",
    ),
    FunctionSpec(
        name="ObjectCreated",
        handler="lambda_app.handlers.object_created.handler",
        trigger=Trigger.UPLOAD,
        permissions=Permission.USE_DATABASE
        | Permission.READ_OBJECTS
        | Permission.READ_UNSCANNED
        | Permission.DELETE_OBJECTS
        | Permission.RECORD_PREVIEWS,
    ),
    FunctionSpec(
        name="Archive",
        handler="lambda_app.handlers.archive.handler",
        trigger=Trigger.ARCHIVE,
        permissions=Permission.USE_DATABASE | Permission.READ_OBJECTS | Permission.BUILD_ARCHIVES,
        # Checksums and digests take half of the time, so the worker gets one full vCPU and its network bandwidth.
        memory_mib=1769,
        timeout_seconds=ARCHIVE_TIMEOUT_SECONDS,
        # A large archive is continued after 15 minutes.
        starts_again=True,
    ),
    FunctionSpec(
        name="ScanResults",
        handler="lambda_app.handlers.scan_results.handler",
        trigger=Trigger.SCAN,
        permissions=Permission.USE_DATABASE | Permission.READ_SCAN_TAGS,
    ),
    FunctionSpec(
        name="Sweep",
        handler="lambda_app.handlers.sweep.handler",
        trigger=Trigger.SCHEDULE,
        permissions=Permission.USE_DATABASE
        | Permission.READ_OBJECTS
        | Permission.READ_UNSCANNED
        | Permission.DELETE_OBJECTS
        | Permission.LIST_UPLOADS
        | Permission.SWEEP_ARCHIVES
        | Permission.SWEEP_PREVIEWS,
        timeout_seconds=240,
        minutes=15,
        daily_minute=10,
    ),
    FunctionSpec(
        name="Seal",
        handler="lambda_app.handlers.seal.handler",
        trigger=Trigger.SCHEDULE,
        # The only role that can read the private key of the audit log. It also sends notifications, whose links the link key signs.
        permissions=Permission.USE_DATABASE | Permission.SEAL_AUDIT_LOG | Permission.READ_LINK_KEY | Permission.SEND_MAIL,
        timeout_seconds=50,
        minutes=1,
        # After the sweep, which also writes audit events.
        daily_minute=15,
        follows_audited_requests=True,
        concurrency=None,
    ),
    FunctionSpec(
        name="WebhookQueue",
        handler="lambda_app.handlers.webhook_queue.handler",
        trigger=Trigger.WEBHOOK_RESULT,
        # The key of the links also encrypts the secrets of webhooks.
        permissions=Permission.USE_DATABASE | Permission.READ_LINK_KEY | Permission.QUEUE_WEBHOOKS,
        timeout_seconds=50,
        minutes=1,
        # The result of a batch leads to the next batch of its receiver, for as long as messages wait.
        starts_again=True,
    ),
    FunctionSpec(
        name="WebhookDelivery",
        handler="lambda_app.handlers.webhook_delivery.handler",
        trigger=Trigger.WEBHOOK_WORK,
        # Requests to addresses that users choose: no database, no other key, no objects of files, no network of ours.
        permissions=Permission.SEND_WEBHOOKS,
        timeout_seconds=WEBHOOK_TIMEOUT_SECONDS,
        starts_again=True,
        in_vpc=False,
    ),
    FunctionSpec(
        name="RotateSigningKey",
        handler="lambda_app.handlers.rotate_signing_key.handler",
        trigger=Trigger.ROTATION,
        permissions=Permission.ROTATE_SIGNING_KEY,
        concurrency=None,
    ),
    FunctionSpec(
        name="Superuser",
        handler="lambda_app.handlers.superuser.handler",
        trigger=Trigger.MANUAL,
        permissions=Permission.USE_DATABASE,
        concurrency=None,
    ),
    FunctionSpec(
        name="Admin",
        handler="lambda_app.handlers.admin.handler",
        trigger=Trigger.MANUAL,
        # The key of the links: `reencrypt-links`.
        permissions=Permission.USE_DATABASE | Permission.READ_LINK_KEY,
        # `verify-audit` reads and hashes the complete log.
        memory_mib=1769,
        timeout_seconds=ARCHIVE_TIMEOUT_SECONDS,
        concurrency=None,
    ),
)
"""The stacks leave out a spec whose handler module does not exist."""

PREVIEW = FunctionSpec(
    name="Preview",
    handler="lambda_preview.handler.handler",
    trigger=Trigger.PREVIEW,
    permissions=Permission.MAKE_PREVIEWS,
    # One full vCPU and the gigabyte of the decoder, beside the worker itself.
    memory_mib=2048,
    timeout_seconds=PREVIEW_TIMEOUT_SECONDS,
)
"""The preview worker: a package of its own, outside the VPC, without the settings of the application."""

IDENTITY = FunctionSpec(
    name="Identity",
    handler="lambda_app.identity_main.handler",
    trigger=Trigger.REQUEST,
    # It receives what others send, so it has no database, no bucket and none of the other keys.
    permissions=Permission.READ_IDENTITY_KEY | Permission.READ_CLIENT_SECRETS,
    memory_mib=1024,
)
"""Calls the identity providers, outside the VPC. Only in stages with `identity_providers`."""


def functions_of(config: StageConfig) -> tuple[FunctionSpec, ...]:
    """Return the functions as the stage needs them.

    In a stage whose database pauses, those that no caller waits for have time for its start, and the keys in S3 have their own rotation.
    """
    left_out = set() if config.scans_for_malware else {Trigger.SCAN}
    if not config.sends_webhooks:
        left_out |= {Trigger.WEBHOOK_WORK, Trigger.WEBHOOK_RESULT}
    specs = tuple(spec for spec in FUNCTIONS if spec.trigger not in left_out)
    return tuple(_starting(spec) for spec in specs) if config.pauses_when_idle else specs


def _starting(spec: FunctionSpec) -> FunctionSpec:
    if spec.trigger is Trigger.REQUEST:
        return spec
    handler = "lambda_app.handlers.rotate_stored_key.handler" if spec.trigger is Trigger.ROTATION else spec.handler
    return replace(spec, handler=handler, timeout_seconds=max(spec.timeout_seconds, STARTING_TIMEOUT_SECONDS))


OBJECT_ACTIONS = {
    Permission.READ_OBJECTS: ("s3:GetObject", "s3:ListMultipartUploadParts"),
    Permission.WRITE_OBJECTS: ("s3:PutObject",),
    Permission.DELETE_OBJECTS: ("s3:DeleteObject", "s3:AbortMultipartUpload"),
}
_WORKER_ACTIONS: Mapping[Permission, Mapping[str, tuple[str, ...]]] = {
    Permission.REQUEST_ARCHIVES: {
        ARCHIVES: ("s3:GetObject", "s3:DeleteObject", "s3:AbortMultipartUpload"),
        ARCHIVE_REQUESTS: ("s3:PutObject",),
    },
    Permission.BUILD_ARCHIVES: {
        ARCHIVES: ("s3:PutObject", "s3:GetObject", "s3:DeleteObject", "s3:ListMultipartUploadParts", "s3:AbortMultipartUpload"),
        ARCHIVE_REQUESTS: ("s3:PutObject", "s3:DeleteObject"),
    },
    Permission.SWEEP_ARCHIVES: {
        ARCHIVES: ("s3:DeleteObject", "s3:AbortMultipartUpload"),
        ARCHIVE_REQUESTS: ("s3:PutObject", "s3:DeleteObject"),
    },
    Permission.SHOW_PREVIEWS: {PREVIEWS: ("s3:GetObject", "s3:DeleteObject"), PREVIEW_REQUESTS: ("s3:PutObject",)},
    Permission.RECORD_PREVIEWS: {
        PREVIEWS: ("s3:DeleteObject",),
        PREVIEW_REQUESTS: ("s3:PutObject",),
        PREVIEW_RESULTS: ("s3:GetObject", "s3:DeleteObject"),
    },
    Permission.SWEEP_PREVIEWS: {PREVIEWS: ("s3:DeleteObject",), PREVIEW_REQUESTS: ("s3:PutObject",)},
    Permission.MAKE_PREVIEWS: {
        UPLOADS: ("s3:GetObject",),
        PREVIEWS: ("s3:PutObject",),
        PREVIEW_RESULTS: ("s3:PutObject",),
        PREVIEW_REQUESTS: ("s3:DeleteObject",),
    },
}

_WEBHOOK_ACTIONS: Mapping[Permission, Mapping[str, tuple[str, ...]]] = {
    Permission.QUEUE_WEBHOOKS: {WEBHOOK_WORK: ("s3:PutObject",), WEBHOOK_RESULTS: ("s3:GetObject", "s3:DeleteObject")},
    Permission.SEND_WEBHOOKS: {WEBHOOK_WORK: ("s3:GetObject", "s3:DeleteObject"), WEBHOOK_RESULTS: ("s3:PutObject",)},
}

CHECKPOINT_ACTIONS = ("s3:PutObject", "s3:GetObject")
"""Actions of the sealer on the copies of checkpoints. It cannot delete them."""


def worker_actions(permissions: Permission) -> dict[str, tuple[str, ...]]:
    """Return the S3 actions on archives, previews and the objects that request them, by key prefix."""
    return {
        prefix: actions
        for permission, granted in _WORKER_ACTIONS.items()
        if permission in permissions
        for prefix, actions in granted.items()
    }


def webhook_actions(permissions: Permission) -> dict[str, tuple[str, ...]]:
    """Return the S3 actions on batches of webhook messages and their results, by key prefix."""
    return {
        prefix: actions
        for permission, granted in _WEBHOOK_ACTIONS.items()
        if permission in permissions
        for prefix, actions in granted.items()
    }


@dataclass(frozen=True, kw_only=True)
class FunctionContext:
    """What all functions of a stage share. Without `vpc` they run outside a VPC."""

    config: StageConfig
    artifact: Artifact
    environment: Mapping[str, str]
    vpc: ec2.IVpc | None = None
    security_group: ec2.ISecurityGroup | None = None
    snapshots: bool = True


class AppFunction(Construct):
    """A function with its log group and its role."""

    def __init__(self, scope: Construct, construct_id: str, *, spec: FunctionSpec, context: FunctionContext) -> None:
        super().__init__(scope, construct_id)
        self.spec = spec
        self.has_snapshots = snapshots = context.snapshots and spec.has_snapshots
        self.workers: int = getattr(context.config, spec.concurrency) if spec.concurrency else 1
        config, artifact = context.config, context.artifact
        self._config = config
        self.log_group = logs.LogGroup(self, "Log", retention=log_retention(config), removal_policy=RemovalPolicy.DESTROY)
        self.role = self._role(in_vpc=context.vpc is not None)
        self.function = lambda_.Function(
            self,
            "Function",
            runtime=lambda_.Runtime(f"python{artifact.python_version}", lambda_.RuntimeFamily.PYTHON, supports_snap_start=True),
            architecture=lambda_.Architecture.ARM_64 if artifact.architecture == "arm64" else lambda_.Architecture.X86_64,
            code=lambda_.Code.from_asset(str(artifact.zip), asset_hash=artifact.digest),
            handler=spec.handler,
            memory_size=spec.memory_mib,
            timeout=Duration.seconds(spec.timeout_seconds),
            environment=dict(context.environment),
            role=self.role,
            log_group=self.log_group,
            logging_format=lambda_.LoggingFormat.JSON,
            tracing=lambda_.Tracing.ACTIVE,
            reserved_concurrent_executions=self.workers if config.reserves_concurrency else None,
            vpc=context.vpc,
            vpc_subnets=ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_ISOLATED) if context.vpc else None,
            security_groups=[context.security_group] if context.security_group else None,
            recursive_loop=lambda_.RecursiveLoop.ALLOW if spec.starts_again else None,
            snap_start=lambda_.SnapStartConf.ON_PUBLISHED_VERSIONS if snapshots else None,
            # Older versions stay, so that the alias can be rolled back.
            current_version_options=lambda_.VersionOptions(removal_policy=RemovalPolicy.RETAIN),
        )
        suppress_nag(
            self.function,
            "AwsSolutions-L1",
            reason="The package is compiled for and tested with one Python version; a newer runtime needs a new build.",
        )
        if snapshots:
            reason = "Callers use the alias, which points at a published version."
            suppress_nag(self.function, "Annotation::@aws-cdk/aws-lambda:snapStartRequirePublish", reason=reason)

    @cached_property
    def live(self) -> lambda_.Alias:
        """The alias that callers use. Created on first access, because migrations are invoked without one."""
        return lambda_.Alias(self, "Live", alias_name=LIVE, version=self.function.current_version)

    def _role(self, *, in_vpc: bool) -> iam.Role:
        role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        self.log_group.grant_write(role)
        if self._config.scans_for_malware and Permission.RELEASE_SCANNED in self.spec.permissions:
            Tags.of(role).add(RELEASER_TAG, RELEASER_VALUE)
        if Permission.READ_UNSCANNED in self.spec.permissions:
            # By tag: the bucket's stack is deployed first, so its policy cannot name the role.
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
                    # Lambda creates the interfaces with this role before they have an id; Describe actions take no resource.
                    resources=["*"],
                )
            )
        suppress_nag(
            role,
            "AwsSolutions-IAM5",
            "Resource::*",
            reason="Network interfaces have no id before they exist, and X-Ray actions take no resource.",
        )
        return role


def run_on_schedule(function: AppFunction, *, once_a_day: bool = False) -> events.Rule:
    """Invoke the function's live version every `minutes` of its spec, or once a day."""
    daily = events.Schedule.cron(hour=str(DAILY_HOUR), minute=str(function.spec.daily_minute))
    return events.Rule(
        function,
        "Schedule",
        schedule=daily if once_a_day else events.Schedule.rate(Duration.minutes(function.spec.minutes)),
        # The next run also does the work of a failed one.
        targets=[targets.LambdaFunction(function.live, retry_attempts=0)],
    )


def keep_snapshots(functions: Iterable[AppFunction]) -> None:
    """Invoke the live version of each function with snapshots once a day.

    Lambda deletes the snapshot of a version that was not invoked for 14 days. It then refuses calls for some minutes, until it has another
    (Lambda developer guide, "Troubleshooting SnapStart errors").
    """
    request = events.RuleTargetInput.from_object(HEALTH_REQUEST)
    for function in functions:
        if function.has_snapshots:
            events.Rule(
                function,
                "KeepSnapshot",
                schedule=events.Schedule.rate(Duration.days(1)),
                targets=[targets.LambdaFunction(function.live, event=request, retry_attempts=0)],
            )


def run_monthly(function: AppFunction) -> None:
    """Invoke the function every `KEY_ROTATION_DAYS`."""
    events.Rule(
        function,
        "Schedule",
        schedule=events.Schedule.rate(Duration.days(KEY_ROTATION_DAYS)),
        targets=[targets.LambdaFunction(function.function)],
    )


def run_after_audited_requests(function: AppFunction, *, requests: logs.ILogGroup) -> None:
    """Invoke the function's live version with the log lines of requests that wrote audit events.

    CloudWatch Logs does it, some seconds later, so that no caller waits for it. The database has just served the request, so it is awake.
    """
    logs.SubscriptionFilter(
        function,
        "AfterRequests",
        log_group=requests,
        destination=destinations.LambdaDestination(function.live),
        filter_pattern=logs.FilterPattern.literal(AUDITED_REQUEST),
    )


def run_on_rotation(function: AppFunction, *, secret: secretsmanager.ISecret) -> None:
    """Let Secrets Manager invoke the function for each step of the secret's rotation, every 30 days.

    Not the CDK's RotationSchedule, which also allows GetRandomPassword on all resources.
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
        # A deployment must not rotate the key.
        rotate_immediately_on_update=False,
    )
    # Secrets Manager invokes the function as soon as the schedule exists.
    schedule.node.add_dependency(function)


def run_on_upload(function: AppFunction, *, events_of_bucket: sqs.IQueue, batch_size: int = 10) -> None:
    """Invoke the function's live version with S3 events from the queue; only records that failed are retried."""
    function.live.add_event_source(
        event_sources.SqsEventSource(
            events_of_bucket,
            batch_size=batch_size,
            report_batch_item_failures=True,
            # Not above the function's reserved concurrency: a throttled invocation counts as a failed receive.
            max_concurrency=function.workers,
        )
    )
