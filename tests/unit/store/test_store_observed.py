"""Every request is counted once, under what became of it."""

from __future__ import annotations

import asyncio
import contextlib

from streamer.errors import StreamerError
from streamer.metrics import Metrics
from streamer.store.contract import Create
from streamer.store.memory import MemoryStore
from streamer.store.observed import ObservedStore
from streamer.testing.failing_store import FailingStore, Fault, FaultKind
from streamer.testing.manual_clock import VirtualClock, run_virtual


def test_requests_are_counted_by_outcome_and_timed() -> None:
    async def main(clock: VirtualClock) -> Metrics:
        metrics = Metrics()
        script = [
            Fault(FaultKind.SLOW, "head"), Fault(FaultKind.DENIED, "prepare"), Fault(FaultKind.UNAVAILABLE, "get", skip=1),
            Fault(FaultKind.BEFORE, "put", skip=2), Fault(FaultKind.AFTER, "list", skip=1), Fault(FaultKind.HANG, "delete"),
        ]  # fmt: skip
        store = ObservedStore(FailingStore(MemoryStore(clock), clock, script=script, hang_seconds=7), metrics, clock)

        async def listing() -> None:
            async for _ in store.list():
                await clock.sleep(100)

        async def cancelled() -> None:
            async with asyncio.timeout(1):
                await store.delete("a")

        for ask in (
            store.put("a", b"1", mode=Create()), store.put("a", b"1", mode=Create()), store.put("b", b"1", mode=Create()),
            store.get("a"), store.get("a"), store.get("nothing"), store.get("/"), store.get_range("a", 0, 1), store.head("a"),
            store.prepare(), listing(), listing(), cancelled(),
        ):  # fmt: skip
            with contextlib.suppress(StreamerError, TimeoutError):
                await ask
        return metrics

    metrics = run_virtual(main)
    value = metrics.registry.get_sample_value
    counted = {
        (sample.labels["operation"], sample.labels["outcome"]): sample.value
        for metric in metrics.registry.collect()
        for sample in metric.samples
        if sample.name == "streamer_store_requests_total"
    }
    assert counted == {
        ("put", "ok"): 1, ("put", "conflict"): 1, ("put", "unknown"): 1,
        ("get", "ok"): 1, ("get", "unavailable"): 1, ("get", "not_found"): 1, ("get", "invalid"): 1,
        ("get_range", "ok"): 1, ("head", "ok"): 1, ("prepare", "denied"): 1,
        ("list", "ok"): 1, ("list", "unavailable"): 1, ("delete", "cancelled"): 1,
    }  # fmt: skip
    assert value("streamer_store_request_seconds_sum", {"operation": "head"}) == 7
    assert value("streamer_store_request_seconds_sum", {"operation": "list"}) == 0
    assert value("streamer_store_request_seconds_sum", {"operation": "delete"}) == 1
