"""Indexes are kept by themselves: behind the commits, each stream by itself, by one replica at a time.

Runs beside the pipeline and never holds it up: a table that is away delays nothing in the lake, and is caught up from there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from streamer.archive.lease import Lease
from streamer.clock import Clock, backoff_seconds
from streamer.errors import Conflict, Fenced, StreamerError
from streamer.index.dynamodb import IndexTable
from streamer.index.indexing import StreamIndexer
from streamer.index.settings import IndexedStream
from streamer.keys import index_lease_key
from streamer.log_events import LogEvent
from streamer.metrics import Metrics
from streamer.store.contract import Store
from streamer.workers import Workers

log = structlog.get_logger()

LEASE_SECONDS = 60.0
RETRY_SECONDS_MAX = 60.0


@dataclass(slots=True)
class _Kept:
    """A stream, what indexes it, and how often it failed in a row."""

    stream: IndexedStream
    table: IndexTable
    indexer: StreamIndexer
    failures: int = 0


class IndexKeeper:
    """Keeps the indexes of some streams. `run` is its life."""

    def __init__(
        self,
        store: Store,
        streams: Sequence[IndexedStream],
        open_table: Callable[[str], IndexTable],
        clock: Clock,
        workers: Workers,
        metrics: Metrics,
        *,
        host: str,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._host = host
        self._lease_seconds = lease_seconds
        self._kept = []
        for stream in streams:
            table = open_table(stream.table)
            self._kept.append(_Kept(stream, table, StreamIndexer(store, table, stream, clock, workers, metrics)))

    async def run(self) -> None:
        """Keep each index whenever no other replica does, for ever. Raises only for a bug."""
        async with asyncio.TaskGroup() as group:
            for kept in self._kept:
                group.create_task(self._keep(kept), name=f"index {kept.stream.name}")

    async def finish(self) -> None:
        """Bring every index up to what is committed, once, unless another replica keeps it. `run` must have ended."""
        for kept in self._kept:
            lease = self._lease(kept)
            try:
                async with lease.held():
                    await self._look(kept, lease)
            except (Conflict, Fenced):
                continue  # it does it
            except StreamerError as error:
                self._failed(kept, error)

    async def close(self) -> None:
        """Free the connections. Idempotent."""
        for kept in self._kept:
            await kept.table.close()

    async def _keep(self, kept: _Kept) -> None:
        while True:
            lease = self._lease(kept)
            try:
                async with lease.held():
                    await self._follow(kept, lease)
            except Conflict:
                pass  # another replica is at it
            except Fenced as fenced:
                log.info(LogEvent.INDEX_TAKEN_OVER, stream=kept.stream.name, problem=str(fenced))
            except StreamerError as error:
                self._failed(kept, error)
            kept.indexer.forget()
            await self._clock.sleep(self._clock.jitter(self._lease_seconds / 2))

    async def _follow(self, kept: _Kept, lease: Lease) -> None:
        while True:
            await self._look(kept, lease)
            pause = kept.stream.check_seconds
            if kept.failures:
                pause = max(pause, backoff_seconds(kept.failures - 1, first=1.0, most=RETRY_SECONDS_MAX))
            await self._clock.sleep(self._clock.jitter(pause))

    async def _look(self, kept: _Kept, lease: Lease) -> None:
        """One look of one stream. Raises `Fenced` where another replica keeps its index now."""
        try:
            await lease.demand()
            await kept.indexer.catch_up()
        except Fenced:
            raise
        except StreamerError as error:
            self._failed(kept, error)
            return
        except Exception as error:  # noqa: BLE001 whatever is wrong with an index, archiving goes on beside it
            hint = "report this; what the lake has is whole, and `streamer index rebuild` makes the index again"
            self._failed(kept, StreamerError(f"a bug: {error!r}", hint=hint))
            return
        if kept.failures:
            log.info(LogEvent.INDEX_RECOVERED, stream=kept.stream.name, table=kept.stream.table, failures=kept.failures)
        kept.failures = 0

    def _failed(self, kept: _Kept, error: StreamerError) -> None:
        self._metrics.index_failures.labels(kept.stream.name).inc()
        kept.failures += 1
        if kept.failures == 1:
            about = {"table": kept.stream.table, **error.context}
            log.warning(LogEvent.INDEX_FAILED, stream=kept.stream.name, problem=error.message, hint=error.hint, **about)

    def _lease(self, kept: _Kept) -> Lease:
        # One a stream: the daemons of a lake need not all have the same streams.
        key, work = index_lease_key(kept.stream.name), "keeps the index"
        return Lease(self._store, self._clock, host=self._host, seconds=self._lease_seconds, key=key, work=work)
