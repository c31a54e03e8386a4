"""A hash of rows that does not depend on their order: equal for the raw files of a day and for its archive.

Pure, Arrow alone. Every row becomes 64 bits, made of its columns' names and values; the hash of many rows is the sum of the
rows' bits, and of a second mixture of them, modulo 2**64. Sums of parts add up, so it can be taken piece by piece.
docs/archive.md has the definition. It finds mistakes and damage; it is no protection against somebody who forges rows.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc

_MASK = 2**64 - 1
_U64 = pa.uint64()
_SECOND = 0x9E3779B97F4A7C15


@dataclass(frozen=True, slots=True)
class RowHash:
    """The hash of a set of rows, and how many there are."""

    rows: int = 0
    first: int = 0
    second: int = 0

    def __add__(self, other: RowHash) -> RowHash:
        return RowHash(self.rows + other.rows, (self.first + other.first) & _MASK, (self.second + other.second) & _MASK)

    def __str__(self) -> str:
        """32 hexadecimal digits."""
        return f"{self.first:016x}{self.second:016x}"

    @classmethod
    def parse(cls, text: str, rows: int) -> Self:
        """The inverse of `str`."""
        return cls(rows, int(text[:16], 16), int(text[16:], 16))

    @classmethod
    def of(cls, table: pa.Table) -> Self:
        """The hash of the rows of `table`. A null counts as a column that is not there; the columns' order does not count."""
        if not table.num_rows:
            return cls()
        row = _zeros(table.num_rows)
        for name in table.column_names:
            column = table[name]
            if column.null_count == len(column):
                continue
            row = pc.add(row, _column(_whole(column), _salt(name)))
        row = _mixed(row)
        first = pc.sum(row).as_py() & _MASK
        second = pc.sum(_mixed(pc.add(row, _scalar(_SECOND)))).as_py() & _MASK
        return cls(table.num_rows, first, second)


def _column(values: pa.Array, salt: int) -> pa.Array:
    """64 bits for each value, 0 for a null."""
    bits = _mixed(pc.bit_wise_xor(_bits(values), _scalar(salt)))
    return pc.fill_null(pc.if_else(values.is_valid(), bits, pa.scalar(None, _U64)), _scalar(0)) if values.null_count else bits


def _bits(values: pa.Array) -> pa.Array:
    """64 bits for each value that are not mixed yet; anything for a null."""
    kind, is_ = values.type, pa.types
    if is_.is_dictionary(kind):
        return _bits(values.cast(kind.value_type))
    if is_.is_floating(kind):
        return pc.fill_null(values.cast(pa.float64()), 0.0).view(_U64)
    if is_.is_boolean(kind) or is_.is_integer(kind) or is_.is_timestamp(kind) or is_.is_date32(kind):
        numbers = values.cast(pa.int32()) if is_.is_date32(kind) else values
        return pc.fill_null(numbers.cast(pa.int64()), 0).view(_U64)
    if is_.is_decimal(kind):
        return _bits(values.cast(pa.string()))
    if is_.is_string(kind) or is_.is_binary(kind):
        return _text_bits(values)
    if is_.is_map(kind) or is_.is_list(kind):
        return _nested_bits(values)
    if is_.is_struct(kind):
        return _struct_bits(values)
    raise TypeError(f"no hash for a column of {kind}")


def _text_bits(values: pa.Array) -> pa.Array:
    encoded = pc.fill_null(values.cast(pa.binary()), b"").dictionary_encode()
    digests = b"".join(hashlib.blake2b(text, digest_size=8).digest() for text in encoded.dictionary.to_pylist())
    hashes = pa.Array.from_buffers(_U64, len(encoded.dictionary), [None, pa.py_buffer(digests)])
    return hashes.take(encoded.indices)


def _nested_bits(values: pa.Array) -> pa.Array:
    """Entries of a map count wherever they stand in it, those of a list at their place; both with their number."""
    lengths = pc.fill_null(pc.list_value_length(values) if not pa.types.is_map(values.type) else _map_lengths(values), 0)
    if pa.types.is_map(values.type):
        # `flatten` leaves out what stands behind nulls and before the slice's own offset; keys and items do not.
        entries = values.cast(pa.list_(pa.struct([("key", values.type.key_type), ("value", values.type.item_type)]))).flatten()
        bits = pc.add(_column(entries.field("key"), 1), _column(entries.field("value"), 2)) if len(entries) else _zeros(0)
    else:
        entries = values.flatten()
        ends = pc.cumulative_sum(lengths.cast(pa.int64()))
        begins = pc.subtract(ends, lengths.cast(pa.int64()))
        parents = pc.list_parent_indices(values)
        place = pc.subtract(pa.array(range(len(entries)), pa.int64()), begins.take(parents))
        bits = pc.add(_column(entries, 3), _mixed(place.view(_U64)))
    mixed = _mixed(bits)
    running = pa.concat_arrays([_zeros(1), pc.cumulative_sum(mixed)]) if len(mixed) else _zeros(1)
    ends = pc.cumulative_sum(lengths.cast(pa.int64()))
    begins = pc.subtract(ends, lengths.cast(pa.int64()))
    return pc.add(pc.subtract(running.take(ends), running.take(begins)), lengths.cast(_U64))


def _struct_bits(values: pa.Array) -> pa.Array:
    """The sum over the fields, each salted with its name as a column is."""
    bits = _zeros(len(values))
    for field, column in zip(values.type, values.flatten(), strict=True):
        bits = pc.add(bits, _column(column, _salt(field.name)))
    return bits


def _map_lengths(values: pa.Array) -> pa.Array:
    return pc.list_value_length(
        values.cast(pa.list_(pa.struct([("key", values.type.key_type), ("value", values.type.item_type)])))
    )


def _mixed(bits: pa.Array) -> pa.Array:
    """The finalizer of splitmix64: every bit of the result depends on every bit."""
    bits = pc.multiply(pc.bit_wise_xor(bits, pc.shift_right(bits, _scalar(30))), _scalar(0xBF58476D1CE4E5B9))
    bits = pc.multiply(pc.bit_wise_xor(bits, pc.shift_right(bits, _scalar(27))), _scalar(0x94D049BB133111EB))
    return pc.bit_wise_xor(bits, pc.shift_right(bits, _scalar(31)))


@lru_cache(maxsize=4096)
def _salt(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")


def _scalar(value: int) -> Any:
    return pa.scalar(value, _U64)


def _zeros(count: int) -> pa.Array:
    return pa.repeat(_scalar(0), count)


def _whole(column: pa.ChunkedArray) -> pa.Array:
    whole = column.combine_chunks()
    return pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole
