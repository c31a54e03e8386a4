"""The public face of the lake: `Lake` for notebooks and boot code, `AsyncLake` with the same names for asyncio programs.

Everything here opens, delegates and closes; what a part does is in the part's own room.
"""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Self

import pyarrow as pa
import structlog

from streamer.cache.lake_cache import OBJECTS, AsyncLakeCache, LakeCache, cache_base, tiers_at
from streamer.cache.tiers import TieredCache
from streamer.cache.versions import CachedVersions
from streamer.clock import Clock, SystemClock
from streamer.errors import Invalid
from streamer.features.history import FeatureHistory
from streamer.features.read import DOCUMENT, read_history
from streamer.lake.environment import choice
from streamer.lake.files import AsyncFiles, Files
from streamer.lake.legacy import AsyncLegacy, Legacy
from streamer.lake.loop_thread import LoopThread, RunningLoop
from streamer.lake.reader import Reader
from streamer.lake.reading import Reading
from streamer.log_events import LogEvent
from streamer.models.cache import BUDGET_BYTES, ModelCache, default_cache_folder
from streamer.models.models import AsyncModels
from streamer.models.signature import Signer
from streamer.models.sync import Models
from streamer.store.contract import NoCredentials, Store
from streamer.store.open import open_store
from streamer.store.presigned import Presigner
from streamer.store.retry import RetryingStore
from streamer.store.s3_settings import S3Settings
from streamer.workers import ThreadWorkers

DEFAULT_CACHE = "~/.cache/streamer"
_MODEL_THREADS = 2
READER_THREADS = 4

if TYPE_CHECKING:
    from streamer.lake.sql import Sql

_log = structlog.get_logger()


class AsyncLake(AsyncFiles, AsyncLegacy):
    """A lake, opened inside a running event loop. Use as an async context manager, or call `close`."""

    def __init__(self, store: Store, clock: Clock, *, cache: ModelCache | None = None) -> None:
        self._store = store
        self._clock = clock
        self._cache = cache
        self._workers: ThreadWorkers | None = None
        self._reader_workers = ThreadWorkers(READER_THREADS)
        self._reader = Reader(store, self._reader_workers)
        self._presigner: Presigner | None = None
        self._tiers: TieredCache | None = None
        self._cache_folder: str | None = None

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
        cache: str | os.PathLike[str] | None = DEFAULT_CACHE,
        cache_budget_bytes: int = BUDGET_BYTES,
        cache_ttl_seconds: float | None = None,
        create: bool = False,
    ) -> Self:
        """The lake at `url`: `s3://bucket/prefix`, `file:///path` or a path.

        Without keys the whole AWS credential chain applies (environment, profile, instance role); `region` and
        `endpoint_url` default to AWS_REGION / AWS_DEFAULT_REGION and AWS_ENDPOINT_URL. Raises `Invalid` where there is no
        such bucket or directory, `Denied`, `Unavailable`.

        cache: a directory of this machine that keeps models pulled before, up to `cache_budget_bytes`, and of a bucket what
        was read, for `cache_ttl_seconds` (None: until there is no room); None for none. XDG_CACHE_HOME moves the default.
        create: make a directory that is not there.
        """
        settings = S3Settings(
            region=region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"),
            endpoint_url=endpoint_url or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"),
            access_key_id=access_key_id,
            secret_access_key=secret_access_key,
            session_token=session_token,
        )
        return await cls.over(
            explicit(url),
            settings,
            cache=cache,
            cache_budget_bytes=cache_budget_bytes,
            cache_ttl_seconds=cache_ttl_seconds,
            create=create,
        )

    @classmethod
    async def over(
        cls,
        url: str,
        settings: S3Settings,
        *,
        cache: str | os.PathLike[str] | None = None,
        cache_budget_bytes: int = BUDGET_BYTES,
        cache_ttl_seconds: float | None = None,
        create: bool = False,
    ) -> Self:
        """The lake at `url`, with S3 settings that somebody else made: a configuration. Otherwise as `open`."""
        clock = SystemClock()
        bare = open_store(url, settings, clock, create_directory=create)
        store = RetryingStore(bare, clock)
        try:
            await store.prepare()
        except BaseException:
            await store.close()
            raise
        folder = default_cache_folder() if cache == DEFAULT_CACHE else cache
        lake = cls(store, clock, cache=ModelCache(folder, cache_budget_bytes) if folder is not None else None)
        lake._presigner = bare if isinstance(bare, Presigner) else None
        lake._cache_folder = cache_base(folder) if folder is not None else None
        if folder is not None and lake._presigner is not None:
            # A directory is as near as its cache would be.
            lake._tiers = tiers_at(lake._cache_folder, OBJECTS, clock, cache_ttl_seconds)
            lake._reader = Reader(store, lake._reader_workers, versions=CachedVersions(store, lake._tiers))
        return lake

    @classmethod
    async def from_env(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """The lake that the environment names; a local directory is made where it is not there. Logs which one it is.

        `STORAGE_TYPE` (local | s3 | auto), `S3_BUCKET_NAME` or `S3_BUCKET`, `AWS_*`, `LOCAL_STORAGE_PATH`,
        `USE_STORAGE_BACKEND`, `ENABLE_CACHE`, `CACHE_DIR`, `CACHE_TTL_SECONDS`: see docs/reading.md. `auto` takes S3 where a
        bucket is named and credentials are found, else the directory; a bucket that refuses or does not answer is an error.
        Raises as `open`.
        """
        chosen = choice(environment)
        cache = (chosen.cache_folder or DEFAULT_CACHE) if chosen.cache else None
        reason = None if chosen.storage == "local" else "no bucket is named"
        if chosen.bucket_url is not None and chosen.storage != "local":
            try:
                lake = await cls.open(chosen.bucket_url, cache=cache, cache_ttl_seconds=chosen.cache_ttl_seconds)
            except NoCredentials as error:
                if chosen.storage == "s3":
                    raise
                reason = error.message
            else:
                _log.info(LogEvent.LAKE_OPENED, lake=lake.url, storage=chosen.storage)
                return lake
        lake = await cls.open(chosen.local_url, cache=cache, create=True)
        _log.info(LogEvent.LAKE_OPENED, lake=lake.url, storage=chosen.storage, reason=reason)
        return lake

    @property
    def url(self) -> str:
        """Where the lake is. No credentials."""
        return self._store.url

    @functools.cached_property
    def cache(self) -> AsyncLakeCache:
        """What this machine keeps of the lake (`stats`, `clear`), and named caches: `lake.cache("reports", ttl="24h")`."""
        return AsyncLakeCache(self._store, self._clock, self._tiers, self._cache_folder)

    @functools.cached_property
    def models(self) -> AsyncModels:
        """Model checkpoints. Signed and checked where STREAMER_MODEL_KEY is set."""
        self._workers = ThreadWorkers(_MODEL_THREADS)
        return AsyncModels(self._store, self._clock, self._workers, cache=self._cache, signer=Signer.from_environment())

    async def feature_history(
        self,
        window: int | None = None,
        symbols: Collection[str] | None = None,
        as_of: datetime | None = None,
        max_age: timedelta | float | None = None,
        *,
        document: str = DOCUMENT,
    ) -> FeatureHistory:
        """The last `window` feature rows of each symbol, and the offsets from which a live consumer continues.

        window: None for as many as were kept. symbols: None for all. as_of: the history as it was saved then, or last before
        (aware; without zone UTC). max_age: a timedelta or seconds; an older history raises `Stale`. document: its key, where
        the stream names another. Where the lake has none, the history is empty; a damaged one is replaced by the newest older
        one that can be read, with a warning in the log, and `Damaged` is raised where there is none.
        """
        return await read_history(
            self._store, self._clock, window=window, symbols=symbols, as_of=as_of, max_age=max_age, document=document
        )

    async def sql(self, query: str) -> pa.Table:
        """The answer of a SQL query. See `Lake.sql`."""
        sql = self.open_sql()
        try:
            return await asyncio.to_thread(sql.table, query)
        finally:
            sql.close()

    def open_sql(self) -> Sql:
        """A connection for several queries. Call it from other threads (`asyncio.to_thread`): it waits for this event loop."""
        from streamer.lake.sql import Sql

        return Sql(self._reader, RunningLoop())

    async def close(self) -> None:
        """Free connections. Idempotent."""
        await self._store.close()
        self._reader_workers.close()
        if self._workers is not None:
            self._workers.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        await self.close()


class Lake(Files, Legacy, Reading):
    """A lake for synchronous code. Thread-safe; works inside a running event loop and in notebooks.

    Use as a context manager, or call `close`; one that is forgotten ends with the process.
    """

    _inner: AsyncLake

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
        cache: str | os.PathLike[str] | None = DEFAULT_CACHE,
        cache_budget_bytes: int = BUDGET_BYTES,
        cache_ttl_seconds: float | None = None,
        create: bool = False,
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
                    cache=cache,
                    cache_budget_bytes=cache_budget_bytes,
                    cache_ttl_seconds=cache_ttl_seconds,
                    create=create,
                )
            )
        except BaseException:
            loop.close()
            raise
        return cls(inner, loop)

    @classmethod
    def over(
        cls,
        url: str,
        settings: S3Settings,
        *,
        cache: str | os.PathLike[str] | None = None,
        cache_budget_bytes: int = BUDGET_BYTES,
        cache_ttl_seconds: float | None = None,
        create: bool = False,
    ) -> Self:
        """The lake at `url`, with S3 settings that somebody else made. See `AsyncLake.over`."""
        loop = LoopThread()
        try:
            inner = loop.run(
                AsyncLake.over(
                    url,
                    settings,
                    cache=cache,
                    cache_budget_bytes=cache_budget_bytes,
                    cache_ttl_seconds=cache_ttl_seconds,
                    create=create,
                )
            )
        except BaseException:
            loop.close()
            raise
        return cls(inner, loop)

    @classmethod
    def from_env(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """The lake that the environment names. See `AsyncLake.from_env`."""
        loop = LoopThread()
        try:
            inner = loop.run(AsyncLake.from_env(environment))
        except BaseException:
            loop.close()
            raise
        return cls(inner, loop)

    @property
    def url(self) -> str:
        """Where the lake is. No credentials."""
        return self._inner.url

    @functools.cached_property
    def cache(self) -> LakeCache:
        """What this machine keeps of the lake (`stats`, `clear`), and named caches: `lake.cache("reports", ttl="24h")`."""
        return LakeCache(self._inner.cache, self._loop)

    @functools.cached_property
    def models(self) -> Models:
        """Model checkpoints: push, pull, promote, roll back. See `docs/models.md`."""
        return Models(self._inner.models, self._loop)

    def sql(self, query: str) -> pa.Table:
        """The answer of a SQL query, by DuckDB (`pip install 'streamer[sql]'`), as an Arrow table.

        There is a view for every stream (`ticks`, `signals`, `features`, ...) and `bars` (of a minute), each with the column
        `date`. Raises `Invalid` for SQL that DuckDB refuses, `Damaged` where a file cannot be read, `Unavailable`, `Denied`.
        """
        with self.open_sql() as sql:
            return sql.table(query)

    def open_sql(self) -> Sql:
        """A connection for several queries, or for answers that are greater than memory: see `streamer.lake.sql.Sql`."""
        from streamer.lake.sql import Sql

        return Sql(self._inner._reader, self._loop)

    def feature_history(
        self,
        window: int | None = None,
        symbols: Collection[str] | None = None,
        as_of: datetime | None = None,
        max_age: timedelta | float | None = None,
        *,
        document: str = DOCUMENT,
    ) -> FeatureHistory:
        """The last `window` feature rows of each symbol, and the offsets from which a live consumer continues. See
        `AsyncLake.feature_history`."""
        return self._loop.run(self._inner.feature_history(window, symbols, as_of, max_age, document=document))

    def close(self) -> None:
        """Free connections and end the background thread. Idempotent."""
        self._loop.run(self._inner.close())
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def explicit(url: str) -> str:
    """A relative path as `open_store` wants it: notebooks say `lake`, and mean `./lake`."""
    if not url:
        raise Invalid("the lake's URL is empty", hint='write Lake.open("s3://bucket/prefix") or Lake.open("./lake")')
    return url if "://" in url or url.startswith(("/", ".", "~")) else f"./{url}"
