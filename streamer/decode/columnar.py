"""Many records at once, through pyarrow's JSON reader, which works outside the GIL.

The reader is faster than exact: guards see to it that each record gives exactly one row, and whatever is not surely what
`one_by_one.py` would say is declined.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import json as arrow_json

from streamer.decode.fields import Target, Targets, Unknown
from streamer.decode.gathered import gather
from streamer.decode.plan import Level, Plan, Planner
from streamer.decode.readings import Declined
from streamer.decode.rows import Rows, kafka_times
from streamer.decode.times import NANOSECONDS_MAX
from streamer.layout import Layout
from streamer.packed import PackedBytes
from streamer.schemas import FEATURES_PER_ROW_MAX

_BLANKS = b" \t\r\n"
_FIRST, _LAST = itemgetter(0), itemgetter(-1)
_BRACES = b"{}"
_BEGINS, _ENDS = frozenset(_BRACES[:1]), frozenset(_BRACES[1:])

Levels = Sequence[tuple[Level, dict[str, pa.Array]]]


class Columnar:
    """Decodes runs of records of one layout in columns. Holds no state between calls."""

    def __init__(self, layout: Layout, targets: Targets) -> None:
        self._targets = targets
        self._keeps_extra = layout.keeps_extra
        self._planner = Planner(targets, keeps_extra=layout.keeps_extra)

    def decode(self, values: Sequence[bytes], timestamps: Sequence[int], indexes: Sequence[int]) -> Rows:
        """What becomes of these records (at `indexes` of their chunk), all of which must become rows. Raises `Declined`."""
        plan = self._planner.plan([values[0], values[len(values) // 2], values[-1]])
        blob = _framed(values)
        if not plan.suits(blob):
            raise Declined("a number with many digits or an exponent")
        try:
            table = _read(blob, plan.schema, len(values))
            return self._rows(plan, table, timestamps, indexes)
        except pa.ArrowException as error:
            raise Declined(str(error)) from None

    def _rows(self, plan: Plan, table: pa.Table, timestamps: Sequence[int], indexes: Sequence[int]) -> Rows:
        rows = table.num_rows
        top = {name: _whole(table.column(at)) for at, name in enumerate(table.column_names)}
        levels = [(plan.top, top)]
        if plan.nested is not None:
            features = top.pop(plan.nested)
            levels.append((plan.inner, dict(zip([f.name for f in features.type], features.flatten(), strict=True))))
        columns: list[pa.Array] = [None] * len(self._targets.types)
        for target in self._targets.columns:
            columns[target.place] = self._column(target, levels, timestamps)
        if (gatherer := self._targets.features) is not None:
            level, arrays = levels[-1]
            found = {name: reading.cast(arrays[name]) for name, reading in level.features.items()}
            columns[gatherer.place] = gathered = gather(found, rows)
            if len(found) > FEATURES_PER_ROW_MAX and pc.any(pc.greater(_sizes(gathered), FEATURES_PER_ROW_MAX)).as_py():
                raise Declined("too many features")
        unknown = Unknown()
        for name, reading in plan.top.others.items():
            if dropped := rows - reading.cast(top[name]).null_count:
                unknown.add([name])
                unknown.dropped += dropped
        for level, arrays in levels:
            prefix = "" if level is plan.top else f"{plan.nested}."
            for name in level.drops():
                unknown.add([prefix + name])
                unknown.dropped += pc.sum(pc.greater(pc.list_value_length(arrays[name]), 0)).as_py() or 0
        if self._keeps_extra:
            columns.append(pa.nulls(rows, pa.string()))
        return Rows(tuple(columns), indexes, unknown)

    def _column(self, target: Target, levels: Levels, timestamps: Sequence[int]) -> pa.Array:
        found = [
            level.known[name].cast(arrays[name]) for level, arrays in levels for name in target.names if name in level.known
        ]
        column = found[0] if found else pa.nulls(len(timestamps), target.type)
        for other in found[1:]:
            if pc.any(pc.and_(pc.is_valid(column), pc.is_valid(other))).as_py():
                raise Declined(f"two fields for {target.name}")
            column = pc.coalesce(column, other)
        if column.null_count and target.falls_back:
            column = _filled(column, timestamps)
        if column.null_count and target.required:
            raise Declined(f"{target.name} is missing")
        return column


def _framed(values: Sequence[bytes]) -> bytes | bytearray:
    """The records as lines, each of which is sure to begin a JSON object and to end one, and is valid UTF-8."""
    packed = _packed_lines(values) if isinstance(values, PackedBytes) else None
    blob = packed if packed is not None else _joined_lines(values)
    if b"\0" in blob:
        raise Declined("the reader would stop at NUL")
    if not blob.isascii():
        try:
            blob.decode()
        except UnicodeDecodeError:
            raise Declined("not UTF-8") from None
    return blob


def _packed_lines(values: PackedBytes) -> bytes | bytearray | None:
    """None where blanks have to be looked at. Newlines within a value do no harm: a value that begins and ends with a brace is
    a row or more, or an error, and rows are counted."""
    return values.lines() if values.all_within(_BRACES[0], _BRACES[1]) else None


def _joined_lines(values: Sequence[bytes]) -> bytes:
    gaps = len(values) - 1
    blob = b"\n".join(values)
    if blob.count(b"\n") != gaps:
        blob = b"\n".join([value.strip(_BLANKS) for value in values])
        if blob.count(b"\n") != gaps:
            raise Declined("a value of several lines")
        values = blob.split(b"\n")
    if not all(values) or set(map(_FIRST, values)) != _BEGINS or set(map(_LAST, values)) != _ENDS:
        raise Declined("a value that is no object")
    return blob


def _read(blob: bytes | bytearray, schema: pa.Schema, rows: int) -> pa.Table:
    table = arrow_json.read_json(
        pa.BufferReader(blob),
        arrow_json.ReadOptions(use_threads=False, block_size=len(blob) + 1),
        arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error"),
    )
    if table.num_rows != rows:
        raise Declined("two documents in one value")
    return table


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _sizes(maps: pa.Array) -> pa.Array:
    offsets = maps.offsets
    return pc.subtract(offsets[1:], offsets[:-1])


def _filled(column: pa.Array, timestamps: Sequence[int]) -> pa.Array:
    """The column with Kafka's time where it has none of its own."""
    times = kafka_times(timestamps)
    usable = pc.less_equal(times, NANOSECONDS_MAX // 1_000_000)
    factor = pa.scalar(1000 if column.type.unit == "us" else 1_000_000, pa.int64())
    fallback = pc.multiply(pc.if_else(usable, times, pa.scalar(None, pa.int64())), factor)
    return pc.coalesce(column, fallback.view(column.type))
