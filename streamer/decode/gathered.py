"""Columns of single features become one column of maps, without a Python object for each value."""

from __future__ import annotations

from array import array
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

_INT32, _UINT8, _FLOAT64 = pa.int32(), pa.uint8(), pa.float64()


def gather(columns: Mapping[str, pa.Array], rows: int) -> pa.Array:
    """A `map<string, float64>` of `rows` rows: in each the values that are not null, by ascending name of their column."""
    names = sorted(columns)
    width = len(names)
    if not width or not rows:
        return pa.MapArray.from_arrays(pa.array([0] * (rows + 1), _INT32), pa.array([], pa.string()), pa.array([], _FLOAT64))
    arrays = [columns[name] for name in names]
    items = pa.Array.from_buffers(_FLOAT64, rows * width, [None, pa.py_buffer(_interleaved("d", arrays, rows))])
    pattern = array("i", range(width)).tobytes() * rows
    keys = pa.Array.from_buffers(_INT32, rows * width, [None, pa.py_buffer(pattern)])
    if any(column.null_count for column in arrays):
        valid = [pc.is_valid(column).cast(_UINT8) for column in arrays]
        mask = pa.Array.from_buffers(_UINT8, rows * width, [None, pa.py_buffer(_interleaved("B", valid, rows))]).cast(
            pa.bool_()
        )
        items, keys = items.filter(mask), keys.filter(mask)
        counts = valid[0].cast(_INT32)
        for column in valid[1:]:
            counts = pc.add(counts, column.cast(_INT32))
        offsets = pa.concat_arrays([pa.array([0], _INT32), pc.cumulative_sum(counts)])
    else:
        offsets = pa.array(range(0, rows * width + 1, width), _INT32)
    texts = pa.DictionaryArray.from_arrays(keys, pa.array(names, pa.string())).dictionary_decode()
    return pa.MapArray.from_arrays(offsets, texts, items)


def _interleaved(code: str, columns: list[pa.Array], rows: int) -> array[float]:
    """The values of all columns row by row; anything where they are null."""
    width = len(columns)
    size = array(code).itemsize
    merged: array[float] = array(code, bytes(size * rows * width))
    for at, column in enumerate(columns):
        start = column.offset * size
        values: array[float] = array(code)
        values.frombytes(memoryview(column.buffers()[1])[start : start + size * rows])
        merged[at::width] = values
    return merged
