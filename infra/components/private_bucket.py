"""What all buckets of a deployment have in common, and the rules that deny access to them."""

from typing import Any

from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from constructs import Construct


def private_bucket(scope: Construct, construct_id: str, **options: Any) -> s3.Bucket:
    """Return a versioned bucket without public access, object ACLs and requests without TLS 1.2. `options` are those of `s3.Bucket`."""
    return s3.Bucket(
        scope,
        construct_id,
        block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
        object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
        enforce_ssl=True,
        minimum_tls_version=1.2,
        versioned=True,
        **options,
    )


def deny(bucket: s3.Bucket, sid: str, *, actions: list[str], resources: list[str], conditions: dict[str, Any] | None = None) -> None:
    """Deny the `actions` to all principals, also to administrators."""
    bucket.add_to_resource_policy(
        iam.PolicyStatement(
            sid=sid,
            effect=iam.Effect.DENY,
            principals=[iam.AnyPrincipal()],
            actions=actions,
            resources=resources,
            conditions=conditions,
        )
    )
