"""The counts of caches for Prometheus, taken when somebody asks: they go among the metrics that a reader's process has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from streamer.cache.tiers import TieredCache


class CacheCollector(Collector):
    """caches: by the name that the label `cache` has."""

    def __init__(self, caches: Mapping[str, TieredCache]) -> None:
        self._caches = caches

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """One sample for each cache and outcome, and one for its memory."""
        labels = ("cache", "outcome")
        reads = CounterMetricFamily("streamer_cache_reads", "Reads through a cache: memory, disk, miss.", labels=labels)
        memory = GaugeMetricFamily("streamer_cache_memory_bytes", "Memory of a cache.", labels=("cache",))
        for name, cache in self._caches.items():
            for outcome, count in cache.counts.items():
                reads.add_metric((name, outcome), count)
            memory.add_metric((name,), cache.memory_bytes)
        yield reads
        yield memory
