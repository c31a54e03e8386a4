"""The public face of the lake: `Lake` for notebooks and boot code, `AsyncLake` with the same names for asyncio programs.

Everything here opens, delegates and closes; what a part does is in the part's own room.
"""

from __future__ import annotations

import os
from types import TracebackType
from typing import Self

from streamer.clock import Clock, SystemClock
from streamer.errors import Invalid
from streamer.lake.loop_thread import LoopThread
from streamer.store.contract import Store
from streamer.store.open import open_store
from streamer.store.retry import RetryingStore
from streamer.store.s3_settings import S3Settings


class AsyncLake:
    """A lake, opened inside a running event loop. Use as an async context manager, or call `close`."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        region: str | None = None,
        endpoint_url: str | None = None,
        access_key_id: str | None = None,
        secret_access_key: str | None = None,
        session_token: str | None = None,
    ) -> Self:
        """The lake at `url`: `s3://bucket/prefix`, `file:///path` or a path.

        Without keys the whole AWS credential chain applies (environment, profile, instance role); `region` and
        `endpoint_url` default to AWS_REGION / AWS_DEFAULT_REGION and AWS_ENDPOINT_URL. Raises `Invalid` where there is no
        such bucket or directory, `Denied`, `Unavailable`.
        """
        clock = SystemClock()
        settings = S3Settings(
            region=region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"),
            endpoint_url=endpoint_url or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"),
            access_key_id=access_key_id,
            secret_access_key=secret_access_key,
            session_token=session_token,
        )
        store = RetryingStore(open_store(_explicit(url), settings, clock), clock)
        try:
            await store.prepare()
        except BaseException:
            await store.close()
            raise
        return cls(store, clock)

    @property
    def url(self) -> str:
        """Where the lake is. No credentials."""
        return self._store.url

    async def close(self) -> None:
        """Free connections. Idempotent."""
        await self._store.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        await self.close()


class Lake:
    """A lake for synchronous code. Thread-safe; works inside a running event loop and in notebooks.

    Use as a context manager, or call `close`; one that is forgotten ends with the process.
    """

    def __init__(self, inner: AsyncLake, loop: LoopThread) -> None:
        self._inner = inner
        self._loop = loop

    @classmethod
    def open(
        cls,
        url: str,
        *,
        region: str | None = None,
        endpoint_url: str | None = None,
        access_key_id: str | None = None,
        secret_access_key: str | None = None,
        session_token: str | None = None,
    ) -> Self:
        """The lake at `url`. See `AsyncLake.open`."""
        loop = LoopThread()
        try:
            inner = loop.run(
                AsyncLake.open(
                    url,
                    region=region,
                    endpoint_url=endpoint_url,
                    access_key_id=access_key_id,
                    secret_access_key=secret_access_key,
                    session_token=session_token,
                )
            )
        except BaseException:
            loop.close()
            raise
        return cls(inner, loop)

    @property
    def url(self) -> str:
        """Where the lake is. No credentials."""
        return self._inner.url

    def close(self) -> None:
        """Free connections and end the background thread. Idempotent."""
        self._loop.run(self._inner.close())
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _explicit(url: str) -> str:
    """A relative path as `open_store` wants it: notebooks say `lake`, and mean `./lake`."""
    if not url:
        raise Invalid("the lake's URL is empty", hint='write Lake.open("s3://bucket/prefix") or Lake.open("./lake")')
    return url if "://" in url or url.startswith(("/", ".", "~")) else f"./{url}"
