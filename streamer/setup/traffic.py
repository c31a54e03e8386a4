"""What comes in: how many records, how large, for how many folders; and how many bytes of a file they become.

Sizes are measured by the daemon's own decoder and encoder on a sample: records of the topic, or, where there are none, messages
of the demo's market. Rates are measured on a topic or stated; none is guessed.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING

import orjson

from streamer.decode.decoder import make_decoder
from streamer.errors import Invalid
from streamer.records import BatchRange, RecordChunk, TopicPartition
from streamer.write.batch_files import BatchWriter
from streamer.write.partition_path import PartitionPath

if TYPE_CHECKING:
    import pyarrow as pa

    from streamer.layout import Layout
    from streamer.streams import Stream

SAMPLE_OF_MARKET = 4000
_TOPIC_OF_MARKET = {
    "tick": "ticks",
    "signal": "signals",
    "feature": "features",
    "orderbook": "ticks",
    "pulse": "signals",
    "raw": "ticks",
}
_LEVELS_OF_A_BOOK = 20
_TICKS_PER_SECOND = {"ticks": 100.0, "signals": 1.0, "features": 2.0}
"""The market makes signals and features by the clock, ticks by this rate: fewer of those that are not asked for."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """message_bytes: keys and values of a record, mean. row_bytes: what one more row adds to a file; file_bytes: what a file
    takes beside its rows. folders: partition paths seen, of one day; folders_each: of one partition of the topic, mean.
    origin: what was measured, for people."""

    message_bytes: float
    row_bytes: float
    file_bytes: float
    folders: int
    origin: str
    folders_each: float = 1.0


@dataclass(frozen=True, slots=True)
class Traffic:
    """One stream's. folders: partition paths of a day, such as symbols, over all partitions. folders_each: of one partition;
    None where symbols are keys, so that each has its partition."""

    records_per_second: float
    partitions: int
    folders: int
    sizes: Sizes
    rate_origin: str
    folders_each: float | None = None


def measured_rate(chunks: Sequence[RecordChunk]) -> float:
    """Records a second over the times of a sample, one chunk a partition. Raises `Invalid` where all have the same time."""
    rate = 0.0
    for chunk in chunks:
        seconds = (max(chunk.timestamps) - min(chunk.timestamps)) / 1000 if len(chunk) > 1 else 0.0
        if seconds > 0:
            rate += (len(chunk) - 1) / seconds
    if rate == 0.0:
        raise Invalid(
            "the newest records do not tell a rate: there are too few, or all have the same time",
            hint="state it: --rate STREAM=RECORDS_PER_SECOND",
        )
    return rate


def measured_sizes(stream: Stream, chunks: Sequence[RecordChunk], origin: str) -> Sizes:
    """The sizes of the sample's records. Without a single row in it a row counts as large as its message."""
    records = sum(map(len, chunks))
    message_bytes = sum(chunk.payload_bytes for chunk in chunks) / max(1, records)
    decoder = make_decoder(stream.layout)
    tables = [(chunk, decoder.decode(chunk).table) for chunk in chunks]
    if not any(table.num_rows for _, table in tables):
        return Sizes(message_bytes, message_bytes, 0.0, 1, f"{origin}, of which no record became a row")
    chunk, largest = max(tables, key=lambda pair: pair[1].num_rows)
    path = PartitionPath.parse(stream.layout.path, stream.layout.columns)
    each = [{folder for folder, _ in path.groups(table)} for _, table in tables if table.num_rows]
    folders = set().union(*each)
    row_bytes, file_bytes = _encoded(stream.layout, chunk, largest)
    return Sizes(message_bytes, row_bytes, file_bytes, len(folders), origin, sum(map(len, each)) / len(each))


def of_the_market(stream: Stream) -> Sizes:
    """The sizes that the demo's market has, for want of records of one's own."""
    from streamer.embedded.market import Market

    wanted = _TOPIC_OF_MARKET[stream.layout.schema]
    start = datetime(2024, 1, 1, 12, tzinfo=UTC)
    messages = (message for _, message in Market(1, start, _TICKS_PER_SECOND[wanted]).messages() if message.topic == wanted)
    sample = list(islice((message for message in messages if message.refusal is None), SAMPLE_OF_MARKET))
    count = len(sample)
    stamps = [int(start.timestamp() * 1000) + number for number in range(count)]
    values = [message.value for message in sample]
    origin = "messages of the demo's market"
    if stream.layout.schema == "orderbook":
        values = [_book(value or b"{}") for value in values]
        origin += f", made books of {_LEVELS_OF_A_BOOK} levels a side"
    keys = [message.key for message in sample]
    chunk = RecordChunk(TopicPartition(stream.topic, 0), 0, count, list(range(count)), stamps, keys, values)
    return measured_sizes(stream, [chunk], origin)


def _book(tick: bytes) -> bytes:
    """A book around the price of a tick, as exchanges send one."""
    body = orjson.loads(tick)
    price, number = float(body.get("p") or body["price"]), zlib.crc32(tick)
    sides = {
        name: [
            [f"{price * (1 + sign * n / 1e4):.2f}", f"{(number * n) % 99_991 / 1e4:.4f}"]
            for n in range(1, _LEVELS_OF_A_BOOK + 1)
        ]
        for name, sign in (("bids", -1), ("asks", 1))
    }
    return orjson.dumps({"symbol": body.get("s") or body["symbol"], "lastUpdateId": number, **sides})


def _encoded(layout: Layout, chunk: RecordChunk, table: pa.Table) -> tuple[float, float]:
    """What a row adds to a file, and what a file takes beside: from a whole sample in one file and a tenth of it in another."""
    writer = BatchWriter(replace(layout, path=""))
    range_ = BatchRange(chunk.source, chunk.start, chunk.end)

    def size(some: pa.Table) -> int:
        return sum(len(file.encode().body) for file in writer.plan(range_, [some], []).files)

    rows = table.num_rows
    few = max(1, rows // 10)
    whole_bytes, few_bytes = size(table), size(table.slice(0, few))
    if rows <= few:
        return whole_bytes / rows, 0.0
    row_bytes = max(0.1, (whole_bytes - few_bytes) / (rows - few))
    return row_bytes, max(0.0, few_bytes - few * row_bytes)
