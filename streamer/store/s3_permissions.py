"""Which permission of IAM each request to S3 needs. What `streamer policy` prints and refusals name is taken from here.

Pure. A test runs every operation of the store under a policy made of this table alone.
"""

from __future__ import annotations

from collections.abc import Mapping

ON_OBJECTS: Mapping[str, str] = {
    "get": "s3:GetObject",
    "head": "s3:GetObject",
    "presign": "s3:GetObject",
    "put": "s3:PutObject",
    "begin_upload": "s3:PutObject",
    "put_part": "s3:PutObject",
    "complete_upload": "s3:PutObject",
    "abort_upload": "s3:AbortMultipartUpload",
    "delete": "s3:DeleteObject",
    "tag": "s3:PutObjectTagging",
}
"""By operation, for requests about one object. Without s3:ListBucket a missing object answers 403 instead of 404."""

ON_BUCKET: Mapping[str, str] = {
    "list": "s3:ListBucket",
    "prepare": "s3:ListBucket",
    "list_uploads": "s3:ListBucketMultipartUploads",
    "create_bucket": "s3:CreateBucket",
    "get_public_access": "s3:GetBucketPublicAccessBlock",
    "put_public_access": "s3:PutBucketPublicAccessBlock",
    "get_encryption": "s3:GetEncryptionConfiguration",
    "put_encryption": "s3:PutEncryptionConfiguration",
    "get_versioning": "s3:GetBucketVersioning",
    "put_versioning": "s3:PutBucketVersioning",
    "get_lifecycle": "s3:GetLifecycleConfiguration",
    "put_lifecycle": "s3:PutLifecycleConfiguration",
}
"""By operation, for requests about the bucket."""


def missing_permission(operation: str, bucket: str, key: str | None) -> str:
    """What to grant where S3 refused `operation`, as an order. `key` is the whole one, prefix included, where it is known."""
    action = ON_OBJECTS.get(operation) or ON_BUCKET.get(operation)
    if action is None:
        return "run `streamer check`, which tries each permission"
    if operation in ON_BUCKET:
        return f"grant {action} on arn:aws:s3:::{bucket}"
    also = ", and s3:ListBucket on the bucket: without it a missing object answers 403 too" if action == "s3:GetObject" else ""
    return f"grant {action} on the objects of arn:aws:s3:::{bucket}{also}; `streamer policy` prints all that is needed"
