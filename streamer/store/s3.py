"""The object store as S3 and its likes offer it. The only place that knows aiobotocore.

One request per call and no retries of its own: the botocore layer below is told not to, the retry layer above does. (aiohttp
re-sends a PUT by itself on a kept-alive connection that the server closed; a `Conflict` may therefore be our own.) Every call
has a deadline that includes the wait for a connection, because aiohttp's own timeouts do not cover a stalled upload.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import hashlib
import zlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import aiohttp
import botocore.exceptions as boto
import botocore.handlers
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession

from streamer.errors import Conflict, Denied, Invalid, NotFound, StreamerError
from streamer.store.contract import (
    NO_METADATA,
    Create,
    ExpiredCredentials,
    NoCredentials,
    ObjectInfo,
    Overwrite,
    Part,
    PutMode,
    Replace,
    StoredObject,
    Upload,
)
from streamer.store.limits import KEY_BYTES, check_key, check_metadata, check_prefix
from streamer.store.s3_errors import Refusal, Request, lost_answer, not_reached, translate_refusal
from streamer.store.s3_settings import S3Settings

__all__ = ["S3Settings", "S3Store"]

# Below this the checksum takes less time than a thread's hand-over.
_INLINE_CRC_BYTES = 256 << 10
# How much faster than a slow line a server puts parts together.
_COMPLETION_SPEED = 16

_NO_CREDENTIALS = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
    boto.ProfileNotFound,
    boto.TokenRetrievalError,
    boto.SSOError,
)
_NOT_SENT = (boto.ConnectTimeoutError, boto.SSLError, boto.ProxyConnectionError)
_BAD_REQUEST = (
    boto.ParamValidationError,
    boto.InvalidRegionError,
    boto.UnsupportedS3ConfigurationError,
    boto.EndpointVariantError,
)


@dataclass(eq=False)
class _Connection:
    """A client, and how many calls use it. A retired one is closed by the last of them."""

    client: Any
    stack: AsyncExitStack
    users: int = 0
    retired: bool = False


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
        self._endpoint = self._settings.endpoint_url or "Amazon S3"
        self._opening = asyncio.Lock()
        self._connection: _Connection | None = None
        self._closed = False
        owner = self._settings.expected_bucket_owner
        self._common = {"Bucket": bucket} | ({"ExpectedBucketOwner": owner} if owner else {})
        encryption, key_id = self._settings.server_side_encryption, self._settings.kms_key_id
        self._encryption = ({"ServerSideEncryption": encryption} if encryption else {}) | (
            {"SSEKMSKeyId": key_id} if key_id else {}
        )

    @property
    def url(self) -> str:
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    @property
    def conditional_writes(self) -> bool:
        return self._settings.conditional_writes

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
            except boto.ClientError as error:
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
        conditional = self.conditional_writes and not isinstance(mode, Overwrite)
        params |= await self._condition(key, mode)
        async with self._request("put", key, writes=True, conditional=conditional, body_bytes=len(body)) as (client, _):
            answer = await client.put_object(**params)
            return str(answer["ETag"])

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
        conditional = self.conditional_writes and not isinstance(mode, Overwrite)
        params |= await self._condition(key, mode)
        # The server may put the parts together before it answers: as long as the last of their bytes would take.
        size = sum(part.size_bytes for part in parts)
        async with self._request(
            "complete_upload", key, writes=True, conditional=conditional, body_bytes=size // _COMPLETION_SPEED
        ) as (client, _):
            answer = await client.complete_multipart_upload(**params)
            return str(answer["ETag"])

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

    async def prepare(self) -> None:
        async with self._request("prepare", None) as (client, _):
            answer = await client.head_bucket(**self._common)
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
            except boto.ClientError as error:
                code = _refusal(error).code
                if code == "BucketAlreadyExists":
                    hint = "choose another name: those of S3 are shared by all of its users"
                    raise Invalid("the bucket's name is taken by somebody else", hint=hint, bucket=self._bucket) from error
                if code != "BucketAlreadyOwnedByYou":
                    raise

    async def close(self) -> None:
        self._closed = True
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.stack.aclose()

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

    @asynccontextmanager
    async def _request(
        self, operation: str, key: str | None, *, writes: bool = False, conditional: bool = False, body_bytes: int = 0
    ) -> AsyncIterator[tuple[Any, asyncio.Timeout]]:
        """The client for one request, under a deadline; everything the client raises comes out translated."""
        request = Request(
            self._bucket, self._endpoint, operation, key, writes, conditional, self._settings.region,
            has_token=self._settings.access_key_id is None or self._settings.session_token is not None,
        )  # fmt: skip
        connection: _Connection | None = None
        try:
            async with asyncio.timeout(self._settings.deadline_seconds(body_bytes)) as deadline:
                connection = await self._connect()
                yield connection.client, deadline
        except TimeoutError as error:
            raise lost_answer(request, f"no answer within {self._settings.deadline_seconds(body_bytes):g} s") from error
        except KeyError as error:
            raise lost_answer(request, f"an answer without {error}, which is not how S3 answers") from error
        except (boto.BotoCoreError, boto.ClientError, boto.HTTPClientError, aiohttp.ClientError, OSError) as error:
            translated = _translate(request, error)
            if isinstance(translated, ExpiredCredentials) and connection is not None:
                self._retire(connection)
            raise translated from error
        finally:
            if connection is not None:
                await self._release(connection)

    async def _connect(self) -> _Connection:
        async with self._opening:
            if self._closed:
                raise StreamerError("the store is closed", store=self.url)
            if self._connection is None:
                self._connection = await self._open()
            self._connection.users += 1
            return self._connection

    async def _open(self) -> _Connection:
        settings = self._settings
        stack = AsyncExitStack()
        config = AioConfig(
            signature_version="s3v4",
            connect_timeout=settings.connect_seconds,
            read_timeout=settings.read_seconds,
            max_pool_connections=settings.max_connections,
            retries={"total_max_attempts": 1, "mode": "standard"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": settings.addressing_style, "payload_signing_enabled": settings.signs_payload},
            # The first client reads hundreds of files: in a thread, so that heartbeats go on.
            warm_up_loader_caches=True,
        )
        # A session of its own: after an expired token the whole chain is asked again, files and environment included.
        session = AioSession()
        session.register_component("data_loader", _models())
        opening = session.create_client(
            "s3",
            region_name=settings.region or ("us-east-1" if settings.endpoint_url else None),
            endpoint_url=settings.endpoint_url,
            aws_access_key_id=settings.access_key_id,
            aws_secret_access_key=settings.secret_access_key,
            aws_session_token=settings.session_token,
            config=config,
        )
        try:
            client = await stack.enter_async_context(opening)
        except ValueError as error:
            raise Invalid(
                "botocore does not take this endpoint or region", hint="use a host name without _, or an IP"
            ) from error
        # The wait for `100 Continue` has no limit, and costs a round trip.
        client.meta.events.unregister("before-call.s3", botocore.handlers.add_expect_header)
        return _Connection(client, stack)

    def _retire(self, connection: _Connection) -> None:
        connection.retired = True
        if self._connection is connection:
            self._connection = None

    async def _release(self, connection: _Connection) -> None:
        connection.users -= 1
        if connection.retired and connection.users == 0:
            await connection.stack.aclose()


@functools.cache
def _models() -> Any:
    """What botocore knows about S3, read once in a process: the next client takes milliseconds."""
    return AioSession().get_component("data_loader")


async def _payload(body: bytes | memoryview) -> dict[str, Any]:
    """The body as botocore takes it, and its CRC-32 in a header. botocore's own would be a trailer over HTTPS, which many
    S3-compatible servers do not know."""
    content = body if isinstance(body, bytes) else bytes(body)
    crc = zlib.crc32(content) if len(content) <= _INLINE_CRC_BYTES else await asyncio.to_thread(zlib.crc32, content)
    return {"Body": content, "ChecksumCRC32": base64.b64encode(crc.to_bytes(4, "big")).decode()}


def _translate(request: Request, error: Exception) -> StreamerError:
    if isinstance(error, boto.ClientError):
        return translate_refusal(request, _refusal(error))
    if isinstance(error, _NO_CREDENTIALS):
        kind = NoCredentials if isinstance(error, boto.NoCredentialsError) else Denied
        return kind(
            f"no usable credentials: {type(error).__name__}",
            hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or give the machine a role",
            **request.context,
        )
    if isinstance(error, _BAD_REQUEST):
        return Invalid(f"not a valid request: {error}", hint="check the bucket's name and the region", **request.context)
    cause = error.kwargs.get("error", error) if isinstance(error, boto.BotoCoreError) else error
    reason = f"{type(cause).__name__}: {cause}"[:200]
    # EndpointConnectionError also stands for a connection that broke in the middle; only these never left.
    if isinstance(error, _NOT_SENT) or isinstance(cause, aiohttp.ClientConnectorError):
        return not_reached(request, reason)
    return lost_answer(request, reason)


def _refusal(error: boto.ClientError) -> Refusal:
    said = error.response.get("Error", {})
    meta = error.response.get("ResponseMetadata", {})
    region = meta.get("HTTPHeaders", {}).get("x-amz-bucket-region") or said.get("Region")
    return Refusal(meta.get("HTTPStatusCode", 0), str(said.get("Code", "")), str(said.get("Message", "")), region)
