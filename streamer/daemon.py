"""The process: components put together, signals, the health server, and a stop in two stages.

The first SIGTERM or Ctrl-C cuts, writes and commits within the stop budget; the second ends at once, which is safe: the
next owner reads again what was not committed. `--until-caught-up` takes the same road.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress

import structlog

from streamer import __version__
from streamer.alerts import AlertQueue, Alerts, NoAlerts
from streamer.archive.keeper import ArchiveKeeper
from streamer.clock import Clock, SystemClock
from streamer.components import assemble
from streamer.config import Settings
from streamer.config.archive_settings import archive_settings, retention_settings
from streamer.config.clients import kafka_settings, s3_settings, table_settings
from streamer.config.index_settings import indexed_streams
from streamer.config.stream_layouts import streams
from streamer.decode.decoder import make_decoder
from streamer.errors import Invalid, PartitionRefused
from streamer.garbage import garbage_collected
from streamer.health import HealthServer
from streamer.index.dynamodb import IndexTable
from streamer.index.keeper import IndexKeeper
from streamer.log_events import LogEvent
from streamer.loop_pause import LoopPause
from streamer.metrics import Metrics
from streamer.models.models import AsyncModels
from streamer.models.signature import Signer
from streamer.models.watcher import ModelWatcher, WatchSettings
from streamer.pipeline import Budgets, Pipeline
from streamer.source.alerts import alert_sender
from streamer.source.kafka import KafkaSource
from streamer.store.contract import Store
from streamer.store.observed import ObservedStore
from streamer.store.open import open_store
from streamer.store.probe import probe_conditional_writes
from streamer.store.retry import RetryingStore
from streamer.workers import ThreadWorkers, Workers

log = structlog.get_logger()

STOPPED_BY_SECOND_SIGNAL = 130


def run(settings: Settings, *, until_caught_up: bool = False) -> int:
    """Run the daemon until a signal, or until it has caught up; its exit code. Raises `StreamerError` at start."""
    return asyncio.run(serve(settings, until_caught_up=until_caught_up))


async def serve(
    settings: Settings,
    *,
    until_caught_up: bool = False,
    stop: asyncio.Event | None = None,
    on_ready: Callable[[Pipeline], None] | None = None,
) -> int:
    """The daemon inside a running event loop. `stop` ends it as a signal does; signals are heard in the main thread only.

    Raises `Invalid`, `Unavailable` or `Denied` where it cannot start: somebody is watching then.
    """
    clock, metrics = SystemClock(), Metrics()
    stop = stop or asyncio.Event()
    async with AsyncExitStack() as stack:
        stack.enter_context(_signals(stop))
        store = _layered(settings, clock, metrics)
        stack.push_async_callback(store.close)
        await _demand_lake(settings, store, clock)
        await stack.enter_async_context(garbage_collected(clock))
        workers = ThreadWorkers(settings.workers.threads)
        stack.callback(workers.close)
        source = KafkaSource(kafka_settings(settings), workers=workers, clock=clock)
        kit = assemble(
            source,
            store,
            clock=clock,
            workers=workers,
            metrics=metrics,
            make_decoder=make_decoder,
            host=socket.gethostname(),
            budget_bytes=settings.memory.budget,
            upload_slots=settings.uploads.concurrency,
            start_from=settings.kafka.start_from,
            alerts=await stack.enter_async_context(_alerts_sent(settings, clock, metrics)),
        )
        budgets = Budgets(settings.stop.budget, settings.kafka.rebalance_timeout / 2)
        pipeline = Pipeline(streams(settings), kit, budgets, until_caught_up=until_caught_up)
        if settings.http.enabled:
            health = HealthServer(settings.http.host, settings.http.port, problems=pipeline.problems, metrics=metrics)
            port = await health.start()
            stack.push_async_callback(health.stop)
        log.info(
            LogEvent.STARTED,
            version=__version__,
            lake=store.url,
            kafka=settings.kafka.bootstrap_servers,
            group=settings.kafka.group_id,
            topics=sorted(stream.topic for stream in streams(settings)),
            health=f"http://{settings.http.host}:{port}" if settings.http.enabled else None,
            budget_bytes=settings.memory.budget,
        )
        for warning in settings.warnings:
            log.warning(LogEvent.SETTING_UNUSED, problem=warning)
        if on_ready is not None:
            on_ready(pipeline)
        async with (
            LoopPause(clock, metrics) as pause,
            _models_watched(settings, store, clock, workers, metrics, stop) as watcher,
            _days_closed(settings, store, clock, metrics, stop),
            _indexes_kept(settings, store, clock, metrics, stop, until_caught_up=until_caught_up),
        ):
            await pipeline.run(stop)
            if watcher is not None and until_caught_up and not stop.is_set():
                # As with the records: what was there when it started is in the lake when it ends, within the budget of a stop.
                with suppress(TimeoutError):
                    async with asyncio.timeout(settings.stop.budget):
                        await watcher.wait_until_idle()
        log.info(
            LogEvent.STOPPED,
            unfinished=[str(source) for source in pipeline.unfinished],
            worst_pause_seconds=round(pause.worst_seconds, 4),
        )
        return PartitionRefused.exit_code if pipeline.refused_at_stop else 0


@asynccontextmanager
async def _alerts_sent(settings: Settings, clock: Clock, metrics: Metrics) -> AsyncIterator[Alerts]:
    """Where alerts go while the block runs. Nothing about them holds the daemon up, or ends it."""
    topic, kafka = settings.alerts.topic, kafka_settings(settings)
    if topic is None:
        yield NoAlerts()
        return
    queue = AlertQueue(lambda: alert_sender(kafka, topic, clock), clock=clock, metrics=metrics, host=socket.gethostname())
    task = asyncio.create_task(queue.run(), name="alerts")
    try:
        yield queue
    finally:
        await queue.close(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            log.error(LogEvent.TASK_DIED, task=task.get_name(), error=repr(failure))


@asynccontextmanager
async def _models_watched(
    settings: Settings, store: Store, clock: Clock, workers: Workers, metrics: Metrics, stop: asyncio.Event
) -> AsyncIterator[ModelWatcher | None]:
    """Model files are pushed while the block runs. A watcher that dies of a bug ends the process, in order."""
    if settings.models.watch is None:
        yield None
        return
    models = AsyncModels(store, clock, workers, signer=Signer.from_environment())
    wanted = WatchSettings(settings.models.watch, settings.models.include, settings.models.settle, settings.models.poll)
    watcher = ModelWatcher(
        models, wanted, clock=clock, workers=workers, metrics=metrics, who=f"streamer@{socket.gethostname()}"
    )
    task = asyncio.create_task(watcher.run(), name="models")
    task.add_done_callback(lambda _: stop.set())
    try:
        yield watcher
    finally:
        task.cancel()
        (failure,) = await asyncio.gather(task, return_exceptions=True)
    if isinstance(failure, Exception):
        log.error(LogEvent.TASK_DIED, task=task.get_name(), error=repr(failure))
        raise failure


@asynccontextmanager
async def _days_closed(
    settings: Settings, store: Store, clock: Clock, metrics: Metrics, stop: asyncio.Event
) -> AsyncIterator[None]:
    """Days are closed while the block runs. A keeper that dies of a bug ends the process, in order."""
    wanted = archive_settings(settings)
    if not settings.archive.enabled or not wanted.streams:
        yield
        return
    workers = ThreadWorkers(1)  # of its own, so that decoding never waits behind the sorting of a day
    retention = retention_settings(settings)
    keeper = ArchiveKeeper(store, wanted, clock, workers, metrics, host=socket.gethostname(), retention=retention)
    task = asyncio.create_task(keeper.run(), name="archive")
    task.add_done_callback(lambda _: stop.set())
    try:
        yield
    finally:
        task.cancel()
        (failure,) = await asyncio.gather(task, return_exceptions=True)
        workers.close()
    if isinstance(failure, Exception):
        log.error(LogEvent.TASK_DIED, task=task.get_name(), error=repr(failure))
        raise failure


@asynccontextmanager
async def _indexes_kept(
    settings: Settings, store: Store, clock: Clock, metrics: Metrics, stop: asyncio.Event, *, until_caught_up: bool
) -> AsyncIterator[None]:
    """Indexes are kept while the block runs, behind the commits. A keeper that dies of a bug ends the process, in order."""
    streams = indexed_streams(settings)
    if not streams:
        yield
        return
    workers = ThreadWorkers(1)  # of its own, so that decoding never waits for it
    keeper = IndexKeeper(
        store,
        streams,
        lambda table: IndexTable(table_settings(settings, table), clock),
        clock,
        workers,
        metrics,
        host=socket.gethostname(),
    )
    task = asyncio.create_task(keeper.run(), name="indexes")
    task.add_done_callback(lambda _: stop.set())
    try:
        yield
        finishing = until_caught_up and not stop.is_set()
        await _ended(task)
        if finishing:
            with suppress(TimeoutError):
                async with asyncio.timeout(settings.stop.budget):
                    await keeper.finish()
    finally:
        await _ended(task)
        await keeper.close()
        workers.close()
    if not task.cancelled() and (failure := task.exception()) is not None:
        log.error(LogEvent.TASK_DIED, task=task.get_name(), error=repr(failure))
        raise failure


async def _ended(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait for its end."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _layered(settings: Settings, clock: Clock, metrics: Metrics) -> Store:
    """The store's layers, outermost first: one retry, then the measurement of each single try, then the store itself."""
    inner = open_store(settings.lake.url or "", s3_settings(settings), clock)
    return RetryingStore(ObservedStore(inner, metrics, clock), clock)


async def _demand_lake(settings: Settings, store: Store, clock: Clock) -> None:
    """The lake is there, takes writes, and honours the condition that exactly-once rests on."""
    await store.prepare()
    if settings.lake.allow_at_least_once:
        return
    if not await probe_conditional_writes(store, clock):
        raise Invalid(
            "this store ignores conditional writes (If-None-Match, If-Match): rows could be written twice",
            hint="use a store that has them, or accept doubles with STREAMER__LAKE__ALLOW_AT_LEAST_ONCE=true",
            lake=store.url,
        )


@contextmanager
def _signals(stop: asyncio.Event) -> Iterator[None]:
    """First SIGTERM or SIGINT: stop in order. Second: end now."""
    loop = asyncio.get_running_loop()

    def heard(number: int) -> None:
        if stop.is_set():
            os._exit(STOPPED_BY_SECOND_SIGNAL)
        log.info(LogEvent.SIGNAL, signal=signal.Signals(number).name)
        stop.set()

    installed = []
    for number in (signal.SIGTERM, signal.SIGINT):
        try:
            loop.add_signal_handler(number, heard, number)
        except (ValueError, RuntimeError):  # not the main thread: whoever runs us there stops us by the event
            break
        installed.append(number)
    try:
        yield
    finally:
        for number in installed:
            loop.remove_signal_handler(number)
