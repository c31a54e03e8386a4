"""One request to S3 after the other: the connection, the deadline, and every failure in streamer's own errors.

What is asked, and of which object, is the affair of `s3.py` (objects) and `s3_bucket.py` (the bucket itself).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from streamer.aws import BAD_REQUEST, RAISED, ClientError, Connection, Connections, Reach, reason_of, refusal_of, without_keys
from streamer.errors import Denied, Invalid, StreamerError
from streamer.store.contract import ExpiredCredentials
from streamer.store.s3_errors import Request, lost_answer, not_reached, translate_refusal
from streamer.store.s3_put import PlainPuts
from streamer.store.s3_settings import S3Settings


class S3Requests:
    """Requests about one bucket. name: what it calls itself in an error once it is closed."""

    def __init__(self, bucket: str, settings: S3Settings, *, name: str) -> None:
        self._bucket = bucket
        self._settings = settings
        self._endpoint = settings.endpoint_url or "Amazon S3"
        self._connections = Connections(_reach(settings), settings.key_source, name=name)
        self._puts: PlainPuts | None = None

    @asynccontextmanager
    async def open(
        self, operation: str, key: str | None, *, writes: bool = False, conditional: bool = False, body_bytes: int = 0
    ) -> AsyncIterator[tuple[Any, asyncio.Timeout]]:
        """The client for one request, under a deadline; everything the client raises comes out translated."""
        connected = self._connected(operation, key, writes=writes, conditional=conditional, body_bytes=body_bytes)
        async with connected as (connection, deadline):
            yield connection.client, deadline

    async def put(self, key: str, params: Mapping[str, Any], *, conditional: bool) -> str:
        """The ETag of what `put_object(**params)` makes of `key`, by the least costly way."""
        connected = self._connected("put", key, writes=True, conditional=conditional, body_bytes=len(params["Body"]))
        async with connected as (connection, _):
            if self._puts is None or self._puts.connection is not connection:
                self._puts = PlainPuts(connection)
            return await self._puts.put(params)

    async def close(self) -> None:
        """Free the connection. Idempotent."""
        await self._connections.close()

    @asynccontextmanager
    async def _connected(
        self, operation: str, key: str | None, *, writes: bool, conditional: bool, body_bytes: int
    ) -> AsyncIterator[tuple[Connection, asyncio.Timeout]]:
        request = Request(
            self._bucket, self._endpoint, operation, key, writes, conditional, self._settings.region,
            has_token=self._settings.access_key_id is None or self._settings.session_token is not None,
        )  # fmt: skip
        connection: Connection | None = None
        try:
            async with asyncio.timeout(self._settings.deadline_seconds(body_bytes)) as deadline:
                connection = await self._connections.take()
                yield connection, deadline
        except TimeoutError as error:
            raise lost_answer(request, f"no answer within {self._settings.deadline_seconds(body_bytes):g} s") from error
        except KeyError as error:
            raise lost_answer(request, f"an answer without {error}, which is not how S3 answers") from error
        except RAISED as error:
            raise self._heeded(connection, _translate(request, error)) from error
        finally:
            if connection is not None:
                await self._connections.release(connection)

    def _heeded(self, connection: Connection | None, error: StreamerError) -> StreamerError:
        """Keys that were refused are not used again, where there may be others."""
        if connection is None or not isinstance(error, Denied):
            return error
        if isinstance(error, ExpiredCredentials):
            self._connections.refused(connection)
        elif self._connections.keys_change:
            # A key that was deleted looks like one that lacks a permission: only the secret tells, by having another by now.
            self._connections.refused(connection)
            return ExpiredCredentials(error.message, hint=error.hint, **error.context)
        return error


def _reach(settings: S3Settings) -> Reach:
    return Reach(
        "s3",
        settings.region,
        settings.endpoint_url,
        settings.keys,
        settings.connect_seconds,
        settings.read_seconds,
        settings.max_connections,
        {"addressing_style": settings.addressing_style, "payload_signing_enabled": settings.signs_payload},
    )


def _translate(request: Request, error: Exception) -> StreamerError:
    if isinstance(error, ClientError):
        return translate_refusal(request, refusal_of(error))
    if (denied := without_keys(error, **request.context)) is not None:
        return denied
    if isinstance(error, BAD_REQUEST):
        return Invalid(f"not a valid request: {error}", hint="check the bucket's name and the region", **request.context)
    reason, never_left = reason_of(error)
    return not_reached(request, reason) if never_left else lost_answer(request, reason)
