"""The rules that count, over one batch after the other, and what they remember between batches.

`look` says what a batch breaks and what it would teach; `adopt` learns it, once the batch is committed. What is remembered is
lost with the process and with the partition: the first row of a group after that breaks no sequence.

`silent` is broken by a step that is too wide, and by a group of which nothing has come for too long, measured against the
newest row of the batch (`look`) or a time from outside (`silences`); such a silence is told once, when it begins.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from streamer.layout import FLAGS, Action, Check
from streamer.quality import checks, sequences
from streamer.quality.sequences import Groups, Key, Spans, name_of
from streamer.quality_rules import QualityRules, Sequence
from streamer.records import DeadLetter

GROUPS_MAX = 20_000
"""Groups that a rule remembers; those that were heard of least recently leave first."""

SHOWN = 5
_BYTES_A_GROUP = 200


@dataclass(frozen=True, slots=True)
class Violations:
    """What one rule found in one batch. `first_offset`: of the first record; None for a silence that has no record.

    `groups`: up to five symbols (or groups) that broke it. `detail`: one example in words.
    """

    rule: str
    kind: str
    action: Action
    count: int
    first_offset: int | None = None
    groups: tuple[str, ...] = ()
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a batch breaks, and what it teaches: per rule the last value of each of its groups, and the silences begun."""

    violations: tuple[Violations, ...] = ()
    last: Mapping[str, Mapping[Key, Any]] = field(default_factory=dict)
    silences: Mapping[str, Collection[Key]] = field(default_factory=dict)


class Watch:
    """Counts for one sequence of batches, such as those of a partition. Not for several threads at once."""

    def __init__(self, rules: QualityRules, *, groups_max: int = GROUPS_MAX) -> None:
        self._rules = rules
        self._groups_max = groups_max
        self._last: dict[str, dict[Key, Any]] = {rule.name: {} for rule in rules.sequences}
        self._silent: dict[str, set[Key]] = {rule.name: set() for rule in rules.sequences if rule.kind == "silent"}

    @property
    def size_bytes(self) -> int:
        """Memory that is remembered, roughly."""
        return sum(map(len, self._last.values())) * _BYTES_A_GROUP

    @property
    def silent(self) -> Mapping[str, int]:
        """By `silent` rule, how many groups have fallen silent and not been heard of since."""
        return {name: len(groups) for name, groups in self._silent.items()}

    def look(self, tables: Collection[pa.Table]) -> Seen:
        """What the rows of `tables`, which follow what was adopted last, break. They have the rules' columns and `_offset`."""
        names = dict.fromkeys(name for rule in self._rules for name in rule.columns)
        if not names or not tables:
            return Seen()
        first = next(iter(tables))
        wanted = [*names, *(name for name in ("_offset", "symbol") if name in first.column_names and name not in names)]
        table = pa.concat_tables([each.select(wanted) for each in tables])
        found = [violations for check in self._rules.checks if (violations := _counted(check, table)) is not None]
        last: dict[str, dict[Key, Any]] = {}
        silences: dict[str, list[Key]] = {}
        groups: dict[tuple[str, ...], Groups] = {}
        for rule in self._rules.sequences if table.num_rows else ():
            if rule.by not in groups:
                groups[rule.by] = Groups(table, rule.by)
            steps = _Steps.of(rule, table, groups[rule.by])
            broken = steps.broken(self._last[rule.name], self._silent.get(rule.name, frozenset()))
            last[rule.name] = steps.last()
            if rule.kind == "silent" and last[rule.name]:
                limit = sequences.limit_in_units(rule, table.schema.field(rule.column).type)
                begun = list(self._begun({**self._last[rule.name], **last[rule.name]}, steps.newest() - limit))
                silences[rule.name] = begun
                heard = self._silent[rule.name] & last[rule.name].keys()
                broken = _with_silences(rule, broken, [name for name in begun if name not in self._silent[rule.name] - heard])
            if broken is not None:
                found.append(broken)
        return Seen(tuple(found), last, silences)

    def adopt(self, seen: Seen) -> None:
        """The batch of `seen` is committed."""
        for name, values in seen.last.items():
            remembered = self._last[name]
            for key, value in values.items():
                remembered.pop(key, None)  # so that the order is that of being heard of
                remembered[key] = value
            if name in self._silent:
                self._silent[name] = (self._silent[name] - values.keys()) | set(seen.silences.get(name, ()))
            while len(remembered) > self._groups_max:
                gone = next(iter(remembered))
                del remembered[gone]
                if name in self._silent:
                    self._silent[name].discard(gone)

    def silences(self, now_ms: int) -> list[Violations]:
        """The groups that have fallen silent by `now_ms`, Kafka's time, where nothing waits to be read. Adopted at once."""
        found = []
        for rule in self._rules.sequences:
            if rule.kind != "silent":
                continue
            begun = list(self._begun(self._last[rule.name], now_ms - round(rule.limit * 1000)))
            new = [name for name in begun if name not in self._silent[rule.name]]
            self._silent[rule.name] |= set(new)
            if (violations := _with_silences(rule, None, new)) is not None:
                found.append(violations)
        return found

    def _begun(self, last: Mapping[Key, int], oldest: int) -> Iterator[Key]:
        return (key for key, value in last.items() if value < oldest)


def of_letters(layout_checks: Collection[Check], letters: Collection[DeadLetter]) -> list[Violations]:
    """What the checks of a layout made dead letters."""
    found = []
    by_rule: dict[str, list[DeadLetter]] = {}
    for letter in letters:
        if letter.rule:
            by_rule.setdefault(letter.rule, []).append(letter)
    for check in layout_checks:
        if mine := by_rule.get(check.name):
            first = min(mine, key=lambda letter: letter.offset)
            found.append(Violations(check.name, check.kind, "dead-letter", len(mine), first.offset, (), first.detail))
    return found


def of_flags(layout_checks: Collection[Check], tables: Collection[pa.Table]) -> list[Violations]:
    """What the checks of a layout flagged."""
    flagged = [table.filter(table[FLAGS].is_valid()) for table in tables if FLAGS in table.column_names]
    flagged = [table for table in flagged if table.num_rows]
    if not flagged:
        return []
    table = pa.concat_tables(flagged)
    lists = pc.split_pattern(table[FLAGS], ",").combine_chunks()
    rows, names = pc.list_parent_indices(lists), pc.list_flatten(lists)
    return [
        _of_rows(check, table.take(rows.filter(mine)))
        for check in layout_checks
        if check.on_violation == "flag" and pc.any(mine := pc.equal(names, check.name)).as_py()
    ]


@dataclass(frozen=True, slots=True)
class _Steps:
    """The values that one rule compares, by group."""

    rule: Sequence
    groups: Groups
    spans: Spans
    values: pa.Array
    rows: pa.Array
    offsets: pa.ChunkedArray | None
    kind: pa.DataType

    @classmethod
    def of(cls, rule: Sequence, table: pa.Table, groups: Groups) -> _Steps:
        column = table[rule.column]
        spans, values, rows = groups.series(sequences.values_of(rule, column))
        offsets = table["_offset"] if "_offset" in table.column_names else None
        return cls(rule, groups, spans, values, rows, offsets, column.type)

    def broken(self, remembered: Mapping[Key, Any], told_already: Collection[Key]) -> Violations | None:
        """What the steps break. remembered: the last value of each group before. told_already: groups whose first step was told
        of when it began."""
        if not len(self.values):
            return None
        inner = pc.and_(sequences.breaks(self.rule, self.values[:-1], self.values[1:], self.kind), self.spans.inner)
        bad = pc.add(pc.indices_nonzero(inner), 1) if pc.any(inner).as_py() else pa.array([], pa.uint64())
        firsts = [
            (start, remembered[key])
            for code, start in zip(self.spans.codes, self.spans.starts, strict=True)
            if (key := self.groups.key(code)) in remembered and key not in told_already
        ]
        before: dict[int, Any] = {}
        if firsts:
            starts = pa.array([start for start, _ in firsts], pa.uint64())
            carried = pa.array([value for _, value in firsts], self.values.type)
            mask = sequences.breaks(self.rule, carried, self.values.take(starts), self.kind)
            if pc.any(mask).as_py():
                bad = pa.concat_arrays([bad.cast(pa.uint64()), starts.filter(mask)])
                before = dict(firsts)
        return self._violations(bad, before) if len(bad) else None

    def _violations(self, bad: pa.Array, before: Mapping[int, Any]) -> Violations:
        rows = self.rows.take(bad)
        at = pc.index(rows, pc.min(rows)).as_py()
        first = bad[at].as_py()
        previous = before[first] if first in before else self.values[first - 1].as_py()
        named = self._names(bad)
        detail = sequences.told(self.rule, previous, self.values[first].as_py(), self._names(bad[at : at + 1])[0])
        offset = self.offsets[rows[at].as_py()].as_py() if self.offsets is not None else None
        return Violations(self.rule.name, self.rule.kind, "count", len(bad), offset, tuple(named[:SHOWN]), detail)

    def _names(self, positions: pa.Array) -> list[str]:
        """The groups of some rows; at most as many as are shown."""
        names: dict[str, None] = {}
        for position in positions.to_pylist():
            names[name_of(self.groups.key(self.spans.codes[bisect_right(self.spans.ends, position)]))] = None
            if len(names) == SHOWN:
                break
        return list(names)

    def last(self) -> dict[Key, Any]:
        """The last value of each group."""
        ends = self.values.take(pa.array([end - 1 for end in self.spans.ends], pa.uint64())).to_pylist()
        return {self.groups.key(code): value for code, value in zip(self.spans.codes, ends, strict=True)}

    def newest(self) -> int:
        """The greatest value of all."""
        return int(pc.max(self.values).as_py())


def _counted(check: Check, table: pa.Table) -> Violations | None:
    mask = checks.broken(check, table)
    return _of_rows(check, table.filter(mask)) if pc.any(mask).as_py() else None


def _of_rows(check: Check, rows: pa.Table) -> Violations:
    symbols = pc.unique(rows["symbol"])[:SHOWN].to_pylist() if "symbol" in rows.column_names else []
    offset = pc.min(rows["_offset"]).as_py() if "_offset" in rows.column_names else None
    [row] = checks.shown(rows.slice(0, 1), check)
    return Violations(
        check.name,
        check.kind,
        check.on_violation,
        rows.num_rows,
        offset,
        tuple(str(symbol) for symbol in symbols if symbol is not None),
        checks.told(check, row),
    )


def _with_silences(rule: Sequence, broken: Violations | None, begun: Collection[Key]) -> Violations | None:
    if not begun:
        return broken
    names = tuple(name_of(key) for key in list(begun)[:SHOWN])
    if broken is None:
        detail = f"{names[0]}: nothing for more than {rule.limit:g}s"
        return Violations(rule.name, rule.kind, "count", len(begun), None, names, detail)
    groups = tuple(dict.fromkeys((*broken.groups, *names)))[:SHOWN]
    return replace(broken, count=broken.count + len(begun), groups=groups)
