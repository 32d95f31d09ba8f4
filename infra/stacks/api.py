"""The API stack: everything that can be deleted and deployed again without loss."""

import shutil
import tempfile
from pathlib import Path

from aws_cdk import CfnOutput, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.components.budget import Budget
from infra.components.checkpoint_bucket import READ_ACTIONS, SEAL_ACTIONS
from infra.components.cloudfront_entry import CloudFrontEntry, OriginKeys
from infra.components.database import APP_USER
from infra.components.file_bucket import CHECKPOINTS, UPLOADS
from infra.components.functions import (
    CHECKPOINT_ACTIONS,
    IDENTITY,
    OBJECT_ACTIONS,
    PREVIEW,
    AppFunction,
    FunctionContext,
    FunctionSpec,
    Permission,
    Trigger,
    functions_of,
    keep_snapshots,
    run_after_audited_requests,
    run_monthly,
    run_on_rotation,
    run_on_schedule,
    run_on_upload,
    webhook_actions,
    worker_actions,
)
from infra.components.http_api import HttpApi
from infra.components.journeys import Journeys
from infra.components.migration import Migration
from infra.components.nag_suppressions import suppress_nag
from infra.components.network import mail_identity_arn
from infra.components.objectives import Objectives
from infra.components.observability import Observability
from infra.components.releases import CanaryRelease
from infra.config import PAUSED_SIGN_IN_SECONDS, PRESIGNED_URL_SECONDS, REPLY_TIMEOUT_SECONDS, STARTING_SIGN_IN_SECONDS, StageConfig
from infra.package.artifact import Artifact
from infra.package.contents import DATABASE_AUTHORITIES
from infra.stacks.data import DataStack
from infra.stacks.firewall import FirewallStack
from infra.stacks.network import NetworkStack

BUCKET_ARN_EXPORT = "ExportsOutputFnGetAttFilesBucket7C17EE2EArn267E46EA"
"""Name under which the data stack exports the bucket's ARN, which is part of the id of a cdk-nag finding."""
CHECKPOINT_ARN_EXPORT = "ExportsOutputFnGetAttCheckpointsBucket6BA0C50DArn65BE4D34"
"""The same for the bucket of locked checkpoints."""


PLACES_NAME = "places.mmdb"
"""Name of the database of places in its layer."""
AUTHORITIES = f"/var/task/{DATABASE_AUTHORITIES}"
"""Path of the certificate authorities of RDS in a function."""


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
        previews: Artifact | None,
    ) -> None:
        super().__init__(scope, construct_id, termination_protection=config.protects_data, description="We-Upload: API")
        self._config = config
        self._data = data
        self._origin_keys = OriginKeys(self, "OriginKeys", generation=config.origin_key) if firewall else None

        def function_context(environment: dict[str, str], *, in_vpc: bool = True) -> FunctionContext:
            return FunctionContext(
                config=config,
                artifact=artifact,
                environment=environment,
                snapshots=not config.pauses_when_idle,
                vpc=network.network.vpc if in_vpc else None,
                security_group=network.network.function_group if in_vpc else None,
            )

        self.migration = Migration(self, "Migration", context=function_context(self._owner_variables()))
        self._grant_migration()
        self.functions = {
            spec.name: AppFunction(self, spec.name, spec=spec, context=function_context(self._app_variables(spec), in_vpc=spec.in_vpc))
            for spec in functions_of(config)
            if spec.exists
        }
        self._add_files()
        if previews is not None:
            self.functions[PREVIEW.name] = self._preview_worker(previews)
        for function in self.functions.values():
            self._wire(function)
        identity = self._make_identity_function(artifact) if config.identity_providers else None
        self.api = HttpApi(
            self, "Gateway", config=config, function=self.functions["Api"].live, identity=identity.live if identity else None
        )
        observed = [*self.functions.values(), *([identity] if identity else []), self.migration.migrate]
        keep_snapshots(observed)
        observability = Observability(self, "Observability", config=config, functions=observed, api=self.api, data=data)
        if not config.pauses_when_idle:
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

    def _add_files(self) -> None:
        """Add the operator's files to the functions whose variables name them, as layers, which Lambda unpacks to `/opt`."""
        config = self._config
        if config.brand_logo is not None:
            name = _logo_name(config.brand_logo)
            self.functions["Api"].function.add_layers(_layer(self, "Logo", Path(config.brand_logo), name=name, description="logo"))
        if config.places_file is not None:
            layer = _layer(self, "Places", Path(config.places_file), name=PLACES_NAME, description="database of places")
            for function in self.functions.values():
                if _shows_places(function.spec):
                    function.function.add_layers(layer)

    def _preview_worker(self, artifact: Artifact) -> AppFunction:
        """Return the function that decodes files: outside the VPC, and with nothing but the name of the bucket."""
        bucket = {"S3_BUCKET_NAME": self._data.files.bucket.bucket_name}
        context = FunctionContext(config=self._config, artifact=artifact, environment=bucket)
        return AppFunction(self, PREVIEW.name, spec=PREVIEW, context=context)

    def _common_variables(self) -> dict[str, str]:
        config = self._config
        return {
            "ENVIRONMENT": config.environment,
            "S3_BUCKET_NAME": self._data.files.bucket.bucket_name,
            "SECRET_KEY_ARN": self._data.signing_key.arn,
            "PRESIGNED_URL_EXPIRATION": str(PRESIGNED_URL_SECONDS),
            "DATABASE_TIMEOUT_SECONDS": str(REPLY_TIMEOUT_SECONDS),
            "BACKEND_CORS_ORIGINS": ",".join(config.cors_origins),
            "OPEN_REGISTRATION": str(config.open_registration).lower(),
            "SCANS_FOR_MALWARE": str(config.scans_for_malware).lower(),
            "SERVES_UNSCANNABLE": str(config.serves_unscannable).lower(),
            "PREVIEWS_ENABLED": str(config.makes_previews).lower(),
            "LOG_LEVEL": "INFO",
        }

    def _owner_variables(self) -> dict[str, str]:
        data = self._data
        variables = self._common_variables() | {
            **self._checkpoint_variables(),
            "DATABASE_URL": data.database.owner_url(authorities=AUTHORITIES),
            "DATABASE_APP_ROLE": APP_USER,
        }
        if data.database.secret is not None:
            return variables | {"DATABASE_SECRET_ARN": data.database.secret.secret_arn}
        # The migrate function creates the keys that do not exist yet.
        keys = {"LINK_KEY_ARN": data.link_key.arn, "LOG_KEY_ARN": data.log_key.arn}
        if data.identity_key is not None:
            keys["IDENTITY_KEY_ARN"] = data.identity_key.arn
        return variables | {"DATABASE_IAM_AUTH": "true", **keys, **_pausing_variables(STARTING_SIGN_IN_SECONDS)}

    def _app_variables(self, spec: FunctionSpec) -> dict[str, str]:
        data = self._data
        url = {"DATABASE_URL": data.database.app_url(authorities=AUTHORITIES), "DATABASE_IAM_AUTH": "true"}
        keys = {
            Permission.READ_LINK_KEY: ("LINK_KEY_ARN", data.link_key),
            Permission.SEAL_AUDIT_LOG: ("LOG_KEY_ARN", data.log_key),
            Permission.QUEUE_WEBHOOKS: ("WEBHOOK_KEY_ARN", data.webhook_key),
            Permission.SEND_WEBHOOKS: ("WEBHOOK_KEY_ARN", data.webhook_key),
        }
        own = {name: key.arn for permission, (name, key) in keys.items() if key and permission in spec.permissions}
        if not spec.in_vpc:
            # Nothing that it could leak: neither the address of the database nor the ARNs of other keys.
            common = self._common_variables()
            return {name: common[name] for name in ("ENVIRONMENT", "S3_BUCKET_NAME", "LOG_LEVEL")} | own
        if Permission.SEAL_AUDIT_LOG in spec.permissions:
            own |= self._checkpoint_variables()
        if self._config.pauses_when_idle:
            is_awaited = spec.trigger is Trigger.REQUEST
            own |= _pausing_variables(PAUSED_SIGN_IN_SECONDS if is_awaited else STARTING_SIGN_IN_SECONDS)
        if data.database.read_host is not None and spec.trigger is Trigger.REQUEST:
            own |= {"DATABASE_READ_HOST": data.database.read_host}
        if self._config.places_file is not None and _shows_places(spec):
            own |= {"PLACES_FILE": f"/opt/{PLACES_NAME}"}
        if spec.trigger is Trigger.REQUEST:
            # The network of the API has no access to the providers.
            own |= {**self._identity_variables(), "SERVES_IDENTITY_ROUTES": "false"}
            if self._config.brand_logo is not None:
                own |= {"BRAND_LOGO_FILE": f"/opt/{_logo_name(self._config.brand_logo)}"}
        return self._common_variables() | url | self._optional_variables() | own

    def _checkpoint_variables(self) -> dict[str, str]:
        checkpoints = self._data.checkpoints
        if checkpoints is None:
            return {}
        return {
            "CHECKPOINT_BUCKET_NAME": checkpoints.bucket.bucket_name,
            "CHECKPOINT_LOCK_DAYS": str(self._config.checkpoint_lock_days),
        }

    def _grant_checkpoints(self, role: iam.Role, *, can_write: bool) -> None:
        data = self._data
        if data.checkpoints is None:
            data.files.grant_objects(role, *(CHECKPOINT_ACTIONS if can_write else ("s3:GetObject",)), prefix=CHECKPOINTS)
        else:
            data.checkpoints.grant(role, *(SEAL_ACTIONS if can_write else READ_ACTIONS))
        suppress_nag(
            role,
            "AwsSolutions-IAM5",
            f"Resource::{data.stack_name}:{BUCKET_ARN_EXPORT if data.checkpoints is None else CHECKPOINT_ARN_EXPORT}/{CHECKPOINTS}*",
            reason="All copies of checkpoints: their keys contain the size of the log.",
        )

    def _grant_migration(self) -> None:
        data, role = self._data, self.migration.migrate.role
        data.database.grant_owner(role)
        # After a restore it starts a new era of the audit log, for which it reads where the old one ended.
        self._grant_checkpoints(role, can_write=False)
        if self._config.pauses_when_idle:
            for key in (data.signing_key, data.link_key, data.log_key, data.identity_key):
                if key is not None:
                    key.allow_writing(role)

    def _optional_variables(self) -> dict[str, str]:
        domain = self._config.domain_name
        variables = {
            "MAIL_FROM": self._config.mail_from,
            "DEFAULT_LANGUAGE": self._config.default_language,
            "ABUSE_EMAIL": self._config.abuse_email,
            "BRAND_NAME": self._config.brand_name,
            "BRAND_ACCENT": self._config.brand_accent,
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

    def _identity_variables(self) -> dict[str, str]:
        config, key = self._config, self._data.identity_key
        if config.identity_providers is None or key is None:
            return {}
        return {
            "IDENTITY_PROVIDERS": config.identity_providers,
            "IDENTITY_KEY_ARN": key.arn,
            "PASSWORD_SIGN_IN": str(config.password_sign_in).lower(),
        }

    def _make_identity_function(self, artifact: Artifact) -> AppFunction:
        config = self._config
        variables = {
            "ENVIRONMENT": config.environment,
            "API_URL": f"https://{config.domain_name}",
            "LOG_LEVEL": "INFO",
            **self._identity_variables(),
            **({"IDENTITY_SECRETS_ARN": config.identity_secrets} if config.identity_secrets else {}),
            **({"ORIGIN_KEY_ARNS": ",".join(key.secret_arn for key in self._origin_keys.accepted)} if self._origin_keys else {}),
        }
        # Without a VPC: the VPC has no way to the providers.
        function = AppFunction(
            self,
            IDENTITY.name,
            spec=IDENTITY,
            context=FunctionContext(config=config, artifact=artifact, environment=variables, snapshots=not config.pauses_when_idle),
        )
        self._grant(function)
        return function

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
        files = self._data.files
        queue, batch_size = {
            Trigger.UPLOAD: (files.events, 10),
            Trigger.ARCHIVE: (files.archive_requests, 1),
            Trigger.PREVIEW: (files.preview_requests, 1),
            Trigger.SCAN: (files.scan_results, 10),
            Trigger.WEBHOOK_WORK: (files.webhook_work, 1),
            Trigger.WEBHOOK_RESULT: (files.webhook_results, 10),
        }.get(function.spec.trigger, (None, 0))
        if queue:
            run_on_upload(function, events_of_bucket=queue, batch_size=batch_size)
        if function.spec.trigger is Trigger.WEBHOOK_RESULT:
            run_on_schedule(function)
        elif function.spec.trigger is Trigger.SCHEDULE:
            run_on_schedule(function, once_a_day=self._config.pauses_when_idle)
            if self._config.pauses_when_idle and function.spec.follows_audited_requests:
                run_after_audited_requests(function, requests=self.functions["Api"].log_group)
        elif function.spec.trigger is Trigger.ROTATION:
            if self._data.signing_key.secret is None:
                self._data.signing_key.allow_reading(function.role)
                self._data.signing_key.allow_writing(function.role)
                run_monthly(function)
            else:
                run_on_rotation(function, secret=self._data.signing_key.secret)

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
        for prefix, granted in worker_actions(permissions).items():
            data.files.grant_objects(role, *granted, prefix=prefix, with_listing=Permission.MAKE_PREVIEWS not in permissions)
            suppress_nag(
                role,
                "AwsSolutions-IAM5",
                f"Resource::{data.stack_name}:{BUCKET_ARN_EXPORT}/{prefix}*",
                reason="All archives, previews and markers: their keys are generated at run time.",
            )
        self._grant_webhooks(function)
        self._grant_scans(role, permissions)
        if Permission.USE_DATABASE in permissions:
            data.database.grant_connect(role)
        if Permission.LIST_UPLOADS in permissions:
            data.files.grant_listing_uploads(role)
        if Permission.READ_SIGNING_KEY in permissions:
            data.signing_key.allow_reading(role)
        if Permission.SEAL_AUDIT_LOG in permissions:
            data.log_key.allow_reading(role)
            self._grant_checkpoints(role, can_write=True)
        if Permission.READ_LINK_KEY in permissions:
            data.link_key.allow_reading(role)
        self._grant_identity_secrets(function)
        if self._origin_keys and function.spec.trigger is Trigger.REQUEST:
            _allow_reading(role, *(key.secret_arn for key in self._origin_keys.accepted))
        if self._config.mail_from and Permission.SEND_MAIL in permissions:
            _allow_sending_mail(role, self._config)

    def _grant_webhooks(self, function: AppFunction) -> None:
        data, role = self._data, function.role
        if (actions := webhook_actions(function.spec.permissions)) and data.webhook_key:
            data.webhook_key.allow_reading(role)
        for prefix, granted in actions.items():
            data.files.grant_objects(role, *granted, prefix=prefix)
            suppress_nag(
                role,
                "AwsSolutions-IAM5",
                f"Resource::{data.stack_name}:{BUCKET_ARN_EXPORT}/{prefix}*",
                reason="All batches of webhook messages: their keys are generated at run time.",
            )

    def _grant_identity_secrets(self, function: AppFunction) -> None:
        permissions, key = function.spec.permissions, self._data.identity_key
        if key and Permission.READ_IDENTITY_KEY in permissions:
            key.allow_reading(function.role)
        if self._config.identity_secrets and Permission.READ_CLIENT_SECRETS in permissions:
            _allow_reading(function.role, self._config.identity_secrets)

    def _grant_scans(self, role: iam.Role, permissions: Permission) -> None:
        if not self._config.scans_for_malware:
            return
        if Permission.READ_SCAN_TAGS in permissions:
            self._data.files.grant_scan_tags(role)
        if Permission.RELEASE_SCANNED in permissions:
            self._data.files.grant_release(role)
        if (Permission.READ_SCAN_TAGS | Permission.RELEASE_SCANNED) & permissions:
            suppress_nag(
                role,
                "AwsSolutions-IAM5",
                f"Resource::{self._data.stack_name}:{BUCKET_ARN_EXPORT}/{UPLOADS}*",
                reason="All objects below the upload prefix: their keys are generated at run time.",
            )


def _pausing_variables(sign_in_seconds: int) -> dict[str, str]:
    return {"DATABASE_PAUSES": "true", "DATABASE_SIGN_IN_SECONDS": str(sign_in_seconds)}


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


def _logo_name(path: str) -> str:
    """Return the name that the logo has in its layer."""
    return f"logo{Path(path).suffix.lower()}"


def _shows_places(spec: FunctionSpec) -> bool:
    """Whether the function shows places of sessions: in responses, or in mail."""
    return spec.trigger is Trigger.REQUEST or Permission.SEND_MAIL in spec.permissions


def _layer(scope: Construct, construct_id: str, file: Path, *, name: str, description: str) -> lambda_.LayerVersion:
    """Return a layer that contains only this file."""
    # CDK makes layers of folders. It copies the folder into its output.
    folder = Path(tempfile.mkdtemp())
    shutil.copyfile(file, folder / name)
    return lambda_.LayerVersion(scope, construct_id, code=lambda_.Code.from_asset(str(folder)), description=f"We-Upload: {description}")
