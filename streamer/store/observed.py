"""Counts and times every request to a store. Changes nothing, decides nothing.

Put it inside the retry layer, so that each attempt is counted and the failed ones show.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator, Mapping, Sequence
from contextlib import contextmanager

from streamer.clock import Clock
from streamer.errors import Conflict, Denied, Invalid, NotFound, OutcomeUnknown, Unavailable
from streamer.metrics import Metrics
from streamer.store.contract import NO_METADATA, ObjectInfo, Part, PutMode, Store, StoredObject, Upload

# In this order: the first that fits is the label.
_OUTCOMES: tuple[tuple[type[BaseException], str], ...] = (
    (NotFound, "not_found"),
    (Conflict, "conflict"),
    (OutcomeUnknown, "unknown"),
    (Unavailable, "unavailable"),
    (Denied, "denied"),
    (Invalid, "invalid"),
    (asyncio.CancelledError, "cancelled"),
)


def _outcome(error: BaseException) -> str:
    return next((label for kind, label in _OUTCOMES if isinstance(error, kind)), "error")


class ObservedStore:
    """`inner`, with `metrics.store_requests` and `metrics.store_seconds` kept.

    Labels of an operation: the names of the methods. Outcomes: ok, not_found, conflict, unknown,
    unavailable, denied, invalid, cancelled, error. A listing is one request, however many pages it has; its time is what
    the store took, without the time its reader spent between two objects.
    """

    def __init__(self, inner: Store, metrics: Metrics, clock: Clock) -> None:
        self._inner = inner
        self._metrics = metrics
        self._clock = clock

    @property
    def url(self) -> str:
        return self._inner.url

    @property
    def conditional_writes(self) -> bool:
        return self._inner.conditional_writes

    async def get(self, key: str) -> StoredObject:
        with self._observe("get"):
            return await self._inner.get(key)

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        with self._observe("get_range"):
            return await self._inner.get_range(key, start, length)

    async def head(self, key: str) -> ObjectInfo:
        with self._observe("head"):
            return await self._inner.head(key)

    async def put(
        self,
        key: str,
        body: bytes | memoryview,
        *,
        mode: PutMode,
        metadata: Mapping[str, str] = NO_METADATA,
        content_type: str = "application/octet-stream",
    ) -> str:
        with self._observe("put"):
            return await self._inner.put(key, body, mode=mode, metadata=metadata, content_type=content_type)

    async def begin_upload(
        self,
        key: str,
        *,
        part_bytes: int,
        metadata: Mapping[str, str] = NO_METADATA,
        content_type: str = "application/octet-stream",
    ) -> Upload:
        with self._observe("begin_upload"):
            return await self._inner.begin_upload(key, part_bytes=part_bytes, metadata=metadata, content_type=content_type)

    async def put_part(self, upload: Upload, number: int, body: bytes) -> Part:
        with self._observe("put_part"):
            return await self._inner.put_part(upload, number, body)

    async def complete_upload(self, upload: Upload, parts: Sequence[Part], *, mode: PutMode) -> str:
        with self._observe("complete_upload"):
            return await self._inner.complete_upload(upload, parts, mode=mode)

    async def abort_upload(self, upload: Upload) -> None:
        with self._observe("abort_upload"):
            await self._inner.abort_upload(upload)

    async def list_uploads(self, prefix: str = "") -> AsyncIterator[Upload]:
        with self._observe("list_uploads"):
            found = [upload async for upload in self._inner.list_uploads(prefix)]
        for upload in found:
            yield upload

    async def delete(self, key: str) -> None:
        with self._observe("delete"):
            await self._inner.delete(key)

    async def list(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        spent_seconds = 0.0
        outcome = "ok"
        items = aiter(self._inner.list(prefix, start_after=start_after))
        try:
            while True:
                asked = self._clock.monotonic()
                try:
                    item = await anext(items)
                except StopAsyncIteration:
                    return
                except BaseException as error:
                    outcome = _outcome(error)
                    raise
                finally:
                    spent_seconds += self._clock.monotonic() - asked
                yield item
        finally:
            self._record("list", outcome, spent_seconds)

    async def prepare(self) -> None:
        with self._observe("prepare"):
            await self._inner.prepare()

    async def close(self) -> None:
        await self._inner.close()

    @contextmanager
    def _observe(self, operation: str) -> Generator[None]:
        started = self._clock.monotonic()
        outcome = "ok"
        try:
            yield
        except BaseException as error:
            outcome = _outcome(error)
            raise
        finally:
            self._record(operation, outcome, self._clock.monotonic() - started)

    def _record(self, operation: str, outcome: str, seconds: float) -> None:
        self._metrics.store_requests.labels(operation, outcome).inc()
        self._metrics.store_seconds.labels(operation).observe(seconds)
