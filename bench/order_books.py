"""What decoding and encoding an order book costs, by levels and by the form of the levels.

    python bench/order_books.py [--rows 5_000] [--levels 20] [--repeat 7]

CPU time of one thread, the least of several runs. `the reader alone` is pyarrow.json over joined lines, nothing checked and
nothing converted; `one by one` is what becomes of books whose levels no other way can read.
"""

from __future__ import annotations

import argparse
import json
import random

import pyarrow as pa
from pyarrow import json as arrow_json

from bench.cpu import least
from streamer.decode.decoder import JsonDecoder
from streamer.layout import LEVELS, Layout
from streamer.records import BatchRange, RecordChunk, TopicPartition
from streamer.schemas import columns_of
from streamer.write.batch_files import BatchWriter

DECIMALS = "list<struct<price: decimal128(38,18), quantity: decimal128(38,18)>>"
START_MS = 1_767_398_400_000
TEXTS = pa.list_(pa.list_(pa.string()))
READ_AS = pa.schema(
    [("symbol", pa.string()), ("timestamp", pa.int64()), ("lastUpdateId", pa.int64()), ("bids", TEXTS), ("asks", TEXTS)]
)


def books(rows: int, levels: int, form: str) -> RecordChunk:
    """Books around a price that wanders. form: `strings`, `numbers`, `objects`, or `four` (two strings and two more)."""
    chance = random.Random(1)
    middle = 68_120.0
    values: list[bytes | None] = []
    for number in range(rows):
        middle += chance.gauss(0, 1)
        sides = [[_level(middle + sign * (n + 1) / 10, chance.random() * 3, form) for n in range(levels)] for sign in (-1, 1)]
        body = {
            "symbol": "BTCUSDT",
            "timestamp": START_MS + number * 100,
            "lastUpdateId": 71_000_000 + number,
            "bids": sides[0],
            "asks": sides[1],
        }
        values.append(json.dumps(body, separators=(",", ":")).encode())
    times = [START_MS + n for n in range(rows)]
    return RecordChunk(TopicPartition("orderbooks", 0), 0, rows, list(range(rows)), times, [None] * rows, values)


def _level(price: float, quantity: float, form: str) -> object:
    texts = [f"{price:.2f}", f"{quantity:.5f}"]
    if form == "numbers":
        return [float(text) for text in texts]
    if form == "objects":
        return {"price": texts[0], "size": texts[1]}
    return texts if form == "strings" else [*texts, "0", "4"]


def read_alone(chunk: RecordChunk) -> pa.Table:
    blob = b"\n".join(value for value in chunk.values if value is not None)
    options = arrow_json.ReadOptions(use_threads=False, block_size=len(blob) + 1)
    return arrow_json.read_json(pa.BufferReader(blob), options, arrow_json.ParseOptions(explicit_schema=READ_AS))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rows", type=int, default=5_000)
    arguments.add_argument("--levels", type=int, default=20)
    arguments.add_argument("--repeat", type=int, default=7)
    options = arguments.parse_args()
    pa.set_cpu_count(1)

    def say(what: str, seconds: float, remark: str = "") -> None:
        print(f"  {what:<44}{seconds / options.rows * 1e6:8.1f} µs a book{remark}")

    for form in ("strings", "numbers", "objects", "four"):
        chunk = books(options.rows, options.levels, form)
        print(f"{options.levels} levels a side as {form}: {chunk.payload_bytes / options.rows:,.0f} bytes a message")
        if form == "strings":
            say("the reader alone", least(lambda chunk=chunk: read_alone(chunk), options.repeat))  # type: ignore[misc]
        for name, levels in (("float64", LEVELS), ("decimals", DECIMALS)) if form == "strings" else (("float64", LEVELS),):
            unknown = "drop" if form == "four" else "extra"
            columns = columns_of("orderbook", types={"bids": levels, "asks": levels})
            layout = Layout("orderbooks", "orderbook", columns, "", unknown=unknown)  # type: ignore[arg-type]
            quick, slow = JsonDecoder(layout, one_by_one=False), JsonDecoder(layout, columnar=False)
            say(f"{name}, in columns", least(lambda d=quick, c=chunk: d.decode(c), options.repeat))  # type: ignore[misc]
            say(f"{name}, one by one", least(lambda d=slow, c=chunk: d.decode(c), options.repeat))  # type: ignore[misc]
            if form != "strings":
                continue
            table, writer = quick.decode(chunk).table, BatchWriter(layout)
            range_ = BatchRange(chunk.source, 0, options.rows)
            size = sum(len(file.encode().body) for file in writer.plan(range_, [table], []).files)
            encoding = least(
                lambda w=writer, t=table, r=range_: [f.encode() for f in w.plan(r, [t], []).files],  # type: ignore[misc]
                options.repeat,
            )
            say(f"{name}, as Parquet", encoding, f", {size / options.rows:,.0f} bytes")


if __name__ == "__main__":
    main()
