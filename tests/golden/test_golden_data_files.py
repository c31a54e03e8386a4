"""Data files and dead-letter files, byte for byte as an earlier release wrote them from the same records."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from golden_files import Golden

from streamer.keys import parse_data_key
from streamer.layout import Column, Layout
from streamer.records import BatchRange, DeadLetter, DeadLetterReason, TopicPartition, record_crcs
from streamer.write.batch_files import BatchWriter, DataFile

RANGE = BatchRange(TopicPartition("market.ticks", 7), 1_000, 1_012, lineage=1)
NOON_US = 1_704_110_400_000_000  # 2024-01-01T12:00:00Z
DAY_US = 86_400_000_000

TICKS = (
    Column("symbol", "string", required=True, aliases=("ticker", "s")),
    Column("price", "float64", required=True),
    Column("quantity", "decimal128(38,18)"),
    Column("side", "string"),
    Column("is_maker", "bool"),
    Column("level", "int32"),
    Column("expiry", "date32"),
    Column("features", "map<string, float64>"),
    Column("tags", "list<string>"),
    Column("timestamp", "timestamp[us, UTC]"),
)
LAYOUTS = {
    "parquet": Layout("ticks", "tick", TICKS, "symbol={symbol}/date={date}"),
    "zstd": Layout("ticks_zst", "tick", TICKS, "{%Y/%m}/side={side}", "ndjson.zst"),
    "gzip": Layout("ticks_gz", "tick", TICKS, "date={date}/hour={hour}", "ndjson.gz"),
    "raw": Layout("frames", "raw", (Column("value", "binary"),), "date={date}"),
}
SYMBOLS = ("BTCUSDT", "BTC/USDT", "../../etc", "", "😀", "x" * 200, "_hidden", "BTCUSDT")
ROWS: list[dict[str, Any]] = [
    {
        "symbol": symbol,
        "price": (42_000.5, 0.1, -0.0, 1e300, float("nan"), float("inf"), 5e-324, 1 / 3)[n],
        "quantity": (None, Decimal("0.000000000000000001"), Decimal(-7), None)[n % 4],
        "side": ("buy", "sell", None)[n % 3],
        "is_maker": (True, False, None)[n % 3],
        "level": (n - 3) * 2**28,
        "expiry": date(2024, 3, 29) if n % 2 else None,
        "features": ([("rsi", 55.25), ("vol", None)], [], None)[n % 3],
        "tags": (["a", None, "é\n\u2028"], None)[n % 2],
        "timestamp": NOON_US + n * DAY_US // 4 + n,
        "extra": (None, '{"id":12345678901234567890.10,\n "x": [1, null]}')[n % 2],
        "value": bytes(range(n, 3 * n)),
        "_partition": RANGE.source.partition,
        "_offset": RANGE.start + n + n // 4,
        "_timestamp": (NOON_US + n * DAY_US // 4) // 1000 + 7 if n != 5 else None,
        "_key": symbol.encode()[:8] if n % 2 else None,
        "_crc": record_crcs([None], [b"%d" % n])[0],
    }
    for n, symbol in enumerate(SYMBOLS)
]
LETTERS = (
    DeadLetter(1_004, -1, None, None, (), DeadLetterReason.TOMBSTONE, "the value is null"),
    DeadLetter(
        1_010, NOON_US // 1000, b"k\xff", b'{"a":', (("h", b"\x00"), ("n", None)), DeadLetterReason.INVALID_JSON, "cut é\ud800"
    ),
    DeadLetter(1_011, NOON_US // 1000 + 1, b"", b"", (), DeadLetterReason.EMPTY, ""),
)
NAMES = sorted(LAYOUTS)


def _files(layout: Layout) -> list[DataFile]:
    schema = layout.decoded_schema
    table = pa.table([pa.array([row[f.name] for row in ROWS], f.type) for f in schema], schema=schema)
    return [file.encode() for file in BatchWriter(layout).plan(RANGE, [table], LETTERS).files]


def _json(value: object) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True).encode() + b"\n"


def _plain(body: bytes, key: str) -> bytes:
    return gzip.decompress(body) if key.endswith("gz") else pa.CompressedInputStream(pa.py_buffer(body), "zstd").read()


@pytest.mark.parametrize("name", NAMES)
def test_keys_and_metadata_are_those_promised(golden: Golden, name: str) -> None:
    made = _json(
        [{"key": f.key, "content_type": f.content_type, "rows": f.rows, "metadata": f.metadata} for f in _files(LAYOUTS[name])]
    )

    assert golden.committed(f"data_files/{name}.files.json", made).decode() == made.decode()


@pytest.mark.parametrize("name", NAMES)
def test_a_recorded_layout_document_still_gives_the_same_files(golden: Golden, name: str) -> None:
    document = json.loads(golden.committed(f"data_files/{name}.layout.json", _json(LAYOUTS[name].document())))

    recorded = Layout.from_document(document)
    assert recorded.fingerprint == LAYOUTS[name].fingerprint
    assert _files(recorded) == _files(LAYOUTS[name])


@pytest.mark.parametrize("name", NAMES)
def test_files_hold_what_they_held(golden: Golden, name: str) -> None:
    # Bytes are promised under one version of the compressors; what is inside them always.
    versions = _json({"pyarrow": pa.__version__, "zlib": zlib.ZLIB_RUNTIME_VERSION})
    same_compressors = golden.committed("data_files/made_with.json", versions) == versions
    inside: Callable[[bytes, str], Any]
    for number, file in enumerate(_files(LAYOUTS[name])):
        key = parse_data_key(file.key)
        assert key is not None
        committed = golden.committed(f"data_files/{name}.{number}.{key.suffix}", file.body)

        inside = _parquet if key.suffix == "parquet" else _plain
        assert inside(committed, file.key) == inside(file.body, file.key)
        if same_compressors:
            assert committed == file.body


def _parquet(body: bytes, key: str) -> Any:
    file = pq.ParquetFile(pa.BufferReader(body))
    footer = {n: v for n, v in file.metadata.metadata.items() if n.startswith(b"streamer.")}
    columns = [file.metadata.row_group(0).column(at) for at in range(file.metadata.num_columns)]
    encodings = [(c.path_in_schema, c.physical_type, c.compression, sorted(c.encodings)) for c in columns]
    rows = str(file.read().to_pylist())  # as text, because a NaN equals nothing
    return key, footer, encodings, rows, str(file.schema_arrow.remove_metadata()), file.metadata.num_row_groups
