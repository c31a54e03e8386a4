"""One row of feature history, packed: about a third of the memory of a dictionary.

A row is a plain tuple and not a class, because the garbage collector stops looking at plain tuples of plain values: a
history of a million rows would else cost every full collection tens of milliseconds. Pure.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from typing import Any

Row = tuple[str, int, int, tuple[str, ...], bytes, tuple[tuple[str, Any], ...]]
"""(timestamp, partition, offset, names, values, others).

timestamp: ISO 8601, UTC, as text. names: of the values that are floats, one tuple shared by all rows that have the same.
values: these floats, 8 bytes each in the machine's order. others: (name, value) of what is not a float, as JSON has it.
"""

TIMESTAMP, PARTITION, OFFSET = "timestamp", "partition", "offset"
OWN_NAMES = (TIMESTAMP, PARTITION, OFFSET)
TAKEN_PREFIX = "features."
"""Put before the name of a value that is called as one of `OWN_NAMES`, or as another value of its row."""

_ROW_BYTES = 250
_OTHER_BYTES = 180

Names = dict[tuple[str, ...], tuple[str, ...]]
"""Tuples of names that were seen, so that equal ones are one object."""

NAMES_MAX = 10_000


def row_bytes(row: Row) -> int:
    """Memory of a row; names are shared and not counted."""
    return _ROW_BYTES + len(row[4]) + _OTHER_BYTES * len(row[5])


def unpacked(row: Row) -> dict[str, Any]:
    """The row as the documents have it: flat, in the order timestamp, partition, offset, floats, others."""
    timestamp, partition, offset, names, values, others = row
    flat: dict[str, Any] = {TIMESTAMP: timestamp, PARTITION: partition, OFFSET: offset}
    flat.update(zip(names, array("d", values), strict=True))
    if others:
        flat.update(others)
    return flat


def packed(flat: Mapping[str, Any], names: Names) -> Row:
    """The inverse of `unpacked`. Raises `KeyError`, `TypeError` or `ValueError` where `flat` is no such row."""
    timestamp, partition, offset = flat[TIMESTAMP], flat[PARTITION], flat[OFFSET]
    if type(timestamp) is not str or type(partition) is not int or type(offset) is not int:
        raise TypeError("a row has a timestamp, a partition and an offset")
    floats = {name: value for name, value in flat.items() if type(value) is float}
    others: tuple[tuple[str, Any], ...] = ()
    if len(floats) + len(OWN_NAMES) < len(flat):
        others = tuple((name, value) for name, value in flat.items() if name not in floats and name not in OWN_NAMES)
    return timestamp, partition, offset, shared(tuple(floats), names), array("d", floats.values()).tobytes(), others


def shared(found: tuple[str, ...], names: Names) -> tuple[str, ...]:
    """The one tuple that stands for all equal to `found`."""
    if len(names) > NAMES_MAX:
        names.clear()  # messages that name their fields anew each time; rows keep what they have
    return names.setdefault(found, found)


def free_names(wanted: Iterable[str]) -> tuple[str, ...]:
    """`wanted`, each as it is or, where that name is taken, with `features.` before it as often as it takes."""
    taken = set(OWN_NAMES)
    found = []
    for name in wanted:
        while name in taken:
            name = TAKEN_PREFIX + name
        taken.add(name)
        found.append(name)
    return tuple(found)


def in_topic_order(row: Row) -> tuple[str, int, int]:
    """Sorts the rows of one symbol that are in several partitions: by event time, partition, offset."""
    # Without the Z, so that the digits of microseconds sort before those of nanoseconds that begin the same.
    return row[0].rstrip("Z"), row[1], row[2]
