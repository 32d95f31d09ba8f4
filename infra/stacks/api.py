"""The API stack: everything that can be deleted and deployed again without loss."""

from aws_cdk import CfnOutput, Stack
from aws_cdk import aws_iam as iam
from constructs import Construct

from infra.components.budget import Budget
from infra.components.cloudfront_entry import CloudFrontEntry, OriginKeys
from infra.components.database import APP_USER
from infra.components.file_bucket import CHECKPOINTS, UPLOADS
from infra.components.functions import (
    CHECKPOINT_ACTIONS,
    FUNCTIONS,
    OBJECT_ACTIONS,
    AppFunction,
    FunctionContext,
    FunctionSpec,
    Permission,
    Trigger,
    archive_actions,
    run_on_rotation,
    run_on_schedule,
    run_on_upload,
    webhook_actions,
)
from infra.components.http_api import HttpApi
from infra.components.journeys import Journeys
from infra.components.migration import Migration
from infra.components.nag_suppressions import suppress_nag
from infra.components.network import mail_identity_arn
from infra.components.objectives import Objectives
from infra.components.observability import Observability
from infra.components.releases import CanaryRelease
from infra.config import PRESIGNED_URL_SECONDS, REPLY_TIMEOUT_SECONDS, StageConfig
from infra.package.artifact import Artifact
from infra.package.contents import DATABASE_AUTHORITIES
from infra.stacks.data import DataStack
from infra.stacks.firewall import FirewallStack
from infra.stacks.network import NetworkStack

BUCKET_ARN_EXPORT = "ExportsOutputFnGetAttFilesBucket7C17EE2EArn267E46EA"
"""Name under which the data stack exports the bucket's ARN, which is part of the id of a cdk-nag finding."""


class ApiStack(Stack):
    """Functions, gateway, schedules, alarms."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: StageConfig,
        network: NetworkStack,
        data: DataStack,
        firewall: FirewallStack | None,
        artifact: Artifact,
    ) -> None:
        super().__init__(scope, construct_id, termination_protection=config.protects_data, description="We-Upload: API")
        self._config = config
        self._data = data
        self._origin_keys = OriginKeys(self, "OriginKeys", generation=config.origin_key) if firewall else None
        common = {
            "ENVIRONMENT": config.environment,
            "S3_BUCKET_NAME": data.files.bucket.bucket_name,
            "SECRET_KEY_ARN": data.signing_key.secret_arn,
            "PRESIGNED_URL_EXPIRATION": str(PRESIGNED_URL_SECONDS),
            "DATABASE_TIMEOUT_SECONDS": str(REPLY_TIMEOUT_SECONDS),
            "BACKEND_CORS_ORIGINS": ",".join(config.cors_origins),
            "OPEN_REGISTRATION": str(config.open_registration).lower(),
            "LOG_LEVEL": "INFO",
        }
        app = {**common, "DATABASE_URL": data.database.app_url, "DATABASE_IAM_AUTH": "true", **self._optional_variables()}
        owner = {
            **common,
            "DATABASE_URL": data.database.owner_url(authorities=f"/var/task/{DATABASE_AUTHORITIES}"),
            "DATABASE_SECRET_ARN": data.database.secret.secret_arn,
            "DATABASE_APP_ROLE": APP_USER,
        }

        def app_environment(spec: FunctionSpec) -> dict[str, str]:
            keys = {
                Permission.READ_LINK_KEY: ("LINK_KEY_ARN", data.link_key),
                Permission.SEAL_AUDIT_LOG: ("LOG_KEY_ARN", data.log_key),
                Permission.QUEUE_WEBHOOKS: ("WEBHOOK_KEY_ARN", data.webhook_key),
            }
            if Permission.SEND_WEBHOOKS in spec.permissions:
                # Nothing that it could leak: neither the database's address nor the ARNs of other keys.
                outside = {name: common[name] for name in ("ENVIRONMENT", "S3_BUCKET_NAME", "LOG_LEVEL")}
                return {**outside, "WEBHOOK_KEY_ARN": data.webhook_key.secret_arn}
            return app | {name: secret.secret_arn for permission, (name, secret) in keys.items() if permission in spec.permissions}

        def function_context(environment: dict[str, str], *, in_vpc: bool = True) -> FunctionContext:
            return FunctionContext(
                config=config,
                artifact=artifact,
                environment=environment,
                vpc=network.network.vpc if in_vpc else None,
                security_group=network.network.function_group if in_vpc else None,
            )

        self.migration = Migration(self, "Migration", context=function_context(owner))
        data.database.grant_owner(self.migration.migrate.role)
        # After a restore it starts a new era of the audit log, for which it reads where the old one ended.
        data.files.grant_objects(self.migration.migrate.role, *CHECKPOINT_ACTIONS, prefix=CHECKPOINTS)
        suppress_nag(
            self.migration.migrate.role,
            "AwsSolutions-IAM5",
            f"Resource::{data.stack_name}:{BUCKET_ARN_EXPORT}/{CHECKPOINTS}*",
            reason="All copies of checkpoints: their keys contain the size of the log.",
        )
        self.functions = {
            spec.name: AppFunction(self, spec.name, spec=spec, context=function_context(app_environment(spec), in_vpc=spec.in_vpc))
            for spec in FUNCTIONS
            if spec.exists
        }
        for function in self.functions.values():
            self._wire(function)
        self.api = HttpApi(self, "Gateway", config=config, function=self.functions["Api"].live)
        observed = [*self.functions.values(), self.migration.migrate]
        observability = Observability(self, "Observability", config=config, functions=observed, api=self.api, data=data)
        Objectives(self, "Objectives", api=self.api, topic=observability.topic)
        others = [function.log_group for function in observed if function.spec.name != "Api"]
        Journeys(self, "Journeys", config=config, requests=self.functions["Api"].log_group, others=others)
        if config.releases_gradually:
            CanaryRelease(self, "Release", config=config, alias=self.functions["Api"].live, api=self.api)
        if config.alarm_email:
            Budget(self, "Budget", config=config, email=config.alarm_email)
        if firewall and self._origin_keys:
            self._attach_cloudfront(firewall, self._origin_keys)
        CfnOutput(self, "Url", value=self.api.url, description="Address of the API")
        CfnOutput(self, "ApiFunction", value=self.functions["Api"].function.function_name)
        CfnOutput(self, "SuperuserFunction", value=self.functions["Superuser"].function.function_name)
        CfnOutput(self, "AdminFunction", value=self.functions["Admin"].function.function_name)
        CfnOutput(self, "SweepFunction", value=self.functions["Sweep"].function.function_name)
        CfnOutput(self, "MigrateFunction", value=self.migration.migrate.function.function_name)

    def _optional_variables(self) -> dict[str, str]:
        domain = self._config.domain_name
        variables = {
            "MAIL_FROM": self._config.mail_from,
            "PUBLIC_URL": self._config.public_url,
            "GATEWAY_HAS_COSTLY_ROUTES": "true",
            # Only together with MAIL_FROM: without it, the settings are refused.
            "REQUIRE_VERIFIED_EMAIL": "true" if self._config.require_verified_email else None,
            "REQUIRE_SECOND_FACTOR": self._config.require_second_factor,
            "INVITATIONS_BY_USERS": "true" if self._config.invitations_by_users else None,
            # Without domain_name the address is the gateway's, which is created after the function; the API then returns links as paths.
            "API_URL": None if domain is None else f"https://{domain}",
        }
        if self._origin_keys:
            variables["ORIGIN_KEY_ARNS"] = ",".join(key.secret_arn for key in self._origin_keys.accepted)
        return {name: value for name, value in variables.items() if value}

    def _attach_cloudfront(self, firewall: FirewallStack, keys: OriginKeys) -> None:
        # The id stays "FrontDoor": another logical id would replace the distribution, and two cannot have the same domain.
        entry = CloudFrontEntry(self, "FrontDoor", config=self._config, api=self.api.api, key=keys.current, acl_arn=firewall.acl_arn)
        # The API must accept a new key before CloudFront sends it.
        entry.node.add_dependency(self.functions["Api"].live)
        self.add_stack_dependency(firewall)
        CfnOutput(self, "PointDomainAt", value=entry.distribution.distribution_domain_name, description="Target of the domain's DNS record")

    def _wire(self, function: AppFunction) -> None:
        """Grant the permissions of the function's spec and connect its trigger."""
        if function.spec.is_published:
            # The alias moves to the new version only after the migration that it needs.
            function.live.node.add_dependency(self.migration.step)
        self._grant(function)
        if function.spec.trigger is Trigger.UPLOAD:
            run_on_upload(function, events_of_bucket=self._data.files.events)
        elif function.spec.trigger is Trigger.ARCHIVE:
            run_on_upload(function, events_of_bucket=self._data.files.archive_requests, batch_size=1)
        elif function.spec.trigger is Trigger.WEBHOOK_WORK:
            run_on_upload(function, events_of_bucket=self._data.files.webhook_work, batch_size=1)
        elif function.spec.trigger is Trigger.WEBHOOK_RESULT:
            run_on_upload(function, events_of_bucket=self._data.files.webhook_results)
            run_on_schedule(function)
        elif function.spec.trigger is Trigger.SCHEDULE:
            run_on_schedule(function)
        elif function.spec.trigger is Trigger.ROTATION:
            run_on_rotation(function, secret=self._data.signing_key)

    def _grant(self, function: AppFunction) -> None:
        data, permissions, role = self._data, function.spec.permissions, function.role
        actions = [action for permission, granted in OBJECT_ACTIONS.items() if permission in permissions for action in granted]
        if actions:
            data.files.grant_objects(role, *actions)
            suppress_nag(
                role,
                "AwsSolutions-IAM5",
                f"Resource::{data.stack_name}:{BUCKET_ARN_EXPORT}/{UPLOADS}*",
                reason="All objects below the upload prefix: their keys are generated at run time.",
            )
        for prefix, archive in archive_actions(permissions).items():
            data.files.grant_objects(role, *archive, prefix=prefix)
            suppress_nag(
                role,
                "AwsSolutions-IAM5",
                f"Resource::{data.stack_name}:{BUCKET_ARN_EXPORT}/{prefix}*",
                reason="All archives and queue markers: their keys are generated at run time.",
            )
        self._grant_webhooks(function)
        if Permission.USE_DATABASE in permissions:
            data.database.grant_connect(role)
        if Permission.LIST_UPLOADS in permissions:
            data.files.grant_listing_uploads(role)
        if Permission.READ_SIGNING_KEY in permissions:
            _allow_reading(role, data.signing_key.secret_arn)
        if Permission.SEAL_AUDIT_LOG in permissions:
            _allow_reading(role, data.log_key.secret_arn)
            data.files.grant_objects(role, *CHECKPOINT_ACTIONS, prefix=CHECKPOINTS)
            suppress_nag(
                role,
                "AwsSolutions-IAM5",
                f"Resource::{data.stack_name}:{BUCKET_ARN_EXPORT}/{CHECKPOINTS}*",
                reason="All copies of checkpoints: their keys contain the size of the log.",
            )
        if Permission.READ_LINK_KEY in permissions:
            _allow_reading(role, data.link_key.secret_arn)
        if self._origin_keys and function.spec.trigger is Trigger.REQUEST:
            _allow_reading(role, *(key.secret_arn for key in self._origin_keys.accepted))
        if self._config.mail_from and Permission.SEND_MAIL in permissions:
            _allow_sending_mail(role, self._config)

    def _grant_webhooks(self, function: AppFunction) -> None:
        data, role = self._data, function.role
        if actions := webhook_actions(function.spec.permissions):
            _allow_reading(role, data.webhook_key.secret_arn)
        for prefix, granted in actions.items():
            data.files.grant_objects(role, *granted, prefix=prefix)
            suppress_nag(
                role,
                "AwsSolutions-IAM5",
                f"Resource::{data.stack_name}:{BUCKET_ARN_EXPORT}/{prefix}*",
                reason="All batches of webhook messages: their keys are generated at run time.",
            )


def _allow_reading(role: iam.Role, *secret_arns: str) -> None:
    # Not grant_read, which adds DescribeSecret; the application never calls it.
    role.add_to_policy(iam.PolicyStatement(actions=["secretsmanager:GetSecretValue"], resources=list(secret_arns)))


def _allow_sending_mail(role: iam.Role, config: StageConfig) -> None:
    role.add_to_policy(
        iam.PolicyStatement(
            sid="OneSender",
            actions=["ses:SendEmail"],
            resources=[mail_identity_arn(config)],
            conditions={"StringEquals": {"ses:FromAddress": config.mail_from}},
        )
    )
