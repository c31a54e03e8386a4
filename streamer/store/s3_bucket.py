"""The bucket itself: whether it is there, and its settings. What `streamer init` asks and sets, and nothing else does.

Every method raises what the store raises, and `NotOffered` where the server does not have such a thing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from streamer.aws import ClientError, refusal_of
from streamer.errors import Invalid
from streamer.store.contract import NoSuchPlace
from streamer.store.s3_requests import S3Requests
from streamer.store.s3_settings import S3Settings

FIRST_REGION = "us-east-1"
_NOT_SET = frozenset(
    {
        "NoSuchPublicAccessBlockConfiguration",
        "ServerSideEncryptionConfigurationNotFoundError",
        "NoSuchLifecycleConfiguration",
    }
)
_NOT_OFFERED = frozenset({"NotImplemented", "MethodNotAllowed", "UnsupportedOperation", "XNotImplemented", "NotSupported"})


class NotOffered(Invalid):
    """The server does not have what was asked for. Nothing was changed."""


class S3Bucket:
    """One bucket's existence and settings. Values are as S3's API has them."""

    def __init__(self, bucket: str, settings: S3Settings) -> None:
        self.name = bucket
        self._requests = S3Requests(bucket, settings, name=f"s3://{bucket}")
        owner = settings.expected_bucket_owner
        self._common = {"Bucket": bucket} | ({"ExpectedBucketOwner": owner} if owner else {})

    async def region(self) -> str | None:
        """The region of the bucket; None where there is no such bucket. A server may name none: the empty text."""
        try:
            async with self._requests.open("prepare", None) as (client, _):
                answer = await client.head_bucket(**self._common)
        except NoSuchPlace:
            return None
        return str(answer.get("BucketRegion") or "")

    async def home(self) -> str:
        """The region that requests go to, where a bucket would be made."""
        async with self._requests.open("prepare", None) as (client, _):
            return str(client.meta.region_name or FIRST_REGION)

    async def public_access(self) -> Mapping[str, bool]:
        """Which kinds of public access are blocked. Empty where none are."""
        answer = await self._get("get_public_access", "get_public_access_block")
        return dict(answer.get("PublicAccessBlockConfiguration", {}))

    async def block_public_access(self, blocked: Mapping[str, bool]) -> None:
        """Block them."""
        await self._put("put_public_access", "put_public_access_block", PublicAccessBlockConfiguration=dict(blocked))

    async def encryption(self) -> Mapping[str, str]:
        """`SSEAlgorithm` and `KMSMasterKeyID` of objects that ask for nothing else. Empty where there is no default."""
        answer = await self._get("get_encryption", "get_bucket_encryption")
        rules = answer.get("ServerSideEncryptionConfiguration", {}).get("Rules", [])
        return dict(rules[0].get("ApplyServerSideEncryptionByDefault", {})) if rules else {}

    async def encrypt(self, default: Mapping[str, str]) -> None:
        """Set the default. With a key of KMS also a bucket key, which spares most of the requests to KMS."""
        rule: dict[str, Any] = {"ApplyServerSideEncryptionByDefault": dict(default)}
        if default.get("SSEAlgorithm") == "aws:kms":
            rule["BucketKeyEnabled"] = True
        await self._put("put_encryption", "put_bucket_encryption", ServerSideEncryptionConfiguration={"Rules": [rule]})

    async def versioning(self) -> str:
        """`Enabled`, `Suspended`, or nothing where it never was."""
        return str((await self._get("get_versioning", "get_bucket_versioning")).get("Status", ""))

    async def keep_versions(self) -> None:
        """Enable it."""
        await self._put("put_versioning", "put_bucket_versioning", VersioningConfiguration={"Status": "Enabled"})

    async def lifecycle(self) -> list[dict[str, Any]]:
        """All rules, whoever made them."""
        return list((await self._get("get_lifecycle", "get_bucket_lifecycle_configuration")).get("Rules", []))

    async def set_lifecycle(self, rules: Sequence[Mapping[str, Any]]) -> None:
        """These rules and no others."""
        body = {"Rules": [dict(rule) for rule in rules]}
        await self._put("put_lifecycle", "put_bucket_lifecycle_configuration", LifecycleConfiguration=body)

    async def close(self) -> None:
        """Free the connection."""
        await self._requests.close()

    async def _get(self, operation: str, call: str) -> Mapping[str, Any]:
        async with self._offered(operation, writes=False) as client:
            try:
                answer: Mapping[str, Any] = await getattr(client, call)(**self._common)
            except ClientError as error:
                if refusal_of(error).code in _NOT_SET:
                    return {}
                raise
            return answer

    async def _put(self, operation: str, call: str, **body: Any) -> None:
        async with self._offered(operation, writes=True) as client:
            await getattr(client, call)(**self._common, **body)

    @asynccontextmanager
    async def _offered(self, operation: str, *, writes: bool) -> AsyncIterator[Any]:
        async with self._requests.open(operation, None, writes=writes) as (client, _):
            try:
                yield client
            except ClientError as error:
                refusal = refusal_of(error)
                if refusal.status in (501, 405) or refusal.code in _NOT_OFFERED:
                    raise NotOffered(
                        f"this server does not offer it ({refusal.code})", hint="do without, or use another server"
                    ) from error
                raise
