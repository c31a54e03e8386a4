"""Every metric that streamer exposes. The only place where metric names are born.

One `Metrics` object per process, on a registry of its own; `docs/metrics.md` is generated from it, and a test fails when
one is never used. Counters end in `_total`, units come last.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

PARTITION = ("stream", "topic", "partition")
_SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30)


class Metrics:
    """All metrics of one process."""

    def __init__(self) -> None:
        self.registry = r = CollectorRegistry()
        # what came and what became of it
        self.records = Counter("streamer_records", "Records read from Kafka.", PARTITION, registry=r)
        self.rows = Counter("streamer_rows", "Rows committed to the lake.", PARTITION, registry=r)
        self.dead_letters = Counter(
            "streamer_dead_letters", "Records kept as dead letters, at commit, by reason.", (*PARTITION, "reason"), registry=r
        )
        self.dropped_fields = Counter(
            "streamer_dropped_fields", "Values of fields that no column names, dropped as configured.", ("stream",), registry=r
        )
        self.slow_records = Counter(
            "streamer_slow_records",
            "Records that could not be decoded in columns alone. Declare columns where this grows with `records`.",
            ("stream",),
            registry=r,
        )
        self.quality_violations = Counter(
            "streamer_quality_violations",
            "Records that broke a quality rule, at commit, by rule and by what it does: dead-letter, flag, count.",
            (*PARTITION, "rule", "on_violation"),
            registry=r,
        )
        self.silent_groups = Gauge(
            "streamer_silent_groups",
            "Symbols (or groups) of which a `silent` rule has heard nothing for too long.",
            (*PARTITION, "rule"),
            registry=r,
        )
        self.alerts = Counter(
            "streamer_alerts", "Alerts to the Kafka topic, by outcome: sent, dropped.", ("outcome",), registry=r
        )
        # batches
        self.batches = Counter(
            "streamer_batches", "Batches committed, by the reason of their cut.", (*PARTITION, "reason"), registry=r
        )
        self.files = Counter("streamer_files", "Data files and dead-letter files written.", ("stream",), registry=r)
        self.bytes = Counter(
            "streamer_written_bytes", "Bytes of data files and dead-letter files written.", ("stream",), registry=r
        )
        self.step_seconds = Histogram(
            "streamer_step_seconds",
            "Time a batch spent in each step: decode, seal, plan, write, commit.",
            ("step",),
            buckets=_SECONDS,
            registry=r,
        )
        self.uploads_in_flight = Gauge("streamer_uploads_in_flight", "PUTs of data files under way.", registry=r)
        # where each partition stands
        self.committed = Gauge("streamer_committed_offset", "Every offset below this is in the lake.", PARTITION, registry=r)
        self.lag = Gauge("streamer_lag_records", "Kafka's end offset less the committed one.", PARTITION, registry=r)
        self.owned = Gauge("streamer_partitions_owned", "Partitions that this process writes.", registry=r)
        self.refused = Gauge(
            "streamer_partitions_refused", "Partitions refused: somebody must decide. Alert on > 0.", registry=r
        )
        self.retries = Counter(
            "streamer_partition_retries", "Times a partition's step failed and was tried again.", PARTITION, registry=r
        )
        self.fenced = Counter("streamer_fenced", "Times another writer took a partition over.", PARTITION, registry=r)
        self.gap_offsets = Counter(
            "streamer_gap_offsets", "Offsets on record as not in the lake. Alert on any increase.", PARTITION, registry=r
        )
        # feature history
        self.history_symbols = Gauge("streamer_history_symbols", "Symbols in the feature history.", PARTITION, registry=r)
        self.history_bytes = Gauge("streamer_history_bytes", "Memory of the feature history.", PARTITION, registry=r)
        self.history_evictions = Counter(
            "streamer_history_evictions",
            "Symbols that left the feature history for others (max_symbols, memory).",
            PARTITION,
            registry=r,
        )
        self.history_saves = Counter(
            "streamer_history_saves",
            "Snapshots of the feature history: saved, superseded by a newer one, or failed.",
            (*PARTITION, "outcome"),
            registry=r,
        )
        self.history_saved = Gauge(
            "streamer_history_saved_timestamp_seconds",
            "When the feature history was last saved. Alert where it stands still.",
            PARTITION,
            registry=r,
        )
        # memory
        self.budget_bytes = Gauge("streamer_memory_budget_bytes", "The budget for all buffered bytes.", registry=r)
        self.buffered_bytes = Gauge(
            "streamer_buffered_bytes", "Bytes buffered now, the client's prefetch included.", registry=r
        )
        self.oldest_seconds = Gauge(
            "streamer_oldest_buffered_seconds", "Age of the oldest record not yet committed.", registry=r
        )
        # the process
        ProcessCollector(registry=r)
        self.tasks = Gauge("streamer_tasks", "Tasks of the event loop; constant while the assignment is.", registry=r)
        self.loop_pause = Gauge(
            "streamer_loop_pause_worst_seconds", "The longest time since the start that the event loop was held up.", registry=r
        )
        # the day
        self.days_closed = Counter("streamer_days_closed", "Days closed, or closed again for data that came late.", registry=r)
        self.day_close_failures = Counter(
            "streamer_day_close_failures", "Times a day could not be closed. Alert on any increase.", registry=r
        )
        self.day_close_seconds = Histogram(
            "streamer_day_close_seconds", "Time it took to close a day.", buckets=(1, 10, 60, 300, 1200, 3600), registry=r
        )
        self.last_day_closed = Gauge(
            "streamer_last_day_closed_timestamp_seconds",
            "End of the newest day that this process closed. Alert when it is two days old.",
            registry=r,
        )
        # indexes
        self.index_items = Counter("streamer_index_items", "Items written to DynamoDB.", ("stream",), registry=r)
        self.index_left_out = Counter(
            "streamer_index_left_out",
            "Rows left out of an index, for they are greater than an item can be.",
            ("stream",),
            registry=r,
        )
        self.index_failures = Counter(
            "streamer_index_failures",
            "Times an index could not be brought up to what is committed. The lake is not affected.",
            ("stream",),
            registry=r,
        )
        self.index_lag = Gauge(
            "streamer_index_lag_records",
            "What is committed and not indexed yet; of the replica that keeps the indexes. Alert where it grows.",
            PARTITION,
            registry=r,
        )
        # the store
        self.store_requests = Counter(
            "streamer_store_requests",
            "Requests to the object store, by operation and outcome.",
            ("operation", "outcome"),
            registry=r,
        )
        self.store_seconds = Histogram(
            "streamer_store_request_seconds",
            "Time of a request to the object store.",
            ("operation",),
            buckets=_SECONDS,
            registry=r,
        )
        # model checkpoints
        self.models_pushed = Counter(
            "streamer_models_pushed", "Versions pushed from the watched directory.", ("model",), registry=r
        )
        self.models_failed = Counter(
            "streamer_model_push_failures",
            "Times a watched file could not be pushed. Alert where it grows with no push between.",
            ("model",),
            registry=r,
        )
        self.models_version = Gauge(
            "streamer_model_latest_version", "The newest version of a model that this process saw.", ("model",), registry=r
        )

    def forget_partition(self, stream: str, topic: str, partition: str) -> None:
        """Drop the gauges of a partition that went to another member: a stale lag is worse than none."""
        for gauge in (self.committed, self.lag):
            gauge.remove(stream, topic, partition)

    def exposition(self) -> bytes:
        """All values in the Prometheus text format."""
        return generate_latest(self.registry)
