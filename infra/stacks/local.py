"""The `local` stage: the same functions, bucket, queues and secrets, limited to the services of LocalStack's community edition.

A REST API replaces the HTTP API; PostgreSQL and PgBouncer replace RDS and RDS Proxy. There is no VPC and there are no alarms.
"""

from dataclasses import dataclass

from aws_cdk import CfnOutput, RemovalPolicy, Stack
from aws_cdk import aws_apigateway as rest
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from infra.components.database import APP_USER
from infra.components.file_bucket import CHECKPOINTS, FileBucket
from infra.components.functions import (
    CHECKPOINT_ACTIONS,
    FUNCTIONS,
    OBJECT_ACTIONS,
    AppFunction,
    FunctionContext,
    FunctionSpec,
    Permission,
    Trigger,
    run_on_schedule,
    run_on_upload,
    webhook_actions,
    worker_actions,
)
from infra.components.migration import Migration
from infra.config import StageConfig
from infra.package.artifact import Artifact

STAGE_NAME = "local"


@dataclass(frozen=True)
class Addresses:
    """Addresses between the containers of localstack-compose.yml, and the address of S3 for clients."""

    app_database: str
    owner_database: str
    aws: str
    public_s3: str


class LocalDataStack(Stack):
    """Bucket, event queue, signing key and link key."""

    def __init__(self, scope: Construct, construct_id: str, *, config: StageConfig) -> None:
        super().__init__(scope, construct_id, description="We-Upload: data, local stage")
        self.files = FileBucket(self, "Files", config=config)
        self.signing_key = secretsmanager.Secret(
            self,
            "SigningKey",
            generate_secret_string=secretsmanager.SecretStringGenerator(password_length=64, exclude_punctuation=True),
            removal_policy=RemovalPolicy.DESTROY,
        )
        self.log_key = secretsmanager.Secret(
            self,
            "LogKey",
            generate_secret_string=secretsmanager.SecretStringGenerator(password_length=64, exclude_punctuation=True),
            removal_policy=RemovalPolicy.DESTROY,
        )
        self.link_key = secretsmanager.Secret(
            self,
            "LinkKey",
            generate_secret_string=secretsmanager.SecretStringGenerator(password_length=64, exclude_punctuation=True),
            removal_policy=RemovalPolicy.DESTROY,
        )
        self.webhook_key = secretsmanager.Secret(
            self,
            "WebhookKey",
            generate_secret_string=secretsmanager.SecretStringGenerator(password_length=64, exclude_punctuation=True),
            removal_policy=RemovalPolicy.DESTROY,
        )
        CfnOutput(self, "Bucket", value=self.files.bucket.bucket_name)
        CfnOutput(self, "Queue", value=self.files.events.queue_url)
        CfnOutput(self, "SigningKeyArn", value=self.signing_key.secret_arn)
        CfnOutput(self, "LinkKeyArn", value=self.link_key.secret_arn)

    def grant_keys(self, function: AppFunction) -> None:
        """Allow the function to read the keys that its spec permits."""
        for permission, secret in (
            (Permission.READ_SIGNING_KEY, self.signing_key),
            (Permission.READ_LINK_KEY, self.link_key),
            (Permission.SEAL_AUDIT_LOG, self.log_key),
            (Permission.QUEUE_WEBHOOKS, self.webhook_key),
            (Permission.SEND_WEBHOOKS, self.webhook_key),
        ):
            if permission in function.spec.permissions:
                secret.grant_read(function.role)


class LocalApiStack(Stack):
    """Functions and REST API."""

    def __init__(
        self, scope: Construct, construct_id: str, *, config: StageConfig, data: LocalDataStack, artifact: Artifact, addresses: Addresses
    ) -> None:
        super().__init__(scope, construct_id, description="We-Upload: API, local stage")
        common = {
            "ENVIRONMENT": "local",
            "AWS_ENDPOINT_URL": addresses.aws,
            "S3_PUBLIC_ENDPOINT_URL": addresses.public_s3,
            "S3_BUCKET_NAME": data.files.bucket.bucket_name,
            "SECRET_KEY_ARN": data.signing_key.secret_arn,
        }
        app = common | {"DATABASE_URL": addresses.app_database}

        def app_context(spec: FunctionSpec) -> FunctionContext:
            keys = {
                Permission.READ_LINK_KEY: ("LINK_KEY_ARN", data.link_key),
                Permission.SEAL_AUDIT_LOG: ("LOG_KEY_ARN", data.log_key),
                Permission.QUEUE_WEBHOOKS: ("WEBHOOK_KEY_ARN", data.webhook_key),
                Permission.SEND_WEBHOOKS: ("WEBHOOK_KEY_ARN", data.webhook_key),
            }
            own = {name: secret.secret_arn for permission, (name, secret) in keys.items() if permission in spec.permissions}
            return FunctionContext(config=config, artifact=artifact, environment=app | own, snapshots=False)

        owned = common | {"DATABASE_URL": addresses.owner_database, "DATABASE_APP_ROLE": APP_USER}
        owner = FunctionContext(config=config, artifact=artifact, environment=owned, snapshots=False)
        migration = Migration(self, "Migration", context=owner)
        functions = {
            spec.name: AppFunction(self, spec.name, spec=spec, context=app_context(spec))
            for spec in FUNCTIONS
            if spec.exists and spec.trigger not in (Trigger.ROTATION, Trigger.SCAN)
        }
        for function in functions.values():
            if function.spec.is_published:
                function.live.node.add_dependency(migration.step)
            _grant(function, data)
            if function.spec.trigger is Trigger.UPLOAD:
                run_on_upload(function, events_of_bucket=data.files.events)
            elif function.spec.trigger is Trigger.ARCHIVE:
                run_on_upload(function, events_of_bucket=data.files.archive_requests, batch_size=1)
            elif function.spec.trigger is Trigger.WEBHOOK_WORK and data.files.webhook_work:
                run_on_upload(function, events_of_bucket=data.files.webhook_work, batch_size=1)
            elif function.spec.trigger is Trigger.WEBHOOK_RESULT and data.files.webhook_results:
                run_on_upload(function, events_of_bucket=data.files.webhook_results)
                run_on_schedule(function)
            elif function.spec.trigger is Trigger.SCHEDULE:
                run_on_schedule(function)
        api = rest.LambdaRestApi(
            self,
            "Gateway",
            handler=functions["Api"].live,
            deploy_options=rest.StageOptions(stage_name=STAGE_NAME),
            cloud_watch_role=False,
        )
        CfnOutput(self, "ApiId", value=api.rest_api_id)


def _grant(function: AppFunction, data: LocalDataStack) -> None:
    permissions = function.spec.permissions
    actions = [action for permission, granted in OBJECT_ACTIONS.items() if permission in permissions for action in granted]
    if actions:
        data.files.grant_objects(function.role, *actions)
    for prefix, worker in worker_actions(permissions).items():
        data.files.grant_objects(function.role, *worker, prefix=prefix)
    for prefix, granted in webhook_actions(permissions).items():
        data.files.grant_objects(function.role, *granted, prefix=prefix)
    if Permission.LIST_UPLOADS in permissions:
        data.files.grant_listing_uploads(function.role)
    data.grant_keys(function)
    if Permission.SEAL_AUDIT_LOG in permissions:
        data.files.grant_objects(function.role, *CHECKPOINT_ACTIONS, prefix=CHECKPOINTS)
