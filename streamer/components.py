"""The components that all partitions of one process share, and the one place where they are put together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from streamer.alerts import Alerts, NoAlerts
from streamer.batch.memory_budget import MemoryBudget
from streamer.clock import Clock
from streamer.commit.layouts import LayoutDocuments
from streamer.commit.written import WrittenPartitions
from streamer.decode.contract import Decoder
from streamer.features.histories import Histories
from streamer.judged import judged
from streamer.layout import Layout
from streamer.metrics import Metrics
from streamer.source.contract import Source
from streamer.store.contract import Store
from streamer.upload import Uploads
from streamer.workers import Workers
from streamer.write.batch_files import BatchWriter

StartFrom = Literal["earliest", "latest", "committed"]


class Recipe:
    """A layout, made executable: how records become rows, and rows files."""

    def __init__(self, layout: Layout, make_decoder: Callable[[Layout], Decoder]) -> None:
        self.layout = layout
        self.decoder = judged(make_decoder, layout)
        self.writer = BatchWriter(layout)


@dataclass(frozen=True, slots=True)
class Kit:
    """What a partition works with. `start_from` counts only where the lake has no position. `freed` is set by a partition that
    can take records again, or has let go of memory: what the poll under way asks for is out of date then."""

    source: Source
    store: Store
    clock: Clock
    workers: Workers
    uploads: Uploads
    layouts: LayoutDocuments
    written: WrittenPartitions
    histories: Histories
    budget: MemoryBudget
    metrics: Metrics
    make_decoder: Callable[[Layout], Decoder]
    host: str
    start_from: StartFrom = "earliest"
    alerts: Alerts = field(default_factory=NoAlerts)
    freed: asyncio.Event = field(default_factory=asyncio.Event)


def assemble(
    source: Source,
    store: Store,
    *,
    clock: Clock,
    workers: Workers,
    metrics: Metrics,
    make_decoder: Callable[[Layout], Decoder],
    host: str,
    budget_bytes: int = 256 << 20,
    upload_slots: int = 16,
    start_from: StartFrom = "earliest",
    alerts: Alerts | None = None,
) -> Kit:
    """A kit around a source and a store. The daemon passes the real ones, a simulation their twins."""
    budget = MemoryBudget(budget_bytes)
    return Kit(
        source=source,
        store=store,
        clock=clock,
        workers=workers,
        uploads=Uploads(store, workers, budget, metrics, slots=upload_slots),
        layouts=LayoutDocuments(store),
        written=WrittenPartitions(store),
        histories=Histories(store, clock, workers, budget, metrics),
        budget=budget,
        metrics=metrics,
        make_decoder=make_decoder,
        host=host,
        start_from=start_from,
        alerts=alerts or NoAlerts(),
    )
