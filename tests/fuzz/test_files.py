"""Data files and dead-letter files, damaged: what cannot be read is `Unreadable`, and nothing else comes of it."""

from __future__ import annotations

import asyncio
import gzip
import io

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from streamer.keys import data_key, dead_letter_key
from streamer.lake.fetched_ranges import fetch_parquet
from streamer.lake.inventory import Folder, LakeFile
from streamer.lake.letters import parse_letters
from streamer.lake.ndjson_rows import parse_rows
from streamer.lake.stored_file import Unreadable, decompressed, read_file
from streamer.records import BatchRange, TopicPartition
from streamer.store.contract import Overwrite
from streamer.store.memory import MemoryStore
from streamer.testing.manual_clock import ManualClock
from streamer.workers import InlineWorkers
from tests.fuzz.mutations import damaged, torn
from tests.fuzz.profile import examples
from tests.unit.decode.decoding import LAYOUTS, chunk_of, slowly

RANGE = BatchRange(TopicPartition("market", 3), 100, 104)
SCHEMA = LAYOUTS["tick, every type"].arrow_schema
TABLE = slowly(
    LAYOUTS["tick, every type"], chunk_of([b'{"symbol":"B","price":1,"tags":["a"],"bid":"1.5","x":{"y":1}}'] * 2)
).table.drop_columns(["_crc"])
LETTER = {
    "topic": "market", "partition": 3, "offset": 100, "timestamp": 1767434400000, "key": None, "value": "e30=",
    "headers": [["h", "AA=="], ["n", None]], "reason": "invalid_json", "detail": "",
}  # fmt: skip
ROW = {
    "symbol": "B", "price": 1.5, "timestamp": "2026-01-03T10:00:00.123456Z", "bid": "1.5", "day": "2026-01-03", "blob": "AA==",
    "tags": ["a"], "sizes": [1.0], "received": "2026-01-03T10:00:00.123456789Z", "extra": {"a": [1]}, "_partition": 3,
    "_offset": 100, "_timestamp": "2026-01-03T10:00:00.123Z", "_key": "AA==", "count": 5, "level": 1, "is_maker": True,
}  # fmt: skip


def parquet_of(table: pa.Table) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file, compression="zstd")
    return file.getvalue()


PARQUET = parquet_of(TABLE)
FOOTER_BYTES = int.from_bytes(PARQUET[-8:-4], "little") + 8


@examples(150)
@given(damaged(orjson.dumps(LETTER)), st.booleans())
def test_lines_of_dead_letters(line: bytes, ended: bool) -> None:
    try:
        letters = parse_letters(line + b"\n" * ended)
    except ValueError as error:
        assert str(error)  # noqa: PT017 -- what is raised is what is tested
        return
    for letter in letters:
        assert isinstance(letter.source.topic, str)
        orjson.dumps(letter.document())


@examples(200)
@given(damaged(orjson.dumps(ROW)))
def test_lines_of_rows(line: bytes) -> None:
    try:
        table = parse_rows(line + b"\n", SCHEMA, None)
    except (ValueError, pa.ArrowException) as error:
        assert str(error)  # noqa: PT017
        return
    table.validate(full=True)


@examples(150)
@given(st.one_of(torn(gzip.compress(b"text\n" * 5, mtime=0)), torn(pa.compress(b"text\n" * 5, "zstd", asbytes=True))))
def test_compressed_texts(body: bytes) -> None:
    for suffix in ("ndjson.gz", "ndjson.zst"):
        try:
            decompressed(body, suffix)
        except (ValueError, OSError) as error:
            assert str(error)  # noqa: PT017


async def _opened(key: str, folder: Folder, body: bytes) -> None:
    store = MemoryStore(ManualClock())
    await store.put(key, body, mode=Overwrite())
    try:
        stored = await read_file(store, LakeFile(folder, RANGE, len(body)), None, SCHEMA, InlineWorkers())
    except Unreadable as error:
        assert str(error)  # noqa: PT017
        return
    assert stored.rows is not None


@examples(150)
@given(torn(PARQUET))
def test_a_parquet_file(body: bytes) -> None:
    folder = Folder("ticks", "date=2026-01-03", "parquet", dead_letters=False)
    asyncio.run(_opened(data_key("ticks", "date=2026-01-03", RANGE, "parquet"), folder, body))


# The footer stays whole: where a column's size statistics are damaged, pyarrow's `RowGroupMetaData.column` ends the process by
# a C++ exception that nobody catches. docs/security.md names it among what is left.
@examples(100)
@given(torn(PARQUET[:-FOOTER_BYTES]).map(lambda data: data + PARQUET[-FOOTER_BYTES:]))
def test_a_parquet_file_read_by_ranges(body: bytes) -> None:
    async def read() -> pa.Table | None:
        store = MemoryStore(ManualClock())
        await store.put("k", body, mode=Overwrite())
        try:
            return (await fetch_parquet(store, "k", len(body), None)).read(use_threads=False)
        except (pa.ArrowException, OSError, ValueError):
            return None

    found = asyncio.run(read())
    assert found is None or found.num_rows >= 0


@examples(60)
@given(damaged(orjson.dumps(LETTER)))
def test_a_file_of_dead_letters(line: bytes) -> None:
    folder = Folder("ticks", "date=2026-01-03", "ndjson.gz", dead_letters=True)
    asyncio.run(_opened(dead_letter_key("ticks", "2026-01-03", RANGE), folder, gzip.compress(line + b"\n", mtime=0)))
