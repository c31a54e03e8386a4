"""Which folder each row of a batch goes to: a compiled path template, applied to whole tables.

Pure. Python works once per distinct value and per distinct path; rows are touched by Arrow alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc

from streamer.errors import Invalid
from streamer.layout import TIMESTAMP, Column, arrow_type
from streamer.write.calendar import UNITS_PER_SECOND, calendar_end
from streamer.write.partition_value import encode_value
from streamer.write.path_template import ColumnField, Literal, Piece, TimeField, parse_template

KAFKA_TIMESTAMP = "_timestamp"
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 -- all of it is UTC; formatting a naive one asks no time zone database
_INT64_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class PartitionPath:
    """A path template, compiled. `event_time` is the column that `{date}`, `{hour}` and the directives speak of."""

    template: str
    pieces: tuple[Piece, ...]
    event_time: str

    @classmethod
    def parse(cls, template: str, layout_columns: Sequence[Column]) -> Self:
        """Compile `template` for a stream with these columns.

        `{column}`, `{date}` (`%Y-%m-%d`), `{hour}` (`%H`), and strftime directives of the event time, bare or in braces; all
        else stands for itself. The event time is the column `timestamp`, or Kafka's own where there is none. Raises
        `Invalid` where two different rows could get the same path, or a path could not be a path.
        """
        timestamp = next((c for c in layout_columns if c.name == TIMESTAMP), None)
        if timestamp is not None and not pa.types.is_timestamp(arrow_type(timestamp.type)):
            raise Invalid(
                "the column `timestamp` is not a timestamp", hint="declare it as timestamp[us, UTC] or timestamp[ns, UTC]"
            )
        return cls(template, parse_template(template, layout_columns), KAFKA_TIMESTAMP if timestamp is None else TIMESTAMP)

    def groups(self, table: pa.Table) -> list[tuple[str, pa.Table]]:
        """The rows of `table`, parted by path: sorted by path, each group in the order of `table`, no group empty.

        A row whose time is null, before 1970 or after 9999 counts as 1970-01-01. Groups are slices that share memory.
        """
        if not table.num_rows:
            return []
        sources = {name: self._distinct(table, name) for name in self._sources()}
        codes, combinations = _combined(list(sources.values()))
        texts = [self._texts(piece, sources) for piece in self.pieces]
        at = {name: number for number, name in enumerate(sources)}
        positions = [at.get(self._source(piece), -1) for piece in self.pieces]
        paths = [
            "".join(
                piece[combination[position]] if position >= 0 else piece[0]
                for piece, position in zip(texts, positions, strict=True)
            )
            for combination in combinations
        ]
        # Two days may share a month's folder: the order of paths, not of combinations, numbers the groups.
        ordered = sorted(set(paths))
        if len(ordered) == 1:
            return [(ordered[0], table)]
        rank = {path: number for number, path in enumerate(ordered)}
        return _parted(table, ordered, pc.take(pa.array([rank[path] for path in paths], pa.int32()), codes))

    def _sources(self) -> list[str]:
        return list(dict.fromkeys(source for piece in self.pieces if (source := self._source(piece))))

    def _source(self, piece: Piece) -> str:
        if isinstance(piece, ColumnField):
            return piece.column
        return "%" if isinstance(piece, TimeField) else ""

    def _distinct(self, table: pa.Table, source: str) -> pa.DictionaryArray:
        column = self._time_units(table[self.event_time]) if source == "%" else table[source]
        return column.dictionary_encode("encode").combine_chunks()

    def _time_units(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        """The event time as whole days, hours or minutes since 1970: as fine as the template can tell apart."""
        ticks = column.cast(pa.int64()).fill_null(0)
        end = min(calendar_end(column.type.unit), _INT64_MAX)
        valid = pc.and_(pc.greater_equal(ticks, 0), pc.less(ticks, end))
        return pc.divide(pc.if_else(valid, ticks, 0), self._unit_seconds * UNITS_PER_SECOND[column.type.unit])

    @property
    def _unit_seconds(self) -> int:
        directives = {piece.directive for piece in self.pieces if isinstance(piece, TimeField)}
        return 60 if "%M" in directives else 3600 if "%H" in directives else 86_400

    def _texts(self, piece: Piece, sources: dict[str, pa.DictionaryArray]) -> list[str]:
        """What `piece` says for each distinct value of its source."""
        if isinstance(piece, Literal):
            return [piece.text]
        if isinstance(piece, ColumnField):
            values = sources[piece.column].dictionary.cast(pa.string()).to_pylist()
            return [encode_value(value, at_segment_start=piece.at_segment_start) for value in values]
        units = sources["%"].dictionary.to_pylist()
        return [(EPOCH + timedelta(seconds=unit * self._unit_seconds)).strftime(piece.directive) for unit in units]


def date_of(timestamp_ms: int) -> str:
    """The UTC date (`YYYY-MM-DD`) of a Kafka timestamp in milliseconds; 1970-01-01 for -1 and for what no calendar has."""
    days = timestamp_ms // 86_400_000 if 0 <= timestamp_ms < calendar_end("ms") else 0
    return (EPOCH + timedelta(days=days)).date().isoformat()


def _combined(sources: Sequence[pa.DictionaryArray]) -> tuple[pa.Array, list[tuple[int, ...]]]:
    """One code a row for the combination of its values, and for each code the index into each source's dictionary."""
    if not sources:
        return pa.array([], pa.int64()), [()]
    codes = sources[0].indices.cast(pa.int64())
    combinations: list[tuple[int, ...]] = [(index,) for index in range(len(sources[0].dictionary))]
    for source in sources[1:]:
        count = len(source.dictionary)
        # Made dense again after every column: the product of two stays far below 2**63, that of four need not.
        dense = pc.add(pc.multiply(codes, count), source.indices.cast(pa.int64())).dictionary_encode()
        combinations = [(*combinations[pair // count], pair % count) for pair in dense.dictionary.to_pylist()]
        codes = dense.indices.cast(pa.int64())
    return codes, combinations


def _parted(table: pa.Table, paths: Sequence[str], group_of_row: pa.Array) -> list[tuple[str, pa.Table]]:
    rows = {count["values"]: count["counts"] for count in pc.value_counts(group_of_row).to_pylist()}
    ordered = table.take(pc.array_sort_indices(group_of_row))  # a stable sort, says Arrow: Kafka's order stays inside a group
    groups, start = [], 0
    for number, path in enumerate(paths):
        if count := rows.get(number, 0):
            groups.append((path, ordered.slice(start, count)))
            start += count
    return groups
