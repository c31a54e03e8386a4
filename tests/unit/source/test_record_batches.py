"""Undecoded batches against aiokafka's own decoding, and what happens when they are damaged."""

from __future__ import annotations

import gc
import struct
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import pytest
from aiokafka.consumer.fetcher import READ_COMMITTED, FetchResult, PartitionRecords
from aiokafka.consumer.subscription_state import Assignment
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c
from hypothesis import given
from hypothesis import strategies as st

from streamer.packed import PackedBytes
from streamer.records import RecordChunk, TopicPartition
from streamer.source import packed_batches, record_batches
from streamer.source.record_batches import extract, self_test, take

TICKS = TopicPartition("ticks", 0)
CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}


@dataclass
class Log:
    """The bytes of a partition, as a broker answers a fetch with them."""

    raw: bytes = b""
    end: int = 0
    aborted: list[tuple[int, int]] = field(default_factory=list)  # producer id, first offset
    starts: list[int] = field(default_factory=list)

    def batch_of(self, offset: int) -> int:
        return max(start for start in self.starts if start <= offset)

    def add(
        self,
        records: Sequence[tuple[bytes | None, bytes | None, list[Any]]],
        *,
        codec: int = 0,
        producer: int = -1,
        transactional: bool = False,
        holes: frozenset[int] = frozenset(),
    ) -> int:
        builder = DefaultRecordBatchBuilder(2, codec, int(transactional), producer, 0, -1, 1 << 20)
        for number, (key, value, headers) in enumerate(records):
            if number not in holes:
                builder.append(number, timestamp=1_000 + self.end + number, key=key, value=value, headers=headers)
        start = self.end
        self.starts.append(start)
        self.raw += start.to_bytes(8, "big") + bytes(builder.build())[8:]
        kept = [number for number in range(len(records)) if number not in holes]
        self.end += (kept[-1] if kept else 0) + 1
        return start

    def add_marker(self, producer: int, *, commit: bool) -> None:
        # Version and type, as in the protocol's control records.
        builder = DefaultRecordBatchBuilder(2, 0, 1, producer, 0, -1, 1 << 16)
        builder.append(0, timestamp=0, key=struct.pack(">hh", 0, int(commit)), value=b"\x00" * 6, headers=[])
        batch = bytearray(builder.build())
        batch[:8] = self.end.to_bytes(8, "big")
        attributes = struct.unpack_from(">h", batch, 21)[0] | 0x20
        struct.pack_into(">h", batch, 21, attributes)
        struct.pack_into(">I", batch, 17, calc_crc32c(bytes(batch[21:])))
        self.raw += bytes(batch)
        self.end += 1

    def result(self, position: int) -> FetchResult:
        assignment = Assignment([TICKS])
        assignment.state_value(TICKS).seek(position)
        records = PartitionRecords(
            TICKS, MemoryRecords(self.raw), list(self.aborted), position, None, None, True, READ_COMMITTED
        )
        return FetchResult(TICKS, assignment=assignment, partition_records=records, backoff=0.0)


def whole(result: FetchResult, raw: bytes | None, most_bytes: int = 1 << 20) -> tuple[list[RecordChunk], str | None]:
    """Every piece of a fetch result, and what is wrong at its end. raw: its bytes, None where nobody kept them."""
    taken = take(result, TICKS, raw)
    assert taken is not None
    pieces = []
    while True:
        piece = extract(taken, most_bytes)
        pieces.append(piece.chunk)
        if piece.rest is None:
            return pieces, piece.fault
        assert piece.fault is None
        taken = piece.rest


both_ways = pytest.mark.parametrize("kept", [False, True], ids=["by aiokafka", "by arithmetic"])
BYTES = st.none() | st.binary(max_size=20)
HEADERS = st.lists(st.tuples(st.text(max_size=5), BYTES), max_size=2)
RECORDS = st.lists(st.tuples(BYTES, BYTES, HEADERS), min_size=1, max_size=8)
PLAIN = st.tuples(st.just("plain"), RECORDS, st.sampled_from(sorted(CODECS.values())), st.frozensets(st.integers(0, 6)))
TRANSACTION = st.tuples(st.just("transaction"), RECORDS, st.integers(1, 3), st.booleans())


@given(
    st.lists(PLAIN | TRANSACTION, min_size=1, max_size=8),
    st.integers(0, 30),
    st.booleans(),
    st.sampled_from([1, 30, 1 << 20]),
    st.booleans(),
)
async def test_batches_bring_what_aiokafka_itself_would_bring(
    steps: list[Any], position: int, interleaved: bool, most_bytes: int, kept: bool
) -> None:
    log = Log()
    first_end = None
    for kind, records, third, fourth in steps:
        if kind == "plain":
            log.add(records, codec=third, holes=frozenset(n for n in fourth if n < len(records) - 1))
            first_end = first_end or log.end
            continue
        start = log.add(records, producer=third, transactional=True)
        first_end = first_end or log.end
        if interleaved:
            log.add([(None, b"between", [])])
        if not fourth:
            log.aborted.append((third, start))
        log.add_marker(third, commit=fourth)
    assert first_end is not None
    position = min(position, first_end - 1)  # a broker's answer begins with the batch that holds the position
    reference = log.result(position)
    expected = reference.getall()

    mine = log.result(position)
    pieces, fault = whole(mine, log.raw if kept else None, most_bytes)

    assert fault is None
    assert (pieces[0].start, pieces[-1].end) == (position, log.end)
    assert [piece.end for piece in pieces[:-1]] == [piece.start for piece in pieces[1:]]
    assert most_bytes > 1 or all(len(set(map(log.batch_of, piece.offsets))) <= 1 for piece in pieces)
    assert mine._assignment.state_value(TICKS).position == reference._assignment.state_value(TICKS).position == log.end
    assert [offset for piece in pieces for offset in piece.offsets] == [record.offset for record in expected]
    assert [stamp for piece in pieces for stamp in piece.timestamps] == [record.timestamp for record in expected]
    assert [key for piece in pieces for key in piece.keys] == [record.key for record in expected]
    assert [value for piece in pieces for value in piece.values] == [record.value for record in expected]
    headers = [found for piece in pieces for found in (piece.headers or [()] * len(piece))]
    assert headers == [record.headers for record in expected]
    assert all(piece.headers is None or any(piece.headers) for piece in pieces)


def three_batches(codec: int) -> Log:
    log = Log()
    for batch in range(3):
        log.add([(None, b"value-%d-%d" % (batch, number), []) for number in range(4)], codec=codec)
    return log


@both_ways
async def test_headers_stay_with_their_records_where_only_a_later_batch_has_any(kept: bool) -> None:
    log = Log()
    log.add([(None, b"0", []), (None, b"1", [])])
    log.add([(None, b"2", []), (b"k", b"3", [("h", b"x")])])
    (chunk,), fault = whole(log.result(0), log.raw if kept else None)
    assert fault is None
    assert chunk.headers == [(), (), (), (("h", b"x"),)]
    assert (chunk.keys, chunk.values) == ([None, None, None, b"k"], [b"0", b"1", b"2", b"3"])
    assert chunk.payload_bytes == 5


@pytest.mark.parametrize("codec", sorted(CODECS))
@both_ways
async def test_a_batch_with_a_wrong_checksum_ends_the_chunk_where_it_begins(codec: str, kept: bool) -> None:
    log = three_batches(CODECS[codec])
    length = len(log.raw) // 3
    damaged = bytearray(log.raw)
    damaged[length + 70] ^= 0xFF
    log.raw = bytes(damaged)

    (chunk,), fault = whole(log.result(2), log.raw if kept else None)

    assert (chunk.start, chunk.end, list(chunk.offsets)) == (2, 4, [2, 3])
    assert fault is not None
    assert "checksum" in fault


@both_ways
async def test_a_damaged_batch_at_the_very_start_gives_an_empty_chunk_and_a_reason(kept: bool) -> None:
    log = three_batches(0)
    log.raw = log.raw[:65] + b"\xff" + log.raw[66:]

    (chunk,), fault = whole(log.result(1), log.raw if kept else None)

    assert (chunk.start, chunk.end, chunk.offsets) == (1, 1, [])
    assert fault is not None


@both_ways
async def test_a_batch_cut_off_at_the_end_of_the_response_is_left_for_the_next_fetch(kept: bool) -> None:
    log = three_batches(4)
    log.raw = log.raw[:-5]

    (chunk,), fault = whole(log.result(0), log.raw if kept else None)

    assert (chunk.start, chunk.end, fault) == (0, 8, None)


@both_ways
async def test_an_unknown_compression_is_named_and_not_skipped(kept: bool) -> None:
    log = Log()
    log.add([(None, b"good", [])])
    log.add([(None, b"of the future", [])])
    damaged = bytearray(log.raw)
    second = struct.unpack_from(">i", log.raw, 8)[0] + 12  # behind the first batch
    struct.pack_into(">h", damaged, second + 21, 6)
    struct.pack_into(">I", damaged, second + 17, calc_crc32c(bytes(damaged[second + 21 :])))
    log.raw = bytes(damaged)

    (chunk,), fault = whole(log.result(0), log.raw if kept else None)

    assert chunk.values == [b"good"]
    assert chunk.end == 1
    assert fault is not None


@both_ways
async def test_messages_of_old_formats_are_read(kept: bool) -> None:
    builder = LegacyRecordBatchBuilder(1, 0, 1 << 16)
    builder.append(0, timestamp=5, key=b"k", value=b"old")
    log = Log(bytes(builder.build()), end=1)

    (chunk,), fault = whole(log.result(0), log.raw if kept else None)

    assert fault is None
    assert (chunk.offsets, chunk.timestamps, chunk.keys, chunk.values) == ([0], [5], [b"k"], [b"old"])


@both_ways
async def test_a_damaged_batch_in_a_later_piece_does_not_touch_the_pieces_before(kept: bool) -> None:
    log = three_batches(4)
    log.raw = log.raw[:-1] + bytes([log.raw[-1] ^ 0xFF])

    pieces, fault = whole(log.result(0), log.raw if kept else None, most_bytes=1)

    assert [(piece.start, piece.end) for piece in pieces] == [(0, 4), (4, 8), (8, 8)]
    assert fault is not None


KEYS = st.none() | st.binary(max_size=9)
VALUES = st.binary(max_size=300) | st.sampled_from([b'{"price":1}', b'{"price":2}\n', b"}\x00", b"{}\x00}\x00", b"", b"}"])
STAMPS = st.sampled_from([0, 1, 63, 64, 8_191, 8_192, 1_000_000, -1, -64, -10_000, 2**40])


@given(
    st.lists(
        st.tuples(
            st.lists(st.tuples(KEYS, VALUES, STAMPS), min_size=1, max_size=40),
            st.sampled_from(sorted(CODECS.values())),
            st.integers(0, 300),
            st.booleans(),
        ),
        min_size=1,
        max_size=6,
    ),
    st.integers(0, 50),
    st.sampled_from([1, 500, 1 << 20]),
    st.sampled_from([64, 1_000, packed_batches.WINDOW_BYTES]),
)
async def test_plain_batches_are_split_by_arithmetic_just_as_aiokafka_splits_them(
    batches: list[Any], position: int, most_bytes: int, window_bytes: int
) -> None:
    raw, end, first_end = b"", 0, 0
    for records, codec, hole, append_time in batches:
        builder = DefaultRecordBatchBuilder(2, codec, 0, -1, -1, -1, 1 << 20)
        for number, (key, value, stamp) in enumerate(records):
            builder.append(number, timestamp=10**12 + stamp, key=key, value=value, headers=[])
        batch = bytearray(builder.build())
        batch[:8] = end.to_bytes(8, "big")
        if append_time:
            batch[22] |= 0x08
            struct.pack_into(">I", batch, 17, calc_crc32c(bytes(batch[21:])))
        raw += bytes(batch)
        first_end = first_end or end + len(records)
        end += len(records) + hole
    log = Log(raw, end)
    position = min(position, first_end - 1)
    expected = log.result(position).getall()

    with mock.patch.object(packed_batches, "WINDOW_BYTES", window_bytes):
        pieces, fault = whole(log.result(position), raw, most_bytes)

    assert fault is None
    assert all(isinstance(piece.values, PackedBytes) for piece in pieces)
    assert [(piece.start, piece.end) for piece in pieces] == [
        (piece.start, piece.end) for piece in whole(log.result(position), None, most_bytes)[0]
    ] or most_bytes > 1  # pieces are measured differently
    assert [offset for piece in pieces for offset in piece.offsets] == [record.offset for record in expected]
    assert [stamp for piece in pieces for stamp in piece.timestamps] == [record.timestamp for record in expected]
    assert [key for piece in pieces for key in piece.keys] == [record.key for record in expected]
    assert [value for piece in pieces for value in piece.values] == [record.value for record in expected]
    assert sum(piece.payload_bytes for piece in pieces) == sum(
        len(record.key or b"") + len(record.value) for record in expected
    )


@given(
    st.integers(1, 30),
    st.lists(st.tuples(st.integers(0, 2_000), st.integers(0, 255)), min_size=1, max_size=4),
    st.sampled_from(sorted(CODECS.values())),
)
async def test_a_batch_damaged_before_its_checksum_was_made_gives_what_aiokafka_makes_of_it(
    count: int, damages: list[tuple[int, int]], codec: int
) -> None:
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 20)
    for number in range(count):
        builder.append(number, timestamp=1_000 + number, key=b"k%d" % number, value=b'{"price":%d}' % number, headers=[])
    batch = bytearray(builder.build())
    for at, byte in damages:
        batch[61 + at % (len(batch) - 61)] = byte
    struct.pack_into(">I", batch, 17, calc_crc32c(bytes(batch[21:])))
    log = Log(bytes(batch), count)

    (by_aiokafka,), fault = whole(log.result(0), None)
    (mine,), own_fault = whole(log.result(0), log.raw)

    assert (fault is None) == (own_fault is None)
    assert list(mine.offsets) == list(by_aiokafka.offsets)
    assert list(mine.timestamps) == list(by_aiokafka.timestamps)
    assert (list(mine.keys), list(mine.values)) == (by_aiokafka.keys, by_aiokafka.values)


async def test_a_number_longer_than_any_is_a_fault_both_ways() -> None:
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 16)
    builder.append(0, timestamp=0, key=None, value=b"{}", headers=[])
    batch = bytearray(builder.build())
    # The same record with a time of eleven bytes, which leaves what follows in its place.
    record = b"\x00" + b"\x80" * 10 + b"\x00" + b"\x00" + b"\x01" + b"\x04{}" + b"\x00"
    batch[61:] = bytes([2 * len(record)]) + record
    struct.pack_into(">i", batch, 8, len(batch) - 12)
    struct.pack_into(">I", batch, 17, calc_crc32c(bytes(batch[21:])))
    log = Log(bytes(batch), 1)

    for raw in (None, log.raw):
        (chunk,), fault = whole(log.result(0), raw)
        assert (list(chunk.offsets), chunk.end) == ([], 0)
        assert fault is not None


async def test_a_length_beyond_all_memory_is_a_fault_both_ways() -> None:
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 16)
    builder.append(0, timestamp=0, key=None, value=b"{}", headers=[])
    batch = bytearray(builder.build())
    batch[61:] = bytes.fromhex("feffffffffffffffff7f") + b"\x00" * 8
    struct.pack_into(">i", batch, 8, len(batch) - 12)
    struct.pack_into(">I", batch, 17, calc_crc32c(bytes(batch[21:])))
    log = Log(bytes(batch), 1)

    for raw in (None, log.raw):
        (chunk,), fault = whole(log.result(0), raw)
        assert (list(chunk.offsets), chunk.end) == ([], 0)
        assert fault is not None


async def test_values_leave_the_source_as_lines_that_nobody_has_to_join() -> None:
    log = Log()
    log.add([(b"key", b'{"price":%d}' % number, []) for number in range(5)], codec=CODECS["lz4"])

    (chunk,), _ = whole(log.result(0), log.raw)

    assert isinstance(chunk.values, PackedBytes)
    assert chunk.values.lines() is chunk.values.lines()
    assert bytes(chunk.values.lines()).split() == list(chunk.values)


async def test_a_fetched_megabyte_is_gone_when_it_has_been_extracted_and_not_with_the_next_garbage_collection() -> None:
    log = three_batches(0)
    gc.disable()
    try:
        result = log.result(0)
        gone = weakref.ref(result._partition_records)
        whole(result, log.raw)
        del result
        assert gone() is None
    finally:
        gc.enable()


async def test_bytes_of_another_fetch_are_not_taken_for_those_of_this_one() -> None:
    log, other = three_batches(0), Log()
    other.end = 100
    for batch in range(3):
        other.add([(None, b"other-%d-%d" % (batch, number), []) for number in range(4)])
    assert len(other.raw) == len(log.raw)

    (chunk,), fault = whole(log.result(0), other.raw)

    assert fault is None
    assert chunk.values[0] == b"value-0-0"


async def test_a_result_of_a_partition_that_was_sought_meanwhile_is_not_taken() -> None:
    result = three_batches(0).result(0)
    result._assignment.state_value(TICKS).seek(7)

    assert take(result, TICKS) is None


async def test_this_aiokafka_is_the_one_known_here() -> None:
    assert self_test() is None


async def test_an_aiokafka_with_other_inside_parts_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(PartitionRecords, "_consume_aborted_up_to")
    difference = self_test()

    assert difference is not None
    assert "could not be taken" in difference


async def test_an_aiokafka_that_reads_differently_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_batches.FetchResult, "_update_position", lambda self: None)

    assert self_test() is not None
