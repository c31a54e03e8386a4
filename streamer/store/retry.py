"""The one layer that tries again: back-off with jitter around any store.

Nothing below it retries by its own decision and nothing above it needs to. It never decides what a conflict means: after
an answer was lost, a re-sent conditional PUT may be refused because of our own first attempt, and the caller reads back.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from streamer.clock import Clock, backoff_seconds
from streamer.errors import Denied, OutcomeUnknown, StreamerError, Unavailable
from streamer.store.contract import NO_METADATA, ExpiredCredentials, ObjectInfo, Part, PutMode, Store, StoredObject, Upload

T = TypeVar("T")


class RetryingStore:
    """`inner`, each call tried up to `attempts` times within `total_seconds`.

    Tried again: `Unavailable` and `OutcomeUnknown`, and once `ExpiredCredentials`, because the store fetches new ones. The
    waits double from `first_seconds` to `most_seconds`, each shortened by chance. A wait that would pass `total_seconds` is
    not begun; an attempt under way is left its own deadline. A listing goes on after the last key it gave out.
    """

    def __init__(
        self,
        inner: Store,
        clock: Clock,
        *,
        attempts: int = 6,
        total_seconds: float = 30.0,
        first_seconds: float = 0.2,
        most_seconds: float = 10.0,
    ) -> None:
        if attempts < 1:
            raise ValueError(f"{attempts} attempts")
        self._inner = inner
        self._clock = clock
        self._attempts = attempts
        self._total_seconds = total_seconds
        self._first_seconds = first_seconds
        self._most_seconds = most_seconds

    @property
    def url(self) -> str:
        return self._inner.url

    @property
    def conditional_writes(self) -> bool:
        return self._inner.conditional_writes

    async def get(self, key: str) -> StoredObject:
        return await self._retry(lambda: self._inner.get(key))

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        return await self._retry(lambda: self._inner.get_range(key, start, length))

    async def head(self, key: str) -> ObjectInfo:
        return await self._retry(lambda: self._inner.head(key))

    async def put(
        self,
        key: str,
        body: bytes | memoryview,
        *,
        mode: PutMode,
        metadata: Mapping[str, str] = NO_METADATA,
        content_type: str = "application/octet-stream",
    ) -> str:
        return await self._retry(lambda: self._inner.put(key, body, mode=mode, metadata=metadata, content_type=content_type))

    async def begin_upload(
        self,
        key: str,
        *,
        part_bytes: int,
        metadata: Mapping[str, str] = NO_METADATA,
        content_type: str = "application/octet-stream",
    ) -> Upload:
        # One that began without an answer stays behind, as after a crash; it holds no part.
        return await self._retry(
            lambda: self._inner.begin_upload(key, part_bytes=part_bytes, metadata=metadata, content_type=content_type)
        )

    async def put_part(self, upload: Upload, number: int, body: bytes) -> Part:
        return await self._retry(lambda: self._inner.put_part(upload, number, body))

    async def complete_upload(self, upload: Upload, parts: Sequence[Part], *, mode: PutMode) -> str:
        return await self._retry(lambda: self._inner.complete_upload(upload, parts, mode=mode))

    async def abort_upload(self, upload: Upload) -> None:
        await self._retry(lambda: self._inner.abort_upload(upload))

    async def list_uploads(self, prefix: str = "") -> AsyncIterator[Upload]:
        async def everything() -> list[Upload]:
            return [upload async for upload in self._inner.list_uploads(prefix)]

        for upload in await self._retry(everything):
            yield upload

    async def delete(self, key: str) -> None:
        await self._retry(lambda: self._inner.delete(key))

    async def list(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        last = start_after
        tries = _Tries(self)
        while True:
            try:
                async for info in self._inner.list(prefix, start_after=last):
                    last = info.key
                    tries = _Tries(self)
                    yield info
                return
            except (Unavailable, ExpiredCredentials) as error:
                await tries.wait_or_raise(error)

    async def prepare(self) -> None:
        await self._retry(self._inner.prepare)

    async def close(self) -> None:
        await self._inner.close()

    async def _retry(self, call: Callable[[], Awaitable[T]]) -> T:
        tries = _Tries(self)
        while True:
            try:
                return await call()
            except (Unavailable, Denied) as error:
                await tries.wait_or_raise(error)


class _Tries:
    """How often one call was tried, since when, and whether an attempt may have been carried out."""

    def __init__(self, store: RetryingStore) -> None:
        self._policy = store
        self._started = store._clock.monotonic()
        self._failed = 0
        self._refreshed = False
        self._unknown: OutcomeUnknown | None = None

    async def wait_or_raise(self, error: StreamerError) -> None:
        """Wait until the next attempt is due, or raise what the caller must hear."""
        policy = self._policy
        self._failed += 1
        if isinstance(error, OutcomeUnknown):
            self._unknown = error
        if isinstance(error, Denied) and (self._refreshed or not isinstance(error, ExpiredCredentials)):
            raise self._verdict(error)
        self._refreshed = self._refreshed or isinstance(error, ExpiredCredentials)
        seconds = policy._clock.jitter(
            backoff_seconds(self._failed - 1, first=policy._first_seconds, most=policy._most_seconds)
        )
        spent_seconds = policy._clock.monotonic() - self._started
        if self._failed >= policy._attempts or spent_seconds + seconds > policy._total_seconds:
            raise self._verdict(error)
        await policy._clock.sleep(seconds)

    def _verdict(self, error: StreamerError) -> StreamerError:
        # One attempt that may have been carried out outweighs all that surely were not.
        if self._unknown is None or isinstance(error, OutcomeUnknown):
            return error
        verdict = OutcomeUnknown(
            f"a write got no answer, and then: {error.message}", hint=error.hint, **(self._unknown.context | error.context)
        )
        verdict.__cause__ = error
        return verdict
