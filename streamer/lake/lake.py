"""The public face of the lake: `Lake` for notebooks and boot code, `AsyncLake` with the same names for asyncio programs.

Everything here delegates and closes; what a part does is in the part's own room.
"""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Self

import pyarrow as pa

from streamer.bundles.bundles import AsyncBundles
from streamer.bundles.sync import Bundles
from streamer.cache.lake_cache import AsyncLakeCache, LakeCache
from streamer.cache.versions import CachedVersions
from streamer.docstore.docstore import AsyncDocuments
from streamer.docstore.kinds import Kind
from streamer.docstore.processed import AsyncProcessed
from streamer.docstore.sync import Documents, Processed
from streamer.events.events import AsyncEvents
from streamer.events.sync import Events
from streamer.features.history import FeatureHistory
from streamer.features.read import DOCUMENT, read_history
from streamer.lake.closed_days import Certificates
from streamer.lake.files import AsyncFiles, Files
from streamer.lake.following import AsyncFollowing, Following
from streamer.lake.legacy import AsyncLegacy, Legacy
from streamer.lake.loop_thread import LoopThread, RunningLoop
from streamer.lake.opening import (
    DEFAULT_CACHE,
    CacheChoice,
    Folder,
    OpenedLake,
    explicit,
    open_at,
    open_environment,
    settings_of,
)
from streamer.lake.reader import Reader
from streamer.lake.reading import Reading
from streamer.lineage.graph import LineageGraph
from streamer.lineage.walk import DEPTH, OBJECTS, walk
from streamer.models.cache import BUDGET_BYTES
from streamer.models.models import AsyncModels
from streamer.models.signature import Signer
from streamer.models.sync import Models
from streamer.store.s3_settings import S3Settings
from streamer.workers import ThreadWorkers

MODEL_THREADS = 2
READER_THREADS = 4

if TYPE_CHECKING:
    from streamer.lake.sql import Sql


class AsyncLake(AsyncFiles, AsyncLegacy, AsyncFollowing):
    """A lake, opened inside a running event loop. Use as an async context manager, or call `close`."""

    def __init__(self, opened: OpenedLake) -> None:
        self._opened = opened
        self._store = opened.store
        self._clock = opened.clock
        self._presigner = opened.presigner
        certificates, tiers = Certificates(opened.store), opened.objects
        self._objects = CachedVersions(opened.store, tiers, certificates.is_current) if tiers is not None else None
        self._reader_workers = ThreadWorkers(READER_THREADS)
        self._reader = Reader(opened.store, self._reader_workers, certificates=certificates, versions=self._objects)
        self._model_workers: ThreadWorkers | None = None
        self._bundle_workers: ThreadWorkers | None = None

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
        cache: Folder | None = DEFAULT_CACHE,
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
        settings = settings_of(region, endpoint_url, access_key_id, secret_access_key, session_token)
        chosen = CacheChoice(cache, cache_budget_bytes, cache_ttl_seconds)
        return cls(await open_at(explicit(url), settings, chosen, create=create))

    @classmethod
    async def over(cls, url: str, settings: S3Settings, kinds: Mapping[str, Kind] | None = None) -> Self:
        """The lake at `url`, with S3 settings and kinds of documents that somebody else made, such as a configuration. Caches
        nothing. Raises as `open`."""
        return cls(replace(await open_at(url, settings, CacheChoice()), kinds=kinds or {}))

    @classmethod
    async def from_env(cls, environment: Mapping[str, str] = os.environ, config: Folder | None = None) -> Self:
        """The lake that the environment names; a local directory is made where it is not there. Logs which one it is.

        The `[documents.kinds]` and `dynamodb.pulse_table` of the configuration are known: of the file `config`, else of the one
        that the daemon takes.

        `STORAGE_TYPE` (local | s3 | auto), `S3_BUCKET_NAME` or `S3_BUCKET`, `AWS_*`, `LOCAL_STORAGE_PATH`,
        `USE_STORAGE_BACKEND`, `ENABLE_CACHE`, `CACHE_DIR`, `CACHE_TTL_SECONDS`: see docs/reading.md. `auto` takes S3 where a
        bucket is named and credentials are found, else the directory; a bucket that refuses or does not answer is an error.
        Raises as `open`.
        """
        return cls(await open_environment(environment, config))

    @property
    def url(self) -> str:
        """Where the lake is. No credentials."""
        return self._store.url

    @functools.cached_property
    def cache(self) -> AsyncLakeCache:
        """What this machine keeps of the lake (`stats`, `clear`), and named caches: `lake.cache("reports", ttl="24h")`."""
        return AsyncLakeCache(self._store, self._clock, self._opened.objects, self._opened.cache_folder)

    @functools.cached_property
    def models(self) -> AsyncModels:
        """Model checkpoints. Signed and checked where STREAMER_MODEL_KEY is set."""
        self._model_workers = ThreadWorkers(MODEL_THREADS)
        signer = Signer.from_environment()
        return AsyncModels(self._store, self._clock, self._model_workers, cache=self._opened.models, signer=signer)

    @functools.cached_property
    def bundles(self) -> AsyncBundles:
        """Folders of code and data, versioned as models are. Signed and checked where STREAMER_MODEL_KEY is set."""
        self._bundle_workers = ThreadWorkers(MODEL_THREADS)
        signer = Signer.from_environment()
        return AsyncBundles(self._store, self._clock, self._bundle_workers, cache=self._opened.models, signer=signer)

    @functools.cached_property
    def documents(self) -> AsyncDocuments:
        """Documents under keys that templates make: `put("portfolio", {...}, user_id="7")`, `latest`, `list`."""
        return AsyncDocuments(self._store, self._clock, self._reader_workers, self._presigner, self._opened.kinds)

    @functools.cached_property
    def processed(self) -> AsyncProcessed:
        """What computations made of the data of tickers: `store("percentiles", "BTCUSDT", {...}, version="1.4.2",
        sources=[...])`, `get_latest`, `by_date`, `by_version`."""
        return AsyncProcessed(self.documents)

    async def lineage(self, key: str, *, depth: int = DEPTH, objects: int = OBJECTS) -> LineageGraph:
        """What the object at `key` was made of, and that of what, down to the roots: any object of the lake, also those of a
        closed day, models and bundles. Says of each source whether it is still what it was.

        depth: how many steps, at most. objects: how many are looked at, at most; one HEAD each. Raises `NotFound` where there
        is no such object. What is damaged on the way is in the answer's `problems`.
        """
        return await walk(self._store, self._clock, key, depth=depth, objects=objects)

    @functools.cached_property
    def events(self) -> AsyncEvents:
        """Market-pulse events: `store`, `store_batch`, `get`. Indexed where AWS_DYNAMODB_PULSE_TABLE, or the configuration of
        `from_env`, names a table."""
        documents = AsyncDocuments(self._store, self._clock, self._reader_workers)  # whatever kinds somebody declares
        return AsyncEvents(self._store, self._clock, documents, self._reader, self._opened.events_table)

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
        if "events" in self.__dict__:
            await self.events.close()
        await self._store.close()
        self._reader_workers.close()
        for workers in (self._model_workers, self._bundle_workers):
            if workers is not None:
                workers.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        await self.close()


class Lake(Files, Legacy, Reading, Following):
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
        cache: Folder | None = DEFAULT_CACHE,
        cache_budget_bytes: int = BUDGET_BYTES,
        cache_ttl_seconds: float | None = None,
        create: bool = False,
    ) -> Self:
        """The lake at `url`. See `AsyncLake.open`."""
        opening = AsyncLake.open(
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
        return cls(*LoopThread.opened_in(opening))

    @classmethod
    def over(cls, url: str, settings: S3Settings, kinds: Mapping[str, Kind] | None = None) -> Self:
        """The lake at `url`, with S3 settings that somebody else made. See `AsyncLake.over`."""
        return cls(*LoopThread.opened_in(AsyncLake.over(url, settings, kinds)))

    @classmethod
    def from_env(cls, environment: Mapping[str, str] = os.environ, config: Folder | None = None) -> Self:
        """The lake that the environment names. See `AsyncLake.from_env`."""
        return cls(*LoopThread.opened_in(AsyncLake.from_env(environment, config)))

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

    @functools.cached_property
    def bundles(self) -> Bundles:
        """Folders of code and data, versioned as models are: push, load. See `docs/bundles.md`."""
        return Bundles(self._inner.bundles, self._loop)

    @functools.cached_property
    def documents(self) -> Documents:
        """Documents under keys that templates make: `put("portfolio", {...}, user_id="7")`, `latest`, `list`. See
        `docs/documents.md`."""
        return Documents(self._inner.documents, self._loop)

    @functools.cached_property
    def processed(self) -> Processed:
        """What computations made of the data of tickers: store, get_latest, by_date, by_version. See `docs/lineage.md`."""
        return Processed(self._inner.processed, self._loop)

    def lineage(self, key: str, *, depth: int = DEPTH, objects: int = OBJECTS) -> LineageGraph:
        """What the object at `key` was made of, down to the roots. See `AsyncLake.lineage` and `docs/lineage.md`."""
        return self._loop.run(self._inner.lineage(key, depth=depth, objects=objects))

    @functools.cached_property
    def events(self) -> Events:
        """Market-pulse events: `store`, `store_batch`, `get`. Indexed where AWS_DYNAMODB_PULSE_TABLE names a table. See
        `docs/events.md`."""
        return Events(self._inner.events, self._loop)

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
        if not self._loop.closed:
            self._loop.run(self._inner.close())
            self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
