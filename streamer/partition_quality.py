"""The quality rules of one partition at work: looked at with each batch, told once it is committed.

One log event, one count and one alert for each batch and rule. Changes no row: what rules do to rows was decided when they were
decoded (`judged.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import pyarrow as pa
import structlog

from streamer.alerts import Alert, Alerts
from streamer.batch.memory_budget import MemoryBudget
from streamer.layout import Layout
from streamer.log_events import LogEvent
from streamer.metrics import Metrics
from streamer.quality.fitting import fitting
from streamer.quality.watch import Seen, Violations, Watch, of_flags, of_letters
from streamer.quality_rules import QualityRules
from streamer.records import DeadLetter, TopicPartition
from streamer.streams import Stream

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Looked:
    """What the rules say of one batch, and what they would remember of it."""

    violations: tuple[Violations, ...]
    seen: Seen


class PartitionQuality:
    """Watches one partition. What it remembers goes with the partition: `drop`."""

    def __init__(self, source: TopicPartition, stream: Stream, metrics: Metrics, alerts: Alerts, budget: MemoryBudget) -> None:
        self._source = source
        self._stream = stream
        self._metrics = metrics
        self._alerts = alerts
        self._budget = budget
        self._labels = (stream.name, source.topic, str(source.partition))
        self._log = log.bind(stream=stream.name, topic=source.topic, partition=source.partition)
        # Dead letters and flags were found with the rows; the rest counts, and some of it remembers.
        counting = tuple(check for check in stream.quality.checks if check.on_violation == "count")
        self._rules = QualityRules(counting, stream.quality.sequences)
        self._watch = Watch(self._rules)
        self._gauged: set[str] = set()

    def look(self, tables: Sequence[pa.Table], letters: Collection[DeadLetter], layout: Layout) -> Looked | None:
        """What the rules say of a batch, of `layout`. For a thread; None where there are none."""
        if not self._rules and not layout.checks:
            return None
        if layout == self._stream.layout:
            seen = self._watch.look(tables)
        else:  # sealed by an earlier owner under another layout, which may not have the columns that rules want by now
            violations = Watch(fitting(self._rules, layout.arrow_schema)).look(tables).violations
            seen = Seen(violations)
        found = (*of_letters(layout.checks, letters), *of_flags(layout.checks, tables), *seen.violations)
        return Looked(found, seen)

    def committed(self, looked: Looked, start: int, end: int) -> None:
        """The batch `[start, end)` is in the lake: tell what it broke, and remember it."""
        self._watch.adopt(looked.seen)
        self._budget.keep(("quality", self._source), self._watch.size_bytes)
        self._tell(looked.violations, start, end)

    def look_at_clock(self, now_ms: int) -> None:
        """Nothing waits in Kafka at `now_ms`: who has been silent for too long?"""
        if self._watch.silent:
            self._tell(self._watch.silences(now_ms), None, None)

    def drop(self) -> None:
        """The partition is gone, or must be read again: what follows is not what was expected next."""
        self._watch = Watch(self._rules)
        self._budget.keep(("quality", self._source), 0)
        for rule in self._gauged:
            self._metrics.silent_groups.remove(*self._labels, rule)
        self._gauged.clear()

    def _tell(self, violations: Collection[Violations], start: int | None, end: int | None) -> None:
        for each in violations:
            fields = {
                "rule": each.rule,
                "check": each.kind,
                "on_violation": each.action,
                "violations": each.count,
                "start": start,
                "end": end,
                "first_offset": each.first_offset,
                "symbols": list(each.groups),
                "detail": each.detail,
            }
            self._metrics.quality_violations.labels(*self._labels, each.rule, each.action).inc(each.count)
            self._log.warning(LogEvent.QUALITY_VIOLATIONS, **fields)
            where = {"stream": self._stream.name, "topic": self._source.topic, "partition": self._source.partition}
            self._alerts.send(Alert(LogEvent.QUALITY_VIOLATIONS, f"{self._source}/{each.rule}", where | fields))
        for rule, count in self._watch.silent.items():
            self._metrics.silent_groups.labels(*self._labels, rule).set(count)
            self._gauged.add(rule)
