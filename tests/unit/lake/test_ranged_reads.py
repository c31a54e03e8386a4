"""Large Parquet files are read by ranges, and what is read is what is there."""

from __future__ import annotations

import io
from itertools import pairwise

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.lake.fetched_ranges import FetchedRanges, chunk_ranges, fetch_parquet, joined
from streamer.store.contract import Overwrite
from streamer.store.memory import MemoryStore
from streamer.testing.manual_clock import ManualClock


class CountingStore(MemoryStore):
    """Remembers how many bytes were asked for."""

    read_bytes = 0

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        part = await super().get_range(key, start, length)
        self.read_bytes += len(part)
        return part


def wide_file(rows: int = 60_000, *, metadata_bytes: int = 0, row_group_size: int = 20_000) -> bytes:
    table = pa.table(
        {
            "_offset": pa.array(range(rows), pa.int64()),
            "symbol": pa.array([f"S{n % 7}" for n in range(rows)]),
            "noise": pa.array([f"{n * 7919 % 1_000_003:x}-{n * 104729 % 999_983:x}" for n in range(rows)]),
            "features": pa.array([[("a", n / 2), ("b", float(n))] for n in range(rows)], pa.map_(pa.string(), pa.float64())),
        }
    ).replace_schema_metadata({"streamer.rows": str(rows), "filler": "x" * metadata_bytes})
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=row_group_size, compression="zstd")
    return sink.getvalue()


@pytest.mark.parametrize("columns", [("_offset",), ("symbol", "_offset"), ("features",), (), None, ("absent", "symbol")])
async def test_the_columns_read_by_range_are_those_of_the_whole_file(columns: tuple[str, ...] | None) -> None:
    body = wide_file()
    store = CountingStore(ManualClock())
    await store.put("k", body, mode=Overwrite())

    file = await fetch_parquet(store, "k", len(body), columns)

    names = [name for name in file.schema_arrow.names if columns is None or name in columns]
    assert file.read(columns=names).equals(pq.read_table(io.BytesIO(body), columns=names))
    if columns == ("_offset",):
        assert store.read_bytes < len(body) / 2


async def test_a_footer_longer_than_the_first_read_is_fetched_whole() -> None:
    body = wide_file(500, metadata_bytes=200_000)
    store = MemoryStore(ManualClock())
    await store.put("k", body, mode=Overwrite())

    file = await fetch_parquet(store, "k", len(body), ("_offset",))

    assert file.read(columns=["_offset"])["_offset"].to_pylist() == list(range(500))


@pytest.mark.parametrize("body", [b"", b"PAR1", b"PAR1" * 30, b"x" * 100, b"x" * 90 + b"\xff\xff\xff\x7fPAR1"])
async def test_what_is_no_parquet_file_is_an_arrow_error(body: bytes) -> None:
    store = MemoryStore(ManualClock())
    await store.put("k", body, mode=Overwrite())

    with pytest.raises((pa.ArrowException, OSError)):
        await fetch_parquet(store, "k", len(body), None)


async def test_an_object_shorter_than_it_was_listed_is_an_error_and_not_zeroes() -> None:
    body = wide_file(500)
    store = MemoryStore(ManualClock())
    await store.put("k", body[:-200], mode=Overwrite())

    with pytest.raises(pa.ArrowException):
        await fetch_parquet(store, "k", len(body), None)


def test_bytes_that_were_not_fetched_are_an_error() -> None:
    file = FetchedRanges(100)
    file.add(10, b"0123456789")

    file.seek(12)
    assert file.read(3) == b"234"
    file.seek(18)
    with pytest.raises(OSError, match="not fetched"):
        file.read(3)


@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 500)), max_size=30), st.integers(0, 300))
def test_joined_ranges_cover_every_byte_asked_for_and_lie_apart(ranges: list[tuple[int, int]], near: int) -> None:
    result = joined(ranges, near)

    for start, length in ranges:
        assert any(first <= start and start + length <= first + size for first, size in result)
    for (first, size), (second, _) in pairwise(result):
        assert first + size + near < second


def test_every_column_chunk_lies_within_the_file() -> None:
    body = wide_file(5_000)
    metadata = pq.read_metadata(io.BytesIO(body))

    ranges = chunk_ranges(metadata, None)

    assert len(ranges) == metadata.num_row_groups * metadata.num_columns
    assert all(start >= 4 and start + length <= len(body) for start, length in ranges)
