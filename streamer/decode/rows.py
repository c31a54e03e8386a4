"""What became of a run of records, in whichever way, and how such runs become the table of the whole chunk."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streamer.decode.fields import Unknown
from streamer.decode.refusal import Refusal
from streamer.layout import CRC_COLUMN, FLAGS, Layout
from streamer.packed import PackedBytes, picked
from streamer.records import RecordChunk, record_crcs


@dataclass(frozen=True, slots=True)
class Rows:
    """`columns` are the layout's, and `extra` where it is kept, one value for each record of `kept` (ascending indexes
    into the chunk). The other records of the run are in `refusals`."""

    columns: tuple[pa.Array, ...]
    kept: Sequence[int]
    unknown: Unknown
    refusals: tuple[Refusal, ...] = ()
    slow: int = 0


def table_of(layout: Layout, chunk: RecordChunk, runs: Sequence[Rows]) -> tuple[pa.Table, Sequence[int]]:
    """The rows of all runs with the system's columns, as `layout.decoded_schema` has them, and their indexes in the chunk."""
    schema = layout.decoded_schema
    runs = [run for run in runs if len(run.kept)]
    if not runs:
        return schema.empty_table(), ()
    kept: Sequence[int]
    if len(runs) == 1:
        kept, columns = runs[0].kept, list(runs[0].columns)
    else:
        kept = [index for run in runs for index in run.kept]
        columns = [pa.chunked_array([run.columns[at] for run in runs]) for at in range(len(runs[0].columns))]
    system = _system_columns(chunk, kept)
    if FLAGS in schema.names:
        system.insert(schema.names.index(FLAGS) - schema.names.index(CRC_COLUMN), pa.nulls(len(kept), pa.string()))
    table = pa.Table.from_arrays([*columns, *system], schema=schema)
    return table if len(runs) == 1 else table.combine_chunks(), kept


def kafka_times(timestamps: Sequence[int]) -> pa.Array:
    """Kafka's timestamps in milliseconds; null where the broker had none."""
    times = _integers("q", pa.int64(), timestamps)
    if (least := pc.min(times).as_py()) is not None and least < 0:
        times = pc.if_else(pc.less(times, 0), pa.scalar(None, pa.int64()), times)
    return times


def _system_columns(chunk: RecordChunk, kept: Sequence[int]) -> list[pa.Array]:
    offsets, timestamps, keys, values = chunk.offsets, chunk.timestamps, chunk.keys, chunk.values
    if len(kept) != len(chunk):
        offsets, timestamps = picked(offsets, kept), picked(timestamps, kept)
        keys, values = picked(keys, kept), picked(values, kept)
    return [
        pa.repeat(pa.scalar(chunk.source.partition, pa.int32()), len(kept)),
        _integers("q", pa.int64(), offsets),
        kafka_times(timestamps).view(pa.timestamp("ms", tz="UTC")),
        keys.arrow() if isinstance(keys, PackedBytes) else pa.array(keys, pa.binary()),
        _integers("I", pa.uint32(), record_crcs(keys, values)),
    ]


def _integers(code: str, type_: pa.DataType, numbers: Sequence[int]) -> pa.Array:
    """An array of integers that are surely there: twice as fast as `pa.array`, which looks at each of them twice."""
    if isinstance(numbers, range):
        return pa.array(np.arange(numbers.start, numbers.stop, numbers.step), type_)
    return pa.Array.from_buffers(type_, len(numbers), [None, pa.py_buffer(array(code, numbers))])
