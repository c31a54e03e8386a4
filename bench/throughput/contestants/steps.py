"""One step of the way alone, on made ticks in memory, in one thread.

    python -m bench.throughput.contestants.steps json|parquet|decode|encode|upload PATH RECORDS [SYMBOLS]

`json` is pyarrow.json over joined lines and `parquet` one pyarrow file a path, with none of streamer's code: the limits.
`decode`, `encode` and `upload` are streamer's own steps, guards, digests and conditional PUTs included. `upload` needs LAKE, an
s3:// address.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from collections.abc import Callable, Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import json as arrow_json

from bench.throughput.places import Places
from bench.throughput.processes import BEGIN, END, say
from bench.throughput.ticks import made_ticks
from streamer.arrow_process import set_up_arrow
from streamer.batch.memory_budget import MemoryBudget
from streamer.config.load import load
from streamer.config.stream_layouts import streams
from streamer.decode.decoder import make_decoder
from streamer.layout import CRC_COLUMN, Layout
from streamer.metrics import Metrics
from streamer.records import BatchRange, RecordChunk, TopicPartition
from streamer.store.s3 import S3Store
from streamer.upload import Uploads
from streamer.workers import ThreadWorkers
from streamer.write.batch_files import BatchWriter

CHUNK = 10_000
"""Records of one chunk, about what a fetch brings of one partition."""

BATCH = 250_000
"""Rows of one batch: what four partitions hold each when a budget of 256 MiB makes them write."""

TICKS = TopicPartition("ticks", 0)


def layout_of(path: str) -> Layout:
    """The built-in stream of ticks, placed by `path`."""
    return streams(load(lake="file:///nowhere", environment={"STREAMER__STREAMS__TICKS__PATH": path}))[0].layout


def chunks(records: int, symbols: int) -> Iterator[RecordChunk]:
    """Made ticks as the source delivers them."""
    for start in range(0, records, CHUNK):
        values: list[bytes | None] = list(made_ticks(CHUNK, symbols=symbols, first=start))
        offsets = list(range(start, start + CHUNK))
        yield RecordChunk(TICKS, start, start + CHUNK, offsets, [1_767_603_600_000] * CHUNK, [None] * CHUNK, values)


SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("symbol", "price", "quantity", "side", "exchange", "trade_id")]
    + [("timestamp", pa.timestamp("us", tz="UTC"))]
)


def parse(chunk: RecordChunk) -> pa.Table:
    """The limit of decoding: strings to columns, nothing checked, nothing converted but the time."""
    blob = b"\n".join(value for value in chunk.values if value is not None)
    return arrow_json.read_json(
        pa.BufferReader(blob),
        arrow_json.ReadOptions(use_threads=False, block_size=len(blob) + 1),
        arrow_json.ParseOptions(explicit_schema=SCHEMA),
    )


def write_parquet(table: pa.Table, by_symbol: bool) -> Iterator[bytes]:
    """The limit of encoding: rows parted by symbol, or not, and zstd Parquet with pyarrow's defaults but for dictionaries."""
    parts = [table]
    if by_symbol:
        ordered = table.take(pc.sort_indices(table["symbol"]))
        counts = pc.value_counts(ordered["symbol"].combine_chunks()).to_pylist()
        ends = pa.array([0, *(count["counts"] for count in counts)]).to_pylist()
        parts, start = [], 0
        for length in ends[1:]:
            parts.append(ordered.slice(start, length))
            start += length
    for part in parts:
        sink = pa.BufferOutputStream()
        pq.write_table(part, sink, compression="zstd", compression_level=1, use_dictionary=["symbol", "side", "exchange"])
        yield sink.getvalue()


def repeat(work: Callable[[], int], records: int) -> None:
    """Do `work` until so many records are done, and say what it took."""
    work()  # the first time finds memory and libraries cold, and is start
    gc.collect()
    say(BEGIN)
    done = 0
    while done < records:
        done += work()
    say(END, records=done)


def main(step: str, path: str, records: int, symbols: int) -> None:
    gc.set_threshold(50_000, 20, 50)
    set_up_arrow()
    layout = layout_of(path)
    decoder, writer = make_decoder(layout), BatchWriter(layout)
    some = list(chunks(10 * CHUNK, symbols))

    def all_of(do: Callable[[RecordChunk], pa.Table]) -> Callable[[], int]:
        return lambda: sum(do(chunk).num_rows for chunk in some)

    if step == "json":
        return repeat(all_of(parse), records)
    if step == "decode":
        return repeat(all_of(lambda chunk: decoder.decode(chunk).table), records)
    tables = [decoder.decode(chunk).table for chunk in chunks(BATCH, symbols)]
    range_ = BatchRange(TICKS, 0, BATCH)
    if step == "parquet":
        whole = pa.concat_tables(tables).drop_columns([CRC_COLUMN, "extra", "_key"])
        return repeat(lambda: whole.num_rows * bool(list(write_parquet(whole, "{symbol}" in path))), records)
    if step == "encode":
        return repeat(lambda: BATCH * bool([file.encode() for file in writer.plan(range_, tables, []).files]), records)
    if step == "upload":
        return asyncio.run(upload(writer, tables, records))
    raise SystemExit(f"no step {step!r}")


async def upload(writer: BatchWriter, tables: list[pa.Table], records: int) -> None:
    """PUTs of files that are encoded already, as many at a time as the daemon makes."""
    environment = os.environ
    places = Places("", "|".join(environment[f"AWS_{name}"] for name in ("ENDPOINT_URL", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY")))
    bucket, _, prefix = environment["LAKE"].removeprefix("s3://").partition("/")
    store = S3Store(bucket, prefix, places.settings())
    uploads = Uploads(store, ThreadWorkers(1), MemoryBudget(256 << 20), Metrics(), slots=16)
    batches = [writer.plan(BatchRange(TICKS, 0, BATCH, lineage), tables, []) for lineage in range(records // BATCH + 1)]
    encoded = [[file.encode() for file in batch.files] for batch in batches]
    slots = asyncio.Semaphore(16)

    async def put(number: int, at: int) -> None:
        async with slots:
            await uploads._put(encoded[number][at], head_lost=False)

    await asyncio.gather(*(put(0, at) for at in range(len(encoded[0]))))
    say(BEGIN)
    for number in range(1, len(encoded)):
        await asyncio.gather(*(put(number, at) for at in range(len(encoded[number]))))
    say(END, records=BATCH * (len(encoded) - 1), files=sum(map(len, encoded[1:])))
    await store.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]) if len(sys.argv) > 4 else 50)
