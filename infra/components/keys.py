"""The keys of a stage: secrets of Secrets Manager, or objects of a bucket of their own where its endpoint would cost too much."""

from dataclasses import dataclass

from aws_cdk import Duration, RemovalPolicy, Tags
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from infra.components.nag_suppressions import suppress_nag
from infra.components.private_bucket import private_bucket
from infra.config import StageConfig

READER_TAG, READER_VALUE = "WeUploadKeys", "read"
"""Tag of the roles that may read keys in the bucket. By tag, because the bucket's stack is deployed before the roles exist."""
REPLACED_KEY_DAYS = 30
"""How long a replaced key can be restored."""


@dataclass(frozen=True)
class Key:
    """One key. `secret` is None for a key in the bucket."""

    arn: str
    secret: secretsmanager.Secret | None = None

    def allow_reading(self, role: iam.Role) -> None:
        """Allow the role to read this key and no other one."""
        # Not grant_read, which adds DescribeSecret; the application never calls it.
        action = "s3:GetObject" if self.secret is None else "secretsmanager:GetSecretValue"
        role.add_to_policy(iam.PolicyStatement(actions=[action], resources=[self.arn]))
        if self.secret is None:
            Tags.of(role).add(READER_TAG, READER_VALUE)

    def allow_writing(self, role: iam.Role) -> None:
        """Allow the role to create and replace a key in the bucket, by conditional writes."""
        role.add_to_policy(iam.PolicyStatement(actions=["s3:PutObject"], resources=[self.arn]))


class KeyBucket(Construct):
    """The bucket of the keys. The migrate function creates them: CloudFormation cannot write a random object.

    The key of S3 in KMS (`aws/s3`) encrypts the objects, at no price for a month, and S3 itself calls KMS, so that the functions' VPC
    needs no endpoint for it.
    """

    def __init__(self, scope: Construct, construct_id: str, *, config: StageConfig) -> None:
        super().__init__(scope, construct_id)
        self.bucket = private_bucket(
            self,
            "Bucket",
            encryption=s3.BucketEncryption.KMS_MANAGED,
            bucket_key_enabled=True,
            removal_policy=RemovalPolicy.RETAIN if config.protects_data else RemovalPolicy.DESTROY,
            lifecycle_rules=[s3.LifecycleRule(id="replaced-keys", noncurrent_version_expiration=Duration.days(REPLACED_KEY_DAYS))],
        )
        suppress_nag(self.bucket, "AwsSolutions-S1", reason="Few functions read it, once in five minutes; CloudTrail can log data events.")
        everything = self.bucket.arn_for_objects("*")
        self._deny(
            "OnlyReadersOfKeys",
            ["s3:GetObject", "s3:GetObjectVersion"],
            everything,
            {"StringNotEquals": {f"aws:PrincipalTag/{READER_TAG}": READER_VALUE}},
        )
        # Also for operators: a key that is overwritten by mistake signs all users out, or makes the stored addresses of links unreadable.
        self._deny("OnlyConditionalWrites", ["s3:PutObject"], everything, {"Null": {"s3:if-none-match": "true", "s3:if-match": "true"}})

    def key(self, name: str) -> Key:
        """Return the key with this name."""
        return Key(self.bucket.arn_for_objects(f"keys/{name}"))

    def _deny(self, sid: str, actions: list[str], resource: str, conditions: dict[str, dict[str, str]]) -> None:
        self.bucket.add_to_resource_policy(
            iam.PolicyStatement(
                sid=sid,
                effect=iam.Effect.DENY,
                principals=[iam.AnyPrincipal()],
                actions=actions,
                resources=[resource],
                conditions=conditions,
            )
        )
