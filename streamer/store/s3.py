"""The object store as S3 and its likes offer it.

One request per call and no retries of its own: the botocore layer below is told not to, the retry layer above does. (aiohttp
re-sends a PUT by itself on a kept-alive connection that the server closed; a `Conflict` may therefore be our own.) Every call
has a deadline that includes the wait for a connection, because aiohttp's own timeouts do not cover a stalled upload.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from isal.isal_zlib import crc32

from streamer.aws import ClientError, refusal_of
from streamer.errors import Conflict, Denied, Invalid, NotFound
from streamer.store.contract import (
    NO_METADATA,
    Create,
    ObjectInfo,
    Overwrite,
    Part,
    PutMode,
    Replace,
    StoredObject,
    Unsupported,
    Upload,
)
from streamer.store.limits import KEY_BYTES, check_key, check_metadata, check_prefix
from streamer.store.s3_requests import S3Requests
from streamer.store.s3_settings import S3Settings

__all__ = ["S3Settings", "S3Store"]

# Below this the checksum takes less time than a thread's hand-over.
_INLINE_CRC_BYTES = 256 << 10
# How much faster than a slow line a server puts parts together.
_COMPLETION_SPEED = 16


class S3Store:
    """Objects under `prefix` in `bucket`.

    Metadata names have `-` for `_` on the wire, because proxies drop headers with underscores. Keys ending in `/`, which
    consoles make for folders, are not listed.
    """

    def __init__(self, bucket: str, prefix: str = "", settings: S3Settings | None = None) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        check_prefix(self._prefix)
        self._settings = settings or S3Settings()
        self._requests = S3Requests(bucket, self._settings, name=self.url)
        self._request = self._requests.open
        owner = self._settings.expected_bucket_owner
        self._common = {"Bucket": bucket} | ({"ExpectedBucketOwner": owner} if owner else {})
        encryption, key_id = self._settings.server_side_encryption, self._settings.kms_key_id
        said = {"ServerSideEncryption": encryption, "SSEKMSKeyId": key_id, "BucketKeyEnabled": self._settings.kms_bucket_key}
        self._encryption = {name: value for name, value in said.items() if value is not None}
        self._conditional = self._settings.conditional_writes

    @property
    def url(self) -> str:
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    @property
    def conditional_writes(self) -> bool:
        return self._conditional

    async def get(self, key: str) -> StoredObject:
        params = self._object(key)
        async with self._request("get", key) as (client, deadline):
            answer = await client.get_object(**params)
            body = await self._read(answer, deadline)
            return StoredObject(replace(self._info(key, answer), size_bytes=len(body)), body)

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        params = self._object(key)
        if length < 0:
            raise ValueError(f"length {length} is negative")
        if length == 0:
            await self.head(key)
            return b""
        wanted = f"bytes={start}-{start + length - 1}" if start >= 0 else f"bytes={start}"
        async with self._request("get", key) as (client, deadline):
            try:
                answer = await client.get_object(**params, Range=wanted)
            except ClientError as error:
                if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 416:
                    return b""
                raise
            body = await self._read(answer, deadline)
        if "ContentRange" not in answer:
            # A server may ignore the range and send everything.
            body = body[max(0, len(body) + start) if start < 0 else start :]
        return body[:length]

    async def head(self, key: str) -> ObjectInfo:
        params = self._object(key)
        async with self._request("head", key) as (client, _):
            return self._info(key, await client.head_object(**params))

    async def put(
        self,
        key: str,
        body: bytes | memoryview,
        *,
        mode: PutMode,
        metadata: Mapping[str, str] = NO_METADATA,
        content_type: str = "application/octet-stream",
    ) -> str:
        check_metadata(metadata)
        params = self._object(key) | self._encryption | await _payload(body)
        params["ContentType"] = content_type
        params["Metadata"] = {name.replace("_", "-"): value for name, value in metadata.items()}

        async def send(conditional: bool) -> str:
            condition = await self._condition(key, mode)
            return await self._requests.put(key, params | condition, conditional=conditional)

        return await self._conditionally(mode, send)

    async def _conditionally(self, mode: PutMode, send: Callable[[bool], Awaitable[str]]) -> str:
        """What `send` returns; where the server does not know conditions, and that was accepted, without one."""
        conditional = self.conditional_writes and not isinstance(mode, Overwrite)
        try:
            return await send(conditional)
        except Unsupported:
            if not (conditional and self._settings.at_least_once):
                raise
            self._conditional = False
            return await send(False)

    async def _condition(self, key: str, mode: PutMode) -> dict[str, str]:
        match mode:
            case Create() if self.conditional_writes:
                return {"IfNoneMatch": "*"}
            case Replace(etag) if self.conditional_writes:
                return {"IfMatch": etag}
            case Create() | Replace():
                await self._check_by_reading(key, mode)
        return {}

    async def _check_by_reading(self, key: str, mode: Create | Replace) -> None:
        # For servers without conditional writes: right as long as nobody else writes at the same time.
        try:
            there = (await self.head(key)).etag
        except NotFound:
            there = None
        if there is not None if isinstance(mode, Create) else there != mode.etag:
            raise Conflict("another version of the object is there", key=key)

    async def begin_upload(
        self,
        key: str,
        *,
        part_bytes: int,
        metadata: Mapping[str, str] = NO_METADATA,
        content_type: str = "application/octet-stream",
    ) -> Upload:
        check_metadata(metadata)
        params = self._object(key) | self._encryption | {"ContentType": content_type}
        params["Metadata"] = {name.replace("_", "-"): value for name, value in metadata.items()}
        async with self._request("begin_upload", key, writes=True) as (client, _):
            answer = await client.create_multipart_upload(**params)
            return Upload(key, str(answer["UploadId"]), part_bytes, metadata)

    async def put_part(self, upload: Upload, number: int, body: bytes) -> Part:
        # MD5 and not CRC-32: a checksum of S3's newer kind would have to be announced with the upload and repeated at its
        # end, which many S3-compatible servers do not know.
        digest = await asyncio.to_thread(lambda: hashlib.md5(body, usedforsecurity=False).digest())
        params = self._object(upload.key) | {
            "UploadId": upload.id, "PartNumber": number, "Body": body, "ContentMD5": base64.b64encode(digest).decode(),
        }  # fmt: skip
        async with self._request("put_part", upload.key, writes=True, body_bytes=len(body)) as (client, _):
            answer = await client.upload_part(**params)
            return Part(number, str(answer["ETag"]), len(body))

    async def complete_upload(self, upload: Upload, parts: Sequence[Part], *, mode: PutMode) -> str:
        key = upload.key
        params = self._object(key) | {
            "UploadId": upload.id,
            "MultipartUpload": {"Parts": [{"PartNumber": part.number, "ETag": part.etag} for part in parts]},
        }
        # The server may put the parts together before it answers: as long as the last of their bytes would take.
        wait = sum(part.size_bytes for part in parts) // _COMPLETION_SPEED

        async def send(conditional: bool) -> str:
            condition = await self._condition(key, mode)
            request = self._request("complete_upload", key, writes=True, conditional=conditional, body_bytes=wait)
            async with request as (client, _):
                answer = await client.complete_multipart_upload(**params, **condition)
                return str(answer["ETag"])

        return await self._conditionally(mode, send)

    async def abort_upload(self, upload: Upload) -> None:
        try:
            async with self._request("abort_upload", upload.key, writes=True) as (client, _):
                await client.abort_multipart_upload(**self._object(upload.key), UploadId=upload.id)
        except Conflict:
            return

    async def list_uploads(self, prefix: str = "") -> AsyncIterator[Upload]:
        check_prefix(prefix)
        params = self._common | {"Prefix": self._prefix + prefix}
        while True:
            async with self._request("list_uploads", None) as (client, _):
                page = await client.list_multipart_uploads(**params)
                truncated = page["IsTruncated"]
            for item in page.get("Uploads", ()):
                yield Upload(item["Key"].removeprefix(self._prefix), item["UploadId"], 0, begun=item["Initiated"])
            if not truncated:
                return
            params |= {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}

    async def delete(self, key: str) -> None:
        params = self._object(key)
        try:
            async with self._request("delete", key, writes=True) as (client, _):
                await client.delete_object(**params)
        except NotFound:
            # AWS answers 204 to this, others 404; it is no error here.
            return

    async def list(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        check_prefix(prefix)
        params = self._common | {"Prefix": self._prefix + prefix}
        if start_after:
            params["StartAfter"] = self._prefix + start_after
        while True:
            async with self._request("list", None) as (client, _):
                page = await client.list_objects_v2(**params)
                truncated = page["IsTruncated"]
            for item in page.get("Contents", ()):
                key = item["Key"].removeprefix(self._prefix)
                if key and not key.endswith("/"):
                    class_ = item.get("StorageClass")
                    yield ObjectInfo(key, item["Size"], item["ETag"], item["LastModified"], storage_class=class_)
            # S3 always says it. An answer without it comes from something else, and must not pass for an empty lake.
            if not truncated:
                return
            params["ContinuationToken"] = page["NextContinuationToken"]

    async def presign(self, key: str, seconds: int) -> str:
        """A web address from which anybody can GET the object for so many seconds. It is a secret."""
        check_key(key)
        async with self._request("presign", key) as (client, _):
            params = {"Bucket": self._bucket, "Key": self._prefix + key}
            return str(await client.generate_presigned_url("get_object", Params=params, ExpiresIn=seconds))

    async def tag(self, key: str, tags: Mapping[str, str]) -> None:
        """Give the object these tags, and take away all others. They count for lifecycle rules alone."""
        params = self._object(key) | {"Tagging": {"TagSet": [{"Key": name, "Value": value} for name, value in tags.items()]}}
        async with self._request("tag", key, writes=True) as (client, _):
            await client.put_object_tagging(**params)

    async def prepare(self) -> None:
        try:
            async with self._request("prepare", None) as (client, _):
                answer = await client.head_bucket(**self._common)
        except Denied:
            # A policy for the lake's prefix alone does not let us ask about the bucket. And a refused list says why.
            async with self._request("list", None) as (client, _):
                await client.list_objects_v2(**self._common, Prefix=self._prefix, MaxKeys=1)
            return
        region, found = self._settings.region, answer.get("BucketRegion")
        # botocore follows a bucket to its region in silence, at a price. Servers other than AWS say what they like.
        if region and found and region != found and self._settings.endpoint_url is None:
            raise Invalid(f"the bucket is in region {found}, not {region}", hint=f"set AWS_REGION={found}", bucket=self._bucket)

    async def create_bucket(self) -> None:
        """Make the bucket, in the region of the settings. One that is ours already is left as it is.

        Raises `Invalid` where somebody else owns the name, `Denied` and `Unavailable` as all calls do.
        """
        async with self._request("create_bucket", None, writes=True) as (client, _):
            region = client.meta.region_name
            # S3 takes its first region only by omission.
            place = {} if region in (None, "us-east-1", "aws-global") else {"LocationConstraint": region}
            try:
                await client.create_bucket(Bucket=self._bucket, **({"CreateBucketConfiguration": place} if place else {}))
            except ClientError as error:
                code = refusal_of(error).code
                if code == "BucketAlreadyExists":
                    hint = "choose another name: those of S3 are shared by all of its users"
                    raise Invalid("the bucket's name is taken by somebody else", hint=hint, bucket=self._bucket) from error
                if code != "BucketAlreadyOwnedByYou":
                    raise

    async def close(self) -> None:
        await self._requests.close()

    def _object(self, key: str) -> dict[str, Any]:
        check_key(key)
        whole = self._prefix + key
        if len(whole.encode()) > KEY_BYTES:
            raise Invalid(f"a key of more than {KEY_BYTES} bytes with its prefix", hint="shorten the prefix", key=whole)
        return self._common | {"Key": whole}

    def _info(self, key: str, answer: Mapping[str, Any]) -> ObjectInfo:
        metadata = {name.lower().replace("-", "_"): value for name, value in answer["Metadata"].items()}
        return ObjectInfo(key, answer["ContentLength"], answer["ETag"], answer["LastModified"], MappingProxyType(metadata))

    async def _read(self, answer: Mapping[str, Any], deadline: asyncio.Timeout) -> bytes:
        size = answer["ContentLength"]
        deadline.reschedule(asyncio.get_running_loop().time() + self._settings.deadline_seconds(size))
        async with answer["Body"] as stream:
            return bytes(await stream.read())


async def _payload(body: bytes | memoryview) -> dict[str, Any]:
    """The body as botocore takes it, and its CRC-32 in a header. botocore's own would be a trailer over HTTPS, which many
    S3-compatible servers do not know."""
    content = body if isinstance(body, bytes) else bytes(body)
    crc = crc32(content) if len(content) <= _INLINE_CRC_BYTES else await asyncio.to_thread(crc32, content)
    return {"Body": content, "ChecksumCRC32": base64.b64encode(crc.to_bytes(4, "big")).decode()}
