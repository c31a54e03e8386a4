"""Connections to AWS's services, and to servers that speak like them. The only place that knows aiobotocore.

A client is shared by all calls to its service, and made anew when its keys are no longer the right ones: they ran out, were
refused, or a secret holds others. One request per call and no retries of botocore's own. It must not know what is asked.
"""

from __future__ import annotations

import asyncio
import functools
import io
import xml.etree.ElementTree as ElementTree
from collections.abc import Awaitable, Mapping
from contextlib import AsyncExitStack
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import botocore.exceptions as boto
import botocore.handlers
from aiobotocore.config import AioConfig
from aiobotocore.httpsession import AIOHTTPSession
from aiobotocore.session import AioSession
from botocore.awsrequest import AWSPreparedRequest
from botocore.compat import get_current_datetime
from botocore.parsers import RestXMLParser

from streamer.errors import Denied, Invalid, StreamerError
from streamer.secrets.contract import AwsKeys, KeySource
from streamer.store.contract import NoCredentials
from streamer.store.s3_errors import Refusal

_NO_CREDENTIALS = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
    boto.ProfileNotFound,
    boto.TokenRetrievalError,
    boto.SSOError,
)
_ONE_PIECE_BYTES = 256 << 10
_NOT_SENT = (boto.ConnectTimeoutError, boto.SSLError, boto.ProxyConnectionError)
BAD_REQUEST = (
    boto.ParamValidationError,
    boto.InvalidRegionError,
    boto.UnsupportedS3ConfigurationError,
    boto.EndpointVariantError,
)
"""What botocore does not even send."""

ClientError = boto.ClientError
"""A refusal: the service answered, and its answer is an error."""

RAISED = (boto.BotoCoreError, boto.ClientError, boto.HTTPClientError, aiohttp.ClientError, OSError)
"""Everything that a client raises, time-outs and answers that make no sense aside."""


@dataclass(frozen=True, slots=True)
class Reach:
    """How one service is reached. Without `keys` and without a source of them the AWS chain applies."""

    service: str
    region: str | None = None
    endpoint_url: str | None = None
    keys: AwsKeys | None = None
    connect_seconds: float = 5.0
    read_seconds: float = 20.0
    max_connections: int = 32
    s3: dict[str, Any] | None = None


@dataclass(eq=False, slots=True)
class Connection:
    """A client, the keys it was given, and how many calls use it. A retired one is closed by the last of them."""

    client: Any
    stack: AsyncExitStack
    session: Any = field(repr=False)
    keys: AwsKeys | None = None
    users: int = 0
    retired: bool = False

    async def signing_keys(self) -> AwsKeys | None:
        """The keys that its client signs with now, renewed if they must be; None without any. Raises what the client does."""
        if self.keys is not None:
            return self.keys
        # The session keeps what it found: these are the client's own.
        found = await self.session.get_credentials()
        if found is None:
            return None
        frozen = await found.get_frozen_credentials()
        return AwsKeys(frozen.access_key, frozen.secret_key, frozen.token)


class Connections:
    """The connection to one service: one at a time, unless calls still use one that was retired.

    name: what the closed connection calls itself in an error.
    """

    def __init__(self, reach: Reach, source: KeySource | None = None, *, name: str) -> None:
        self._reach = reach
        self._source = source
        self._name = name
        self._opening = asyncio.Lock()
        self._connection: Connection | None = None
        self._closed = False

    @property
    def keys_change(self) -> bool:
        """Whether the keys come from somewhere that may have others by now."""
        return self._source is not None

    async def take(self) -> Connection:
        """The connection to use for one call; give it back with `release`. Raises what `KeySource` does."""
        keys = await self._source.current() if self._source is not None else self._reach.keys
        async with self._opening:
            if self._closed:
                raise StreamerError("the connection is closed", to=self._name)
            if self._connection is not None and self._connection.keys != keys:
                await self._retire_now(self._connection)
            if self._connection is None:
                self._connection = await _open(self._reach, keys)
            self._connection.users += 1
            return self._connection

    async def release(self, connection: Connection) -> None:
        """The call is over."""
        connection.users -= 1
        if connection.retired and connection.users == 0:
            await connection.stack.aclose()

    def refused(self, connection: Connection) -> None:
        """Its keys did not do: the next call gets another connection, whose keys are read anew."""
        if self._source is not None and connection.keys is not None:
            self._source.refused(connection.keys)
        connection.retired = True
        if self._connection is connection:
            self._connection = None

    async def close(self) -> None:
        """Free the connection. Idempotent."""
        self._closed = True
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.stack.aclose()

    async def _retire_now(self, connection: Connection) -> None:
        connection.retired = True
        self._connection = None
        if connection.users == 0:
            await connection.stack.aclose()


async def _open(reach: Reach, keys: AwsKeys | None) -> Connection:
    stack = AsyncExitStack()
    config = AioConfig(
        signature_version="s3v4" if reach.service == "s3" else "v4",
        connect_timeout=reach.connect_seconds,
        read_timeout=reach.read_seconds,
        max_pool_connections=reach.max_connections,
        retries={"total_max_attempts": 1, "mode": "standard"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3=reach.s3,
        # The first client reads hundreds of files: in a thread, so that heartbeats go on.
        warm_up_loader_caches=True,
        http_session_cls=_Session,
    )
    # A session of its own: after an expired token the whole chain is asked again, files and environment included.
    session = AioSession()
    session.register_component("data_loader", _models())
    opening = session.create_client(
        reach.service,
        region_name=reach.region or ("us-east-1" if reach.endpoint_url else None),
        endpoint_url=reach.endpoint_url,
        aws_access_key_id=keys.access_key_id if keys else None,
        aws_secret_access_key=keys.secret_access_key if keys else None,
        aws_session_token=keys.session_token if keys else None,
        config=config,
    )
    try:
        client = await stack.enter_async_context(opening)
    except ValueError as error:
        raise Invalid("botocore does not take this endpoint or region", hint="use a host name without _, or an IP") from error
    if reach.service == "s3":
        # The wait for `100 Continue` has no limit, and costs a round trip.
        client.meta.events.unregister("before-call.s3", botocore.handlers.add_expect_header)
    return Connection(client, stack, session, keys)


@functools.cache
def _models() -> Any:
    """What botocore knows about its services, read once in a process: the next client takes milliseconds."""
    return AioSession().get_component("data_loader")


@dataclass(frozen=True, slots=True)
class Sent:
    """A request as botocore made and signed it, names of headers in lower case, and the HTTP session that it left through."""

    session: Any = field(repr=False)
    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)


_WATCHED: ContextVar[list[Sent] | None] = ContextVar("_WATCHED", default=None)


class _Session(AIOHTTPSession):  # type: ignore[misc]
    """aiobotocore's HTTP session, which shows what it sends to whoever asked."""

    async def send(self, request: Any) -> Any:
        if isinstance(request.body, bytes) and len(request.body) > _ONE_PIECE_BYTES:
            request.body = io.BytesIO(request.body)
        if (watched := _WATCHED.get()) is not None:
            said = {name.lower(): _text(value) for name, value in request.headers.items()}
            watched.append(Sent(self, request.method, request.url, said))
        return await super().send(request)


async def watched(call: Awaitable[Any]) -> tuple[Any, Sent | None]:
    """The answer of a client's call, and the last request that it took."""
    sent: list[Sent] = []
    token = _WATCHED.set(sent)
    try:
        return await call, sent[-1] if sent else None
    finally:
        _WATCHED.reset(token)


def amz_date() -> str:
    """Now, as AWS wants it in a request."""
    return str(get_current_datetime().strftime("%Y%m%dT%H%M%SZ"))


async def send(
    session: Any, method: str, url: str, headers: dict[str, str], body: bytes, *, operation: str
) -> Mapping[str, str]:
    """Send a signed request to S3 through the session of a `Sent`. Returns the answer's headers, names in lower case.

    Raises what the client's own calls do, `ClientError` for an answer that is an error among them.
    """
    # The HTTP client would write bytes as long as these in one piece.
    data = io.BytesIO(body) if len(body) > _ONE_PIECE_BYTES else body
    answer = await session.send(AWSPreparedRequest(method, url, headers, data, stream_output=False))
    status, content = answer.status_code, await answer.content
    if status == 200 and content and not _is_answer(content):
        status = 500
    if status >= 300:
        parsed = RestXMLParser().parse({"status_code": status, "headers": answer.headers, "body": content}, None)
        raise boto.ClientError(parsed, operation)
    return answer.headers  # type: ignore[no-any-return]


def _is_answer(content: bytes) -> bool:
    # As botocore has it: S3 can put an error behind a 200 that it sent too early, and a network can cut it short.
    try:
        return ElementTree.fromstring(content).tag != "Error"  # noqa: S314 - botocore's own parser is the same
    except ElementTree.ParseError:
        return False


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def refusal_of(error: boto.ClientError) -> Refusal:
    """What the service said."""
    said = error.response.get("Error", {})
    meta = error.response.get("ResponseMetadata", {})
    region = meta.get("HTTPHeaders", {}).get("x-amz-bucket-region") or said.get("Region")
    return Refusal(meta.get("HTTPStatusCode", 0), str(said.get("Code", "")), str(said.get("Message", "")), region)


def without_keys(error: BaseException, **context: object) -> Denied | None:
    """The error of a request that could not be signed; None where `error` is of another kind."""
    if not isinstance(error, _NO_CREDENTIALS):
        return None
    kind = NoCredentials if isinstance(error, boto.NoCredentialsError) else Denied
    return kind(
        f"no usable credentials: {type(error).__name__}",
        hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or give the machine a role",
        **context,
    )


def reason_of(error: BaseException) -> tuple[str, bool]:
    """What is behind an error of the client, a socket's or TLS's, and whether the request surely never left."""
    cause = error.kwargs.get("error", error) if isinstance(error, boto.BotoCoreError) else error
    # EndpointConnectionError also stands for a connection that broke in the middle; only these never left.
    never_left = isinstance(error, _NOT_SENT) or isinstance(cause, aiohttp.ClientConnectorError)
    return f"{type(cause).__name__}: {cause}"[:200], never_left
