"""Indexes are kept by themselves: behind the commits, one replica at a time, each stream by itself.

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
from streamer.keys import INDEX_LEASE
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
        """Keep the indexes whenever no other replica does, for ever. Raises only for a bug."""
        while True:
            lease = self._lease()
            try:
                async with lease.held(), asyncio.TaskGroup() as group:
                    for kept in self._kept:
                        group.create_task(self._follow(kept, lease), name=f"index {kept.stream.name}")
            except* Conflict:
                pass  # another replica is at it
            except* Fenced as fenced:
                log.info(LogEvent.INDEX_TAKEN_OVER, key=INDEX_LEASE, problem=str(fenced.exceptions[0]))
            except* StreamerError as failed:
                for kept in self._kept:
                    self._failed(kept, _first(failed))
            for kept in self._kept:
                kept.indexer.forget()
            await self._clock.sleep(self._clock.jitter(self._lease_seconds / 2))

    async def finish(self) -> None:
        """Bring every index up to what is committed, once, unless another replica keeps them. `run` must have ended."""
        lease = self._lease()
        try:
            async with lease.held():
                for kept in self._kept:
                    await self._look(kept, lease)
        except (Conflict, Fenced):
            return  # it does it
        except StreamerError as error:
            for kept in self._kept:
                self._failed(kept, error)

    async def close(self) -> None:
        """Free the connections. Idempotent."""
        for kept in self._kept:
            await kept.table.close()

    async def _follow(self, kept: _Kept, lease: Lease) -> None:
        while True:
            await self._look(kept, lease)
            pause = kept.stream.check_seconds
            if kept.failures:
                pause = max(pause, backoff_seconds(kept.failures - 1, first=1.0, most=RETRY_SECONDS_MAX))
            await self._clock.sleep(self._clock.jitter(pause))

    async def _look(self, kept: _Kept, lease: Lease) -> None:
        """One look of one stream. Raises `Fenced` where another replica keeps the indexes now."""
        try:
            await lease.demand()
            await kept.indexer.catch_up()
        except Fenced:
            raise
        except StreamerError as error:
            self._failed(kept, error)
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

    def _lease(self) -> Lease:
        return Lease(
            self._store, self._clock, host=self._host, seconds=self._lease_seconds, key=INDEX_LEASE, work="keeps the indexes"
        )


def _first(group: BaseExceptionGroup[StreamerError]) -> StreamerError:
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner
