"""What a day came to, for people: per symbol and per regime. Fed with the rows in order, block by block. Pure."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from streamer.archive.bars import TIME, finished, fold
from streamer.archive.interval import Interval
from streamer.layout import TIMESTAMP, Check
from streamer.quality.watch import Watch
from streamer.quality_rules import QualityRules

GAPS_LISTED = 100
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class TimeSummary:
    """Rows, first and last time, and the gaps between rows that are longer than a threshold."""

    def __init__(self, gap_seconds: float) -> None:
        """gap_seconds: 0 looks for none."""
        self._gap = round(gap_seconds * 10**6)
        self._rows = 0
        self._first: int | None = None
        self._last: int | None = None
        self._gaps: list[dict[str, Any]] = []
        self._gap_count = 0
        self._gap_total = 0

    def add(self, times: pa.ChunkedArray) -> None:
        """The next rows' times, ascending."""
        if not len(times):
            return
        micros = times.cast(TIME, safe=False).cast(pa.int64()).combine_chunks()
        micros = pa.concat_arrays(micros.chunks) if isinstance(micros, pa.ChunkedArray) else micros
        if self._gap:
            self._find_gaps(
                pa.concat_arrays([pa.array([self._last], pa.int64()), micros]) if self._last is not None else micros
            )
        self._rows += len(micros)
        self._first = micros[0].as_py() if self._first is None else self._first
        self._last = micros[-1].as_py()

    def _find_gaps(self, micros: pa.Array) -> None:
        steps = pc.subtract(micros[1:], micros[:-1])
        for at in pc.indices_nonzero(pc.greater(steps, self._gap)).to_pylist():
            length = steps[at].as_py()
            self._gap_count += 1
            self._gap_total += length
            if len(self._gaps) < GAPS_LISTED:
                start, end = micros[at].as_py(), micros[at + 1].as_py()
                self._gaps.append({"from": iso(start), "to": iso(end), "seconds": length / 10**6})

    def document(self) -> dict[str, Any]:
        """For JSON. Of the gaps the first hundred are listed; all are counted."""
        found: dict[str, Any] = {
            "rows": self._rows,
            "first": iso(self._first) if self._first is not None else None,
            "last": iso(self._last) if self._last is not None else None,
        }
        if self._gap:
            found |= {"gap_count": self._gap_count, "gap_seconds": self._gap_total / 10**6, "gaps": self._gaps}
        return found


class SignalSummary:
    """How often each regime was signalled, how often a symbol's regime changed, mean and greatest stress."""

    def __init__(self) -> None:
        self._times = TimeSummary(0.0)
        self._regimes: dict[str, int] = {}
        self._now: dict[str | None, str] = {}
        self._transitions = 0
        self._stress_sum, self._stress_count, self._stress_max = 0.0, 0, None

    def add(self, signals: pa.Table) -> None:
        """The next signals, in the order of their event time."""
        self._times.add(signals[TIMESTAMP])
        regimes = regimes_of(signals)
        for entry in pc.value_counts(regimes).to_pylist():
            self._regimes[entry["values"]] = self._regimes.get(entry["values"], 0) + entry["counts"]
        symbols = signals["symbol"].to_pylist() if "symbol" in signals.column_names else [None] * signals.num_rows
        for symbol, regime in zip(symbols, regimes.to_pylist(), strict=True):
            if self._now.setdefault(symbol, regime) != regime:
                self._transitions += 1
                self._now[symbol] = regime
        if "stress" in signals.column_names:
            self._add_stress(signals["stress"].cast(pa.float64()).drop_null())

    def _add_stress(self, stress: pa.ChunkedArray) -> None:
        if not len(stress):
            return
        # One after the other, so that the sum does not depend on where blocks end.
        values = pa.concat_arrays([pa.array([self._stress_sum]), *stress.chunks])
        self._stress_sum = pc.cumulative_sum(values)[-1].as_py()
        self._stress_count += len(stress)
        most = pc.max(stress).as_py()
        self._stress_max = most if self._stress_max is None else max(self._stress_max, most)

    def document(self) -> dict[str, Any]:
        """For JSON."""
        mean = self._stress_sum / self._stress_count if self._stress_count else None
        return {
            **self._times.document(),
            "regimes": dict(sorted(self._regimes.items())),
            "transitions": self._transitions,
            "stress": {"mean": mean, "max": self._stress_max},
        }


class QualitySummary:
    """How many rows broke each quality rule. Rows come in the order of their event time, in blocks of any size."""

    def __init__(self, rules: QualityRules) -> None:
        """rules: those for rows in that order, `QualityRules.of_a_day`."""
        # Nothing is ever forgotten: what is counted must not depend on where blocks end.
        self._watch = Watch(rules, groups_max=sys.maxsize)
        self.counts: Counter[str] = Counter()

    def add(self, rows: pa.Table) -> None:
        """The next rows."""
        seen = self._watch.look([rows])
        self._watch.adopt(seen)
        for each in seen.violations:
            self.counts[each.rule] += each.count


def quality_document(rules: QualityRules, rows: Mapping[str, int], refused_by: Iterable[Mapping[str, int]]) -> dict[str, Any]:
    """What became of each rule on one day, for JSON; nothing where there are none. refused_by: letters by rule, a file each."""
    found: dict[str, Any] = {}
    for rule in rules:
        action = rule.on_violation if isinstance(rule, Check) else "count"
        found[rule.name] = {"check": rule.kind, "on_violation": action, "rows": rows.get(rule.name, 0), "dead_letters": 0}
    for letters in refused_by:
        for name, count in letters.items():
            entry = found.setdefault(name, {"dead_letters": 0})  # a rule of that day's layout that is configured no longer
            entry["dead_letters"] += count
    return {"quality": dict(sorted(found.items()))} if found else {}


def regimes_of(signals: pa.Table) -> pa.ChunkedArray:
    """The name of each signal's regime, else its number, else `unknown`."""
    there = [signals[name].cast(pa.string()) for name in ("regime_name", "regime") if name in signals.column_names]
    return pc.coalesce(*there, "unknown") if there else pa.chunked_array([pa.repeat("unknown", signals.num_rows)])


def prices_of_day(base: pa.Table | None, schema: pa.Schema) -> dict[str, Any]:
    """Open, high, low, close, volume, trades and vwap of the day, from its shortest bars."""
    if base is None or not base.num_rows:
        return {}
    day = Interval(86_400)
    [bar] = finished(fold(base, day), day, schema).drop_columns(["timestamp", "interval"]).to_pylist()
    return {name: value if value is None or isinstance(value, int | float) else str(value) for name, value in bar.items()}


def iso(micros: int) -> str:
    """Microseconds since 1970 as ISO 8601."""
    return (_EPOCH + timedelta(microseconds=micros)).isoformat()


def blocks_of(table: pa.Table, column: str) -> Iterator[tuple[Any, pa.Table]]:
    """The rows of a table sorted by `column`, value by value."""
    values = table[column].combine_chunks()
    values = pa.concat_arrays(values.chunks) if isinstance(values, pa.ChunkedArray) else values
    begins = 0
    for end in pc.run_end_encode(values).run_ends.to_pylist() if len(values) else ():
        yield values[begins].as_py(), table.slice(begins, end - begins)
        begins = end
