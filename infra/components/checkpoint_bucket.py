"""The bucket of the audit log's checkpoints, whose objects Object Lock protects (docs/adr/0048-locked-checkpoints.md)."""

from aws_cdk import RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from constructs import Construct

from infra.components.file_bucket import CHECKPOINTS
from infra.components.nag_suppressions import suppress_nag
from infra.components.private_bucket import deny, private_bucket

READ_ACTIONS = ("s3:GetObject", "s3:GetObjectVersion")
"""Actions on the copies that a new era needs, which reads where the earlier one ended."""
SEAL_ACTIONS = (*READ_ACTIONS, "s3:PutObject", "s3:PutObjectRetention", "s3:GetObjectRetention")
"""Actions of the sealer on the copies. It cannot delete them."""


class CheckpointBucket(Construct):
    """The bucket. The sealer locks each copy itself, in the mode COMPLIANCE.

    It stays when its stack is deleted: until the locks expire, no principal can empty it.
    """

    def __init__(self, scope: Construct, construct_id: str, *, lock_days: int) -> None:
        super().__init__(scope, construct_id)
        self.bucket = private_bucket(
            self,
            "Bucket",
            # Checkpoints are public, and a customer managed key could be deleted, which would make the copies unreadable.
            encryption=s3.BucketEncryption.S3_MANAGED,
            object_lock_enabled=True,
            removal_policy=RemovalPolicy.RETAIN,
        )
        suppress_nag(
            self.bucket, "AwsSolutions-S1", reason="Only the sealer writes it, once per checkpoint; CloudTrail can log data events."
        )
        # Object Lock protects versions, not keys. These rules keep later versions and delete markers from covering a copy; who can change
        # the policy can still write them, and the sealer then stops.
        copies = [self.bucket.arn_for_objects("*")]
        once = {"Null": {"s3:if-none-match": "true"}}
        deny(self.bucket, "WriteOnce", actions=["s3:PutObject"], resources=copies, conditions=once)
        deny(self.bucket, "NoDeleteMarkers", actions=["s3:DeleteObject"], resources=copies)
        # A longer lock could not be undone. One day more, because S3 may round up.
        longer = {"NumericGreaterThan": {"s3:object-lock-remaining-retention-days": str(lock_days + 1)}}
        deny(self.bucket, "NoLongerLocks", actions=["s3:PutObjectRetention"], resources=copies, conditions=longer)

    def grant(self, role: iam.Role, *actions: str) -> None:
        """Allow the `actions` on the copies, and listing their versions."""
        iam.Grant.add_to_principal(grantee=role, actions=list(actions), resource_arns=[self.bucket.arn_for_objects(f"{CHECKPOINTS}*")])
        # Without ListBucket S3 returns 403 instead of 404 for a missing object.
        listing = ["s3:ListBucket", "s3:ListBucketVersions"]
        iam.Grant.add_to_principal(grantee=role, actions=listing, resource_arns=[self.bucket.bucket_arn])
