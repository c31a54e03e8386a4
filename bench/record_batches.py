"""What it costs to make columns of fetched record batches, through aiokafka's objects and by arithmetic, and to decode them.

    python -m bench.record_batches [--records 100000] [--batch 1000]

CPU of one thread for a record, user and system, the best of seven; batches of lz4, ticks of 190 bytes, without keys and with.
"""

from __future__ import annotations

import argparse
import asyncio

from aiokafka.consumer.fetcher import READ_COMMITTED, FetchResult, PartitionRecords
from aiokafka.consumer.subscription_state import Assignment
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from bench.cpu import least
from bench.throughput.contestants.steps import layout_of
from bench.throughput.ticks import made_ticks
from streamer.arrow_process import set_up_arrow
from streamer.decode.decoder import make_decoder
from streamer.records import RecordChunk, TopicPartition
from streamer.source.record_batches import extract, take

TICKS = TopicPartition("ticks", 0)
LZ4 = 3
PIECE_BYTES = 2 << 20  # as the daemon takes them from four partitions


def made_fetch(records: int, batch: int, *, keyed: bool) -> bytes:
    """What a broker would answer."""
    raw, ticks = b"", made_ticks(records)
    for start in range(0, records, batch):
        builder = DefaultRecordBatchBuilder(2, LZ4, 0, -1, -1, -1, 1 << 24)
        for number in range(batch):
            key = b"SYM%04d" % (number % 50) if keyed else None
            builder.append(number, timestamp=1_767_603_600_000 + number, key=key, value=next(ticks), headers=[])
        raw += start.to_bytes(8, "big") + bytes(builder.build())[8:]
    return raw


def chunks(raw: bytes, *, packed: bool) -> list[RecordChunk]:
    """All pieces of the fetch, as the daemon reads them."""
    assignment = Assignment([TICKS])
    assignment.state_value(TICKS).seek(0)
    records = PartitionRecords(TICKS, MemoryRecords(raw), [], 0, None, None, True, READ_COMMITTED)
    result = FetchResult(TICKS, assignment=assignment, partition_records=records, backoff=0.0)
    left = take(result, TICKS, raw if packed else None)
    found = []
    while left is not None:
        piece = extract(left, PIECE_BYTES)
        found.append(piece.chunk)
        left = piece.rest
    return found


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--batch", type=int, default=1_000, help="records of a batch")
    given = parser.parse_args()
    set_up_arrow()
    decoder = make_decoder(layout_of("date={date}"))
    print(f"{given.records:,} ticks in batches of {given.batch:,}, ns of CPU a record")
    ns = 1e9 / given.records
    for keyed in (False, True):
        raw = made_fetch(given.records // given.batch * given.batch, given.batch, keyed=keyed)
        for packed, name in ((False, "by aiokafka's objects"), (True, "by arithmetic")):
            taken = chunks(raw, packed=packed)
            extracting = least(lambda raw=raw, packed=packed: chunks(raw, packed=packed), 7)  # type: ignore[misc]
            decoding = least(lambda taken=taken: [decoder.decode(chunk) for chunk in taken], 7)  # type: ignore[misc]
            keys = "with keys" if keyed else "no keys"
            print(f"  {keys:<10} {name:<22} columns {extracting * ns:5.0f}  rows {decoding * ns:5.0f}")


if __name__ == "__main__":
    asyncio.run(main())
