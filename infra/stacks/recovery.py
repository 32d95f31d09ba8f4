"""The recovery stack, in another region: the vault with copies of the backups, and the bucket with copies of the objects."""

from aws_cdk import CfnOutput, Duration, Environment, RemovalPolicy, Stack
from aws_cdk import aws_s3 as s3
from constructs import Construct

from infra.components.backups import LockedVault, replica_bucket_name, vault_name
from infra.components.nag_suppressions import suppress_nag
from infra.components.private_bucket import private_bucket
from infra.config import StageConfig


class RecoveryStack(Stack):
    """What remains when the stage's region is lost. It is deployed before the data stack, which writes to it."""

    def __init__(self, scope: Construct, construct_id: str, *, config: StageConfig) -> None:
        super().__init__(
            scope,
            construct_id,
            termination_protection=config.protects_data,
            description="We-Upload: copies in another region",
            env=Environment(region=config.recovery_region),
        )
        LockedVault(self, "Copies", config=config, name=vault_name(config))
        if not config.replicates_objects:
            return
        bucket = private_bucket(
            self,
            "Replica",
            bucket_name=replica_bucket_name(self, config),
            encryption=s3.BucketEncryption.S3_MANAGED,
            removal_policy=RemovalPolicy.RETAIN if config.protects_data else RemovalPolicy.DESTROY,
            lifecycle_rules=[
                s3.LifecycleRule(
                    id="trash", noncurrent_version_expiration=Duration.days(config.noncurrent_days), expired_object_delete_marker=True
                )
            ],
        )
        suppress_nag(bucket, "AwsSolutions-S1", reason="Only S3 writes here, and operators read it after a disaster, with CloudTrail.")
        CfnOutput(self, "ReplicaBucket", value=bucket.bucket_name)
