"""Packed byte strings are the byte strings that they stand for, whoever looks at them and however."""

from __future__ import annotations

import zlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streamer.packed import PackedBytes, picked
from streamer.records import RecordChunk, TopicPartition, payload_bytes, record_crcs

VALUES = st.lists(st.tuples(st.binary(max_size=12), st.binary(min_size=1, max_size=4)), max_size=9)


def packed(values: list[tuple[bytes, bytes]], before: bytes = b"", *, blotting: bool = False) -> PackedBytes:
    """The first of each pair, with the second behind it."""
    buffer, starts, ends = bytearray(before), [], []
    for value, gap in values:
        starts.append(len(buffer))
        buffer += value
        ends.append(len(buffer))
        buffer += gap
    places = np.array(starts, np.int64), np.array(ends, np.int64)
    return PackedBytes.blotting(buffer, *places) if blotting else PackedBytes(bytes(buffer), *places)


@given(VALUES, st.binary(max_size=3), st.slices(9), st.booleans())
def test_packed_bytes_are_a_sequence_like_any_other(
    values: list[tuple[bytes, bytes]], before: bytes, part: slice, blotting: bool
) -> None:
    plain = [value for value, _ in values]
    mine = packed(values, before, blotting=blotting and bool(values))

    assert mine == plain
    assert (list(mine), len(mine), mine[part]) == (plain, len(plain), plain[part])
    assert [mine[at] for at in range(-len(plain), len(plain))] == plain + plain
    assert all(type(value) is bytes for value in mine)
    assert picked(mine, range(0, len(plain), 2)) == picked(plain, range(0, len(plain), 2))
    assert mine.size_bytes == payload_bytes([], mine) == payload_bytes([], plain) == sum(map(len, plain))
    assert mine.all_filled() == all(plain)
    assert mine.all_within(0, 1) == all(value[:1] == b"\0" and value[-1:] == b"\1" for value in plain)
    assert mine.arrow().to_pylist() == plain
    assert mine.compact() == plain
    assert mine != [*plain, b""]


@given(VALUES, VALUES, st.booleans())
def test_checksums_are_those_of_zlib(
    values: list[tuple[bytes, bytes]], keys: list[tuple[bytes, bytes]], keys_are_packed: bool
) -> None:
    count = min(len(values), len(keys))
    plain, plain_keys = [value for value, _ in values[:count]], [key for key, _ in keys[:count]]
    heads = packed(keys[:count]) if keys_are_packed else plain_keys

    assert record_crcs(heads, packed(values[:count])) == [
        zlib.crc32(key + value) for key, value in zip(plain_keys, plain, strict=True)
    ]
    assert record_crcs([None] * count, packed(values[:count])) == list(map(zlib.crc32, plain))


@given(VALUES.filter(len), st.binary(max_size=3))
def test_lines_are_the_values_with_a_newline_and_blanks_between(values: list[tuple[bytes, bytes]], before: bytes) -> None:
    plain = [value for value, _ in values]
    mine = packed(values, before, blotting=True)

    blanks = bytes(mine.lines())
    at = 0
    for number, value in enumerate(plain):
        gap = len(before) if number == 0 else len(values[number - 1][1])
        assert blanks[at : at + gap] == (b" " * gap if number == 0 else b"\n" + b" " * (gap - 1))
        assert blanks[at + gap : at + gap + len(value)] == value
        at += gap + len(value)
    assert not blanks[at:].strip(b" ")
    assert mine[1:].lines() == b"\n".join(plain[1:])
    assert mine.compact().lines() == b"\n".join(plain)


def test_a_chunk_of_packed_columns_is_split_as_any_other() -> None:
    values = packed([(b"a", b"-"), (b"bc", b"-"), (b"def", b"-")])
    chunk = RecordChunk(TopicPartition("t", 0), 10, 20, range(12, 15), [1, 2, 3], [None] * 3, values)

    head, tail = chunk.split(13)

    assert (head.start, head.end, list(head.offsets), head.values) == (10, 13, [12], [b"a"])
    assert (tail.start, tail.end, list(tail.offsets), tail.values) == (13, 20, [13, 14], [b"bc", b"def"])
    assert (head.payload_bytes, tail.payload_bytes) == (1, 5)
