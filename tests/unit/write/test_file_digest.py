"""The digest of a file's raw records: known in advance, blind to chunking, and awake to any other record."""

from __future__ import annotations

import hashlib
import struct
from typing import Any

import pyarrow as pa
from decoded_tables import BUDGET, decoded, divided, layout, letter, row_lists
from hypothesis import given
from hypothesis import strategies as st

from streamer.records import record_crcs
from streamer.write.digest import letters_digest, rows_digest


def _as_layout_md_says(offsets: list[int], timestamps: list[int], crcs: list[int]) -> str:
    n = len(offsets)
    return hashlib.sha256(struct.pack(f"<{n}q{n}q{n}I", *offsets, *timestamps, *crcs)).hexdigest()[:32]


@BUDGET
@given(row_lists(), st.lists(st.integers(0, 9), max_size=6))
def test_a_digest_is_the_documented_sha256_however_the_rows_are_divided(rows: list[dict[str, Any]], sizes: list[int]) -> None:
    table = pa.concat_tables(divided(decoded(layout(), rows), sizes))

    timestamps = [-1 if row["_timestamp"] is None else row["_timestamp"] for row in rows]
    expected = _as_layout_md_says([row["_offset"] for row in rows], timestamps, [row["_crc"] for row in rows])
    assert expected == rows_digest(table)


@BUDGET
@given(st.lists(st.tuples(st.none() | st.binary(), st.none() | st.binary(), st.integers(-1, 2**45))))
def test_dead_letters_have_the_digest_that_rows_of_the_same_records_would_have(records: list[tuple[Any, Any, int]]) -> None:
    letters = [letter(at, time, key=key, value=value) for at, (key, value, time) in enumerate(records)]
    crcs = record_crcs([key for key, _, _ in records], [value for _, value, _ in records])
    rows = [{"_offset": at, "_timestamp": time, "_crc": crcs[at]} for at, (_, _, time) in enumerate(records)]

    assert rows_digest(decoded(layout(), rows)) == letters_digest(letters)


@BUDGET
@given(row_lists().filter(bool), st.sampled_from(["_offset", "_crc"]))
def test_another_record_gives_another_digest(rows: list[dict[str, Any]], changed: str) -> None:
    other = [*rows[:-1], {**rows[-1], changed: rows[-1][changed] ^ 1}]

    assert rows_digest(decoded(layout(), rows)) != rows_digest(decoded(layout(), other))
