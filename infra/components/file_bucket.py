"""The bucket of uploaded objects. Its policy denies every request that the API would not sign."""

from aws_cdk import Aws, Duration, RemovalPolicy, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.components.backups import replica_bucket_name
from infra.components.malware import MalwareScan
from infra.components.nag_suppressions import suppress_nag
from infra.components.private_bucket import deny, private_bucket
from infra.config import (
    ARCHIVE_TIMEOUT_SECONDS,
    BUCKET_CORS_SECONDS,
    BUCKET_EXPOSED_HEADERS,
    BUCKET_METHODS,
    BUCKET_REQUEST_HEADERS,
    FUNCTION_TIMEOUT_SECONDS,
    PRESIGNED_URL_SECONDS,
    PREVIEW_TIMEOUT_SECONDS,
    STARTING_TIMEOUT_SECONDS,
    WEBHOOK_TIMEOUT_SECONDS,
    StageConfig,
)

UPLOADS = "uploads/"
"""Prefix of the keys of all files."""
ARCHIVES = "archives/"
"""Prefix of the keys of all zips."""
ARCHIVE_REQUESTS = "archive-requests/"
"""Prefix of the keys of the empty marker objects whose events start the archive worker."""
PREVIEWS = "previews/"
"""Prefix of the keys of the images that the preview worker makes."""
PREVIEW_REQUESTS = "preview-requests/"
"""Prefix of the keys of the empty marker objects whose events start the preview worker."""
PREVIEW_RESULTS = "preview-results/"
"""Prefix of the keys of the preview worker's results, whose events go to the queue of upload events."""
WEBHOOK_WORK = "webhook-work/"
"""Prefix of the keys of encrypted batches of webhook messages, whose events start the function that sends them."""
WEBHOOK_RESULTS = "webhook-results/"
"""Prefix of the keys of their encrypted results, whose events start the function that records them."""
CHECKPOINTS = "audit-log/checkpoints/"
"""Prefix of the copies of the audit log's checkpoints."""
ARCHIVES_DAYS = 8
"""Longer than an archive is kept. The sweep deletes archives much earlier; this rule catches what it cannot see."""

MALWARE_TAG = "GuardDutyMalwareScanStatus"
MALWARE_CLEAN = "NO_THREATS_FOUND"
MALWARE_UNSCANNABLE = "UNSUPPORTED"
"""Password-protected, too large, or an archive with too many files or levels (GuardDuty user guide, "Quotas")."""
MALWARE_RELEASED = "RELEASED"
"""Our own value: an administrator has decided that the object is served (`storage/scan_tags`)."""
RELEASER_TAG, RELEASER_VALUE = "WeUploadReleases", "allowed"
"""Tag of the role that may write it."""
UNSCANNED_TAG, UNSCANNED_VALUE = "WeUploadUnscanned", "read"
"""Tag of the roles that may read an object before it was scanned: to verify an upload, never to serve it."""


ABANDONED_PARTS_DAYS = 70
"""Longer than the largest multipart upload may take. The sweep aborts abandoned uploads; this rule catches what it cannot see."""


class FileBucket(Construct):
    """The bucket, and the queues of its upload events, archive requests, preview requests and webhooks."""

    def __init__(self, scope: Construct, construct_id: str, *, config: StageConfig) -> None:
        super().__init__(scope, construct_id)
        self._config = config
        self.key = kms.Key(self, "Key", enable_key_rotation=True, removal_policy=self._removal) if config.uses_kms else None
        self.bucket = private_bucket(
            self,
            "Bucket",
            encryption=s3.BucketEncryption.KMS if self.key else s3.BucketEncryption.S3_MANAGED,
            encryption_key=self.key,
            bucket_key_enabled=True if self.key else None,
            removal_policy=self._removal,
            lifecycle_rules=self._lifecycle(),
            cors=self._cors(),
        )
        self.dead_letters = sqs.Queue(self, "DeadLetters", retention_period=Duration.days(14), enforce_ssl=True)
        self.events = sqs.Queue(
            self,
            "Events",
            enforce_ssl=True,
            # Six times the worker's timeout, as AWS recommends for queues that trigger Lambda.
            visibility_timeout=Duration.seconds(6 * (STARTING_TIMEOUT_SECONDS if config.pauses_when_idle else FUNCTION_TIMEOUT_SECONDS)),
            retention_period=Duration.days(4),
            dead_letter_queue=sqs.DeadLetterQueue(queue=self.dead_letters, max_receive_count=5),
        )
        self.archive_dead_letters = sqs.Queue(self, "ArchiveDeadLetters", retention_period=Duration.days(14), enforce_ssl=True)
        self.archive_requests = sqs.Queue(
            self,
            "ArchiveRequests",
            enforce_ssl=True,
            visibility_timeout=Duration.seconds(6 * ARCHIVE_TIMEOUT_SECONDS),
            retention_period=Duration.days(4),
            dead_letter_queue=sqs.DeadLetterQueue(queue=self.archive_dead_letters, max_receive_count=5),
        )
        self.preview_dead_letters = sqs.Queue(self, "PreviewDeadLetters", retention_period=Duration.days(14), enforce_ssl=True)
        self.preview_requests = sqs.Queue(
            self,
            "PreviewRequests",
            enforce_ssl=True,
            visibility_timeout=Duration.seconds(6 * PREVIEW_TIMEOUT_SECONDS),
            retention_period=Duration.days(4),
            dead_letter_queue=sqs.DeadLetterQueue(queue=self.preview_dead_letters, max_receive_count=5),
        )
        self.webhook_dead_letters: sqs.Queue | None = None
        self.webhook_work: sqs.Queue | None = None
        self.webhook_results: sqs.Queue | None = None
        if config.sends_webhooks:
            self.webhook_dead_letters, self.webhook_work, self.webhook_results = self._webhook_queues()
        suppress_nag(
            self.bucket,
            "AwsSolutions-S1",
            reason="S3 access logs contain presigned URLs with their signatures; S3 data events in CloudTrail do not.",
        )
        self.scan_dead_letters: sqs.Queue | None = None
        self.scan_results: sqs.Queue | None = None
        if config.scans_for_malware:
            self.scan_dead_letters, self.scan_results = self._scan_queues()
        self._notify_queues()
        self._replication_role = self._replicate() if config.replicates_objects else None
        self._deny_weak_signatures()
        self._deny_overwriting()
        if config.scans_for_malware:
            self._deny_unscanned_objects()

    def _webhook_queues(self) -> tuple[sqs.Queue, sqs.Queue, sqs.Queue]:
        """Return the queues of webhook batches and of their results, after their queue of dead letters."""
        dead = sqs.Queue(self, "WebhookDeadLetters", retention_period=Duration.days(14), enforce_ssl=True)
        work, results = (
            sqs.Queue(
                self,
                name,
                enforce_ssl=True,
                visibility_timeout=Duration.seconds(6 * WEBHOOK_TIMEOUT_SECONDS),
                # Later, the deliveries are queued again.
                retention_period=Duration.days(1),
                dead_letter_queue=sqs.DeadLetterQueue(queue=dead, max_receive_count=5),
            )
            for name in ("WebhookWork", "WebhookResults")
        )
        return dead, work, results

    def _scan_queues(self) -> tuple[sqs.Queue, sqs.Queue]:
        """Return the queue of the scan results, which GuardDuty sends through EventBridge, after its queue of dead letters."""
        dead = sqs.Queue(self, "ScanDeadLetters", retention_period=Duration.days(14), enforce_ssl=True)
        timeout = STARTING_TIMEOUT_SECONDS if self._config.pauses_when_idle else FUNCTION_TIMEOUT_SECONDS
        results = sqs.Queue(
            self,
            "ScanResults",
            enforce_ssl=True,
            visibility_timeout=Duration.seconds(6 * timeout),
            retention_period=Duration.days(4),
            dead_letter_queue=sqs.DeadLetterQueue(queue=dead, max_receive_count=5),
        )
        events.Rule(
            self,
            "ScanResultRule",
            description="Results of the malware scans of the bucket",
            event_pattern=events.EventPattern(
                source=["aws.guardduty"],
                detail_type=["GuardDuty Malware Protection Object Scan Result"],
                detail={"s3ObjectDetails": {"bucketName": [self.bucket.bucket_name]}},
            ),
            targets=[targets.SqsQueue(results)],
        )
        return dead, results

    def grant_scan_tags(self, grantee: iam.IGrantable) -> None:
        """Allow `grantee` to read the tags of uploads."""
        self.grant_objects(grantee, "s3:GetObjectTagging")

    def grant_release(self, grantee: iam.IGrantable) -> None:
        """Allow `grantee` to give an upload the tag of a released object. The bucket's policy refuses other tags."""
        statement = iam.PolicyStatement(
            actions=["s3:PutObjectTagging"],
            resources=[self.bucket.arn_for_objects(f"{UPLOADS}*")],
            conditions={"StringEquals": {f"s3:RequestObjectTag/{MALWARE_TAG}": MALWARE_RELEASED}},
        )
        grantee.grant_principal.add_to_principal_policy(statement)

    def grant_listing_uploads(self, grantee: iam.IGrantable) -> None:
        """Allow `grantee` to list the multipart uploads in progress."""
        iam.Grant.add_to_principal(grantee=grantee, actions=["s3:ListBucketMultipartUploads"], resource_arns=[self.bucket.bucket_arn])

    def grant_objects(self, grantee: iam.IGrantable, *actions: str, prefix: str = UPLOADS, with_listing: bool = True) -> None:
        """Allow the S3 `actions` on the objects below `prefix`, and ListBucket.

        Without ListBucket S3 returns 403 instead of 404 for a missing object.
        """
        iam.Grant.add_to_principal(grantee=grantee, actions=list(actions), resource_arns=[self.bucket.arn_for_objects(f"{prefix}*")])
        if with_listing:
            iam.Grant.add_to_principal(grantee=grantee, actions=["s3:ListBucket"], resource_arns=[self.bucket.bucket_arn])
        if self.key:
            # Not grant_encrypt_decrypt, whose wildcards also allow re-encryption.
            self.key.grant(grantee, "kms:Decrypt", "kms:GenerateDataKey")

    @property
    def _removal(self) -> RemovalPolicy:
        return RemovalPolicy.RETAIN if self._config.protects_data else RemovalPolicy.DESTROY

    def _lifecycle(self) -> list[s3.LifecycleRule]:
        return [
            s3.LifecycleRule(id="abandoned-parts", abort_incomplete_multipart_upload_after=Duration.days(ABANDONED_PARTS_DAYS)),
            *(
                s3.LifecycleRule(
                    id=prefix.strip("/"), prefix=prefix, expiration=Duration.days(days), noncurrent_version_expiration=Duration.days(1)
                )
                for prefix, days in (
                    (ARCHIVES, ARCHIVES_DAYS),
                    *((prefix, 1) for prefix in (ARCHIVE_REQUESTS, PREVIEW_REQUESTS, PREVIEW_RESULTS, WEBHOOK_WORK, WEBHOOK_RESULTS)),
                )
            ),
            # A preview shows what its file contains, so it does not stay longer than the file can be restored from the trash.
            s3.LifecycleRule(id="previews", prefix=PREVIEWS, noncurrent_version_expiration=Duration.days(1)),
            s3.LifecycleRule(
                id="trash", noncurrent_version_expiration=Duration.days(self._config.noncurrent_days), expired_object_delete_marker=True
            ),
        ]

    def _cors(self) -> list[s3.CorsRule] | None:
        if not self._config.bucket_origins:
            return None
        return [
            s3.CorsRule(
                allowed_origins=list(self._config.bucket_origins),
                allowed_methods=[s3.HttpMethods[method] for method in BUCKET_METHODS],
                allowed_headers=list(BUCKET_REQUEST_HEADERS),
                exposed_headers=list(BUCKET_EXPOSED_HEADERS),
                max_age=BUCKET_CORS_SECONDS,
            )
        ]

    def _notify_queues(self) -> None:
        # Not add_event_notification, which adds a function of the CDK with s3:PutBucketNotification on every bucket.
        queues = {
            UPLOADS: self.events,
            ARCHIVE_REQUESTS: self.archive_requests,
            PREVIEW_REQUESTS: self.preview_requests,
            PREVIEW_RESULTS: self.events,
        }
        if self.webhook_work and self.webhook_results:
            queues |= {WEBHOOK_WORK: self.webhook_work, WEBHOOK_RESULTS: self.webhook_results}
        for queue in dict.fromkeys(queues.values()):
            queue.add_to_resource_policy(
                iam.PolicyStatement(
                    sid="S3OfThisAccount",
                    principals=[iam.ServicePrincipal("s3.amazonaws.com")],
                    actions=["sqs:SendMessage"],
                    resources=[queue.queue_arn],
                    # Naming the bucket would be a circular dependency: S3 tests the queue while the bucket is created.
                    conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
                )
            )
        bucket = self._bucket_resource()
        bucket.notification_configuration = s3.CfnBucket.NotificationConfigurationProperty(
            queue_configurations=[
                s3.CfnBucket.QueueConfigurationProperty(
                    event="s3:ObjectCreated:*",
                    queue=queue.queue_arn,
                    filter=s3.CfnBucket.NotificationFilterProperty(
                        s3_key=s3.CfnBucket.S3KeyFilterProperty(rules=[s3.CfnBucket.FilterRuleProperty(name="prefix", value=prefix)])
                    ),
                )
                for prefix, queue in queues.items()
            ],
            # GuardDuty reads new objects through EventBridge. It enables EventBridge on the bucket itself, but CloudFormation would disable
            # it again with the next change of this configuration.
            event_bridge_configuration=s3.CfnBucket.EventBridgeConfigurationProperty(event_bridge_enabled=True)
            if self._config.scans_for_malware
            else None,
        )
        bucket.node.add_dependency(*dict.fromkeys(queues.values()))

    def _replicate(self) -> iam.Role:
        """Copy every new object below the upload prefix, and every deletion, to the bucket of the recovery stack. Return S3's role."""
        target = f"arn:{Aws.PARTITION}:s3:::{replica_bucket_name(Stack.of(self), self._config)}"
        role = iam.Role(self, "ReplicationRole", assumed_by=iam.ServicePrincipal("s3.amazonaws.com"))
        # As in the S3 user guide, "Setting up permissions for live replication". Not objects of zips: they can be built again.
        objects = self.bucket.arn_for_objects(f"{UPLOADS}*")
        read = ["s3:GetObjectVersionForReplication", "s3:GetObjectVersionAcl", "s3:GetObjectVersionTagging"]
        for actions, resource in (
            (["s3:GetReplicationConfiguration", "s3:ListBucket"], self.bucket.bucket_arn),
            (read, objects),
            (["s3:ReplicateObject", "s3:ReplicateDelete", "s3:ReplicateTags"], f"{target}/{UPLOADS}*"),
        ):
            role.add_to_policy(iam.PolicyStatement(actions=actions, resources=[resource]))
        replica = f"we-upload-{self._config.name}-replica-<AWS::AccountId>-{self._config.recovery_region}"
        suppress_nag(
            role,
            "AwsSolutions-IAM5",
            f"Resource::<{Stack.of(self).get_logical_id(self._bucket_resource())}.Arn>/{UPLOADS}*",
            f"Resource::arn:<AWS::Partition>:s3:::{replica}/{UPLOADS}*",
            reason="All objects below the upload prefix: their keys are generated at run time.",
        )
        bucket = self._bucket_resource()
        bucket.replication_configuration = s3.CfnBucket.ReplicationConfigurationProperty(
            role=role.role_arn,
            rules=[
                s3.CfnBucket.ReplicationRuleProperty(
                    id="uploads",
                    status="Enabled",
                    priority=1,
                    filter=s3.CfnBucket.ReplicationRuleFilterProperty(prefix=UPLOADS),
                    delete_marker_replication=s3.CfnBucket.DeleteMarkerReplicationProperty(status="Enabled"),
                    destination=s3.CfnBucket.ReplicationDestinationProperty(bucket=target),
                )
            ],
        )
        return role

    def _bucket_resource(self) -> s3.CfnBucket:
        bucket = self.bucket.node.default_child
        if not isinstance(bucket, s3.CfnBucket):
            raise TypeError("the bucket's default child must be its CloudFormation resource")
        return bucket

    def _deny_weak_signatures(self) -> None:
        both = [self.bucket.bucket_arn, self.bucket.arn_for_objects("*")]
        conditions: dict[str, dict[str, object]] = {"StringNotEquals": {"s3:signatureversion": "AWS4-HMAC-SHA256"}}
        if self._replication_role:
            # S3 replicates by itself: such a request may have no signature version, and a missing key would match this statement.
            conditions["ArnNotEquals"] = {"aws:PrincipalArn": self._replication_role.role_arn}
        deny(self.bucket, "SignatureV4Only", actions=["s3:*"], resources=both, conditions=conditions)
        # In milliseconds. It also limits URLs that were signed for longer by mistake or with a stolen key.
        deny(
            self.bucket,
            "SignatureAge",
            actions=["s3:*"],
            resources=[self.bucket.arn_for_objects("*")],
            conditions={"NumericGreaterThan": {"s3:signatureAge": str(PRESIGNED_URL_SECONDS * 1000)}},
        )

    def _deny_overwriting(self) -> None:
        # ObjectCreationOperation is false for CreateMultipartUpload and UploadPart, which do not support If-None-Match.
        deny(
            self.bucket,
            "WriteOnce",
            actions=["s3:PutObject"],
            resources=[self.bucket.arn_for_objects(f"{UPLOADS}*")],
            conditions={"Null": {"s3:if-none-match": "true"}, "Bool": {"s3:ObjectCreationOperation": "true"}},
        )

    def _deny_unscanned_objects(self) -> None:
        scan = MalwareScan(self, "Malware", bucket=self.bucket, prefix=UPLOADS, key=self.key)
        objects = [self.bucket.arn_for_objects(f"{UPLOADS}*")]
        readable = [MALWARE_CLEAN, MALWARE_RELEASED, *([MALWARE_UNSCANNABLE] if self._config.serves_unscannable else [])]
        scanner: dict[str, object] = {"aws:PrincipalArn": scan.role.role_arn}
        deny(
            self.bucket,
            "OnlyCleanObjects",
            actions=["s3:GetObject", "s3:GetObjectVersion"],
            resources=objects,
            conditions={
                "StringNotEquals": {
                    f"s3:ExistingObjectTag/{MALWARE_TAG}": readable,
                    f"aws:PrincipalTag/{UNSCANNED_TAG}": UNSCANNED_VALUE,
                },
                "ArnNotEquals": scanner,
            },
        )
        tagging = ["s3:PutObjectTagging", "s3:PutObjectVersionTagging"]
        # Two statements: one role besides the scanner may write tags, and that role only the tag of a released object.
        for sid, allowed in (
            ("OnlyTheScannerTags", {f"aws:PrincipalTag/{RELEASER_TAG}": RELEASER_VALUE}),
            ("OnlyReleasesByOthers", {f"s3:RequestObjectTag/{MALWARE_TAG}": MALWARE_RELEASED}),
        ):
            deny(
                self.bucket, sid, actions=tagging, resources=objects, conditions={"StringNotEquals": dict(allowed), "ArnNotEquals": scanner}
            )
