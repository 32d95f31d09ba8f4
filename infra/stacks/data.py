"""The data stack: all stateful resources."""

from aws_cdk import CfnOutput, RemovalPolicy, Stack
from aws_cdk import aws_secretsmanager as secretsmanager
from aws_cdk import aws_ses as ses
from constructs import Construct

from infra.components.backups import DailyBackups
from infra.components.checkpoint_bucket import CheckpointBucket
from infra.components.database import Database
from infra.components.file_bucket import FileBucket
from infra.components.keys import Key, KeyBucket
from infra.components.nag_suppressions import suppress_nag
from infra.components.network import Network
from infra.config import StageConfig


class DataStack(Stack):
    """Bucket, event queues, database and keys. Construct ids never change: CloudFormation would replace the resource."""

    def __init__(self, scope: Construct, construct_id: str, *, config: StageConfig, network: Network) -> None:
        super().__init__(scope, construct_id, termination_protection=config.protects_data, description="We-Upload: data")
        self.files = FileBucket(self, "Files", config=config)
        days = config.checkpoint_lock_days
        self.checkpoints = CheckpointBucket(self, "Checkpoints", lock_days=days) if days else None
        self.database = Database(self, "Database", config=config, vpc=network.vpc, function_group=network.function_group)
        stored = KeyBucket(self, "Keys", config=config) if config.pauses_when_idle else None

        def make(construct_id: str, name: str, description: str, not_rotated_here: str) -> Key:
            return stored.key(name) if stored else self._make_key(construct_id, description, config, not_rotated_here=not_rotated_here)

        self.signing_key = make(
            "SigningKey",
            "signing-key",
            "We-Upload: key of the access tokens",
            "RotateSigningKey rotates it each 30 days by a schedule in the API stack; the rule checks this stack only.",
        )
        self.log_key = make(
            "LogKey",
            "log-key",
            "We-Upload: key that signs the checkpoints of the audit log",
            "Rotated by the operator (docs/security.md): verifiers that pin the public key must learn of the new one.",
        )
        self.link_key = make(
            "LinkKey",
            "link-key",
            "We-Upload: key that encrypts the addresses of links for their owners",
            "A rotation must encrypt the stored addresses again before the old key is removed, which an operator starts.",
        )
        self.identity_key = (
            make(
                "IdentityKey",
                "identity-key",
                "We-Upload: key of the sign-in with identity providers",
                "Replaced by the operator: it protects values that are valid for minutes (docs/security.md).",
            )
            if config.identity_providers
            else None
        )
        self.webhook_key = (
            make(
                "WebhookKey",
                "webhook-key",
                "We-Upload: key that encrypts webhook messages on their way to the function that sends them",
                "Rotated by the operator: what it encrypted is gone after a day, and lost batches are sent again.",
            )
            if config.sends_webhooks
            else None
        )
        if config.recovery_region:
            DailyBackups(self, "Backups", config=config, database=self.database.backup_resource)
        if config.makes_mail_identity:
            self._make_mail_identity(config)
        CfnOutput(self, "Bucket", value=self.files.bucket.bucket_name, description="Bucket of the uploaded objects")
        if self.checkpoints:
            name = self.checkpoints.bucket.bucket_name
            CfnOutput(self, "CheckpointBucket", value=name, description="Bucket of the locked checkpoints of the audit log")

    def _make_key(self, construct_id: str, description: str, config: StageConfig, *, not_rotated_here: str) -> Key:
        """Return a random secret, from which the functions derive a key. `not_rotated_here`: why it has no schedule of its own."""
        secret = secretsmanager.Secret(
            self,
            construct_id,
            description=description,
            # 64 letters and digits are 381 bits; HMAC-SHA-256 needs 256 (RFC 7518, section 3.2).
            generate_secret_string=secretsmanager.SecretStringGenerator(password_length=64, exclude_punctuation=True),
            removal_policy=RemovalPolicy.RETAIN if config.protects_data else RemovalPolicy.DESTROY,
        )
        suppress_nag(secret, "AwsSolutions-SMG4", reason=not_rotated_here)
        return Key(secret.secret_arn, secret)

    def _make_mail_identity(self, config: StageConfig) -> None:
        sender = config.verified_sender
        identity = ses.EmailIdentity(
            self,
            "MailIdentity",
            identity=ses.Identity.email(sender) if "@" in sender else ses.Identity.domain(sender),
        )
        # A new identity would have to be verified again.
        identity.apply_removal_policy(RemovalPolicy.RETAIN if config.protects_data else RemovalPolicy.DESTROY)
        if "@" not in sender:
            for number, record in enumerate(identity.dkim_records, start=1):
                CfnOutput(
                    self,
                    f"MailRecord{number}",
                    value=f"{record.name} CNAME {record.value}",
                    description="Add this record to the domain's DNS",
                )
