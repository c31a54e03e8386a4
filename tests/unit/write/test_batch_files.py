"""A batch as files: nothing lost, nothing double, nothing that a second attempt would do otherwise."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from decoded_tables import BUDGET, DAY_US, MIDNIGHT_US, TICKS, batch, decoded, divided, layout, letter, row_lists
from hypothesis import given
from hypothesis import strategies as st

from streamer.errors import Invalid, StreamerError
from streamer.keys import parse_data_key
from streamer.layout import Layout
from streamer.records import BatchRange, TopicPartition
from streamer.write.batch_files import BatchWriter, DataFile, recognise

LAYOUT = layout()
NDJSON = layout(format="ndjson.gz")
MIDNIGHT_MS = MIDNIGHT_US // 1000
DAY_MS = DAY_US // 1000


def _rows_of(file: DataFile) -> list[dict[str, Any]]:
    if file.key.endswith(".parquet"):
        return list(pq.read_table(pa.BufferReader(file.body)).to_pylist())
    return [json.loads(line) for line in gzip.decompress(file.body).splitlines()]


def _files(of: Layout, rows: list[dict[str, Any]], dead: list[int] | None = None, lineage: int = 0) -> list[DataFile]:
    end = max([row.get("_offset", at) for at, row in enumerate(rows)] + (dead or []), default=0) + 1
    letters = [letter(offset, MIDNIGHT_MS + offset * DAY_MS) for offset in dead or []]
    plan = BatchWriter(of).plan(batch(0, end, lineage), [decoded(of, rows)], letters)
    return [file.encode() for file in plan.files]


@st.composite
def _batches(draw: st.DrawFn) -> tuple[list[dict[str, Any]], list[Any]]:
    """Rows and dead letters that share one range."""
    rows = draw(row_lists())
    refused = draw(st.sets(st.integers(0, len(rows)))) if rows else set()
    dead = [rows[at]["_offset"] for at in sorted(refused) if at < len(rows)]
    kept = [row for row in rows if row["_offset"] not in dead]
    return kept, [letter(offset, draw(st.integers(-1, 2**45))) for offset in dead]


@BUDGET
@given(_batches(), st.sampled_from([LAYOUT, layout("date={date}"), layout("")]))
def test_every_row_and_every_dead_letter_is_in_exactly_one_file_in_kafkas_order(
    records: tuple[list[dict[str, Any]], list[Any]], of: Layout
) -> None:
    rows, letters = records
    files = [file.encode() for file in BatchWriter(of).plan(batch(0, 1000), [decoded(of, rows)], letters).files]

    found: Counter[int] = Counter()
    for file in files:
        offsets = [row["_offset" if file.key.startswith("raw/") else "offset"] for row in _rows_of(file)]
        assert offsets == sorted(offsets)
        assert file.rows == len(offsets) > 0
        found.update(offsets)
    assert found == Counter([row["_offset"] for row in rows] + [dead.offset for dead in letters])
    assert len(files) == len({file.key for file in files})


@BUDGET
@given(_batches(), st.lists(st.integers(0, 9), max_size=6))
def test_a_second_attempt_writes_the_same_files_however_the_records_arrived(
    records: tuple[list[dict[str, Any]], list[Any]], sizes: list[int]
) -> None:
    rows, letters = records
    writer, table = BatchWriter(LAYOUT), decoded(LAYOUT, rows)

    first = [file.encode() for file in writer.plan(batch(0, 1000), [table], letters).files]
    # Another process: another writer, other chunks, dead letters in another order.
    second = BatchWriter(layout()).plan(batch(0, 1000), divided(table, sizes), letters[::-1])
    assert first == [file.encode() for file in second.files]


@BUDGET
@given(_batches(), st.integers(0, 3))
def test_a_key_says_stream_path_and_range(records: tuple[list[dict[str, Any]], list[Any]], lineage: int) -> None:
    rows, letters = records
    for file in BatchWriter(LAYOUT).plan(batch(0, 1000, lineage), [decoded(LAYOUT, rows)], letters).files:
        key = parse_data_key(file.key)

        assert key is not None
        assert (key.stream, key.range, key.dead_letters) == ("ticks", batch(0, 1000, lineage), file.dead_letters)
        assert len(file.key) < 900
        assert file.key.isascii()


@BUDGET
@given(_batches())
def test_metadata_tells_of_the_file_and_of_its_siblings(records: tuple[list[dict[str, Any]], list[Any]]) -> None:
    rows, letters = records
    files = [file.encode() for file in BatchWriter(LAYOUT).plan(batch(0, 1000), [decoded(LAYOUT, rows)], letters).files]

    for file in files:
        facts = file.metadata
        assert facts["rows"] == str(file.rows)
        assert facts["layout"] == LAYOUT.fingerprint
        assert (facts["batch_rows"], facts["batch_dead_letters"]) == (str(len(rows)), str(len(letters)))
        assert facts["batch_files"] == str(len(files))
        assert sum(len(name) + len(value) for name, value in facts.items()) < 2048
        assert all(text.isascii() and text.isprintable() for text in (*facts, *facts.values()))
        if file.key.endswith(".parquet"):
            footer = pq.read_metadata(pa.BufferReader(file.body)).metadata
            ours = {name.decode(): value.decode() for name, value in footer.items() if name.startswith(b"streamer.")}
            assert ours == {f"streamer.{name}": value for name, value in facts.items()}


def test_metadata_of_the_longest_names_and_numbers_fits() -> None:
    source = TopicPartition("t" * 249, 2**31 - 1)
    range_ = BatchRange(source, 2**63 - 3, 2**63 - 1, 10**6)
    of = layout("x={symbol}/{date}", stream="s" * 64)
    table = decoded(of, [{"symbol": "é" * 500, "_offset": 2**63 - 3}])

    (file,) = [planned.encode() for planned in BatchWriter(of).plan(range_, [table], ()).files]
    assert sum(len(name) + len(value) for name, value in file.metadata.items()) < 2048
    assert len(file.key) < 900


def test_a_symbol_cannot_leave_its_folder() -> None:
    (file,) = _files(LAYOUT, [{"symbol": "../../../_streamer/positions/ticks"}])

    assert file.key.startswith("raw/ticks/symbol=%2E.%2F..%2F..%2F_streamer%2Fpositions%2Fticks/date=2024-01-01/ticks-00003-")


def test_dead_letters_are_placed_by_the_date_of_their_kafka_timestamp() -> None:
    letters = [letter(0, -1), letter(1, MIDNIGHT_MS), letter(2, MIDNIGHT_MS - 1), letter(3, MIDNIGHT_MS + 5)]
    plan = BatchWriter(LAYOUT).plan(batch(0, 4), [], letters)

    name = "ticks-00003-00000000000000000000-00000000000000000004.ndjson.gz"
    assert [f"dead-letters/ticks/date={date}/{name}" for date in ("1970-01-01", "2023-12-31", "2024-01-01")] == [
        file.key for file in plan.files
    ]
    assert (plan.rows, plan.dead_letters) == (0, 4)
    assert [file.rows for file in plan.files] == [1, 1, 2]


def test_a_range_without_a_record_has_no_file() -> None:
    plan = BatchWriter(LAYOUT).plan(batch(0, 4), [], ())

    assert (plan.files, plan.rows, plan.dead_letters) == ((), 0, 0)


def test_files_can_be_encoded_in_several_threads_in_any_order() -> None:
    rows = [{"symbol": f"S{n % 20}"} for n in range(2000)]
    plan = BatchWriter(LAYOUT).plan(batch(0, 2000), [decoded(LAYOUT, rows)], ())

    with ThreadPoolExecutor(4) as threads:
        threaded = list(threads.map(lambda file: file.encode(), reversed(plan.files)))
    assert [file.encode() for file in plan.files] == threaded[::-1]


@pytest.mark.parametrize(
    ("rows", "dead"),
    [
        ([{"_offset": 5}, {"_offset": 5}], []),
        ([{"_offset": 6}, {"_offset": 5}], []),
        ([{"_offset": 4}], []),
        ([{"_offset": 10}], []),
        ([{"_offset": 5}], [5]),
        ([{"_offset": 5}], [6, 6]),
        ([{"_offset": 5}], [10]),
    ],
)
def test_rows_that_are_not_those_of_the_range_are_never_written(rows: list[dict[str, Any]], dead: list[int]) -> None:
    with pytest.raises(StreamerError):
        BatchWriter(LAYOUT).plan(batch(5, 10), [decoded(LAYOUT, rows)], [letter(offset) for offset in dead])


def test_rows_of_another_layout_are_never_written() -> None:
    other = layout(unknown="drop")

    with pytest.raises(StreamerError, match="columns"):
        BatchWriter(LAYOUT).plan(batch(0, 1), [decoded(other, [{}])], ())


def test_a_layout_with_a_path_that_is_none_has_no_writer() -> None:
    with pytest.raises(Invalid):
        BatchWriter(layout("{price}"))


class TestRecognise:
    """The rule for a file that was already there."""

    def test_the_same_records_are_the_same_file_whatever_the_bytes(self) -> None:
        (mine,) = _files(LAYOUT, [{}, {}])

        for head_lost in (False, True):
            assert recognise({**mine.metadata, "batch_files": "9", "version": "2"}, mine, head_lost=head_lost) == "same"

    @pytest.mark.parametrize("name", ["topic", "partition", "lineage", "start", "end", "layout"])
    @pytest.mark.parametrize("head_lost", [False, True])
    def test_another_identity_is_another_file(self, name: str, head_lost: bool) -> None:
        (mine,) = _files(LAYOUT, [{}, {}])

        assert recognise({**mine.metadata, name: "77", "rows": "9"}, mine, head_lost=head_lost) == "other"
        assert recognise({k: v for k, v in mine.metadata.items() if k != name}, mine, head_lost=head_lost) == "other"

    def test_a_file_with_more_of_a_range_that_kafka_has_lost_wins(self) -> None:
        (fuller,) = _files(LAYOUT, [{}, {}, {}])
        (mine,) = _files(LAYOUT, [{"_offset": 1, "_crc": 7919}, {"_offset": 2, "_crc": 15838}])

        assert recognise(fuller.metadata, mine, head_lost=True) == "fuller"
        assert recognise(fuller.metadata, mine, head_lost=False) == "other"
        assert recognise(mine.metadata, fuller, head_lost=True) == "other"

    @pytest.mark.parametrize("changed", [{"digest": "0" * 32}, {"rows": "1"}, {"rows": ""}, {"rows": "-9"}, {"rows": "many"}])
    def test_a_file_with_other_or_fewer_records_is_another(self, changed: dict[str, str]) -> None:
        (mine,) = _files(LAYOUT, [{}, {}])

        for head_lost in (False, True):
            assert recognise({**mine.metadata, **changed}, mine, head_lost=head_lost) == "other"

    def test_a_file_without_metadata_is_another(self) -> None:
        (mine,) = _files(NDJSON, [{}])

        assert recognise({}, mine, head_lost=True) == "other"

    def test_parquet_and_ndjson_of_a_range_are_told_apart_by_their_layout(self) -> None:
        (parquet,), (ndjson,) = _files(LAYOUT, [{}]), _files(NDJSON, [{}])

        assert parquet.metadata["digest"] == ndjson.metadata["digest"]
        assert recognise(parquet.metadata, ndjson, head_lost=True) == "other"


def test_the_folder_of_a_lineage_is_the_same_and_its_name_is_not() -> None:
    (first,), (second,) = _files(LAYOUT, [{}]), _files(LAYOUT, [{}], lineage=2)

    assert first.key.removesuffix(".parquet") + "-l2.parquet" == second.key
    assert second.metadata["lineage"] == "2"
    assert TICKS.topic == second.metadata["topic"]


def test_duckdb_and_pyarrow_read_a_value_from_its_folder_as_it_is_in_the_file(tmp_path: Path) -> None:
    of = layout("exchange={exchange}/date={date}")
    exchanges = ["binance", "a/b", "../x", "_x", "é 😀", "100%", "a=b", None]
    for file in _files(of, [{"exchange": exchange} for exchange in exchanges]):
        (tmp_path / file.key).parent.mkdir(parents=True)
        (tmp_path / file.key).write_bytes(file.body)

    files = f"{tmp_path}/raw/ticks/**/*.parquet"
    found = duckdb.sql(f"SELECT exchange FROM read_parquet('{files}', hive_partitioning = true) ORDER BY _offset").fetchall()
    assert [value for (value,) in found] == exchanges
    hive = ds.dataset(tmp_path / "raw" / "ticks", partitioning="hive").to_table().sort_by("_offset")
    assert hive["exchange"].to_pylist() == exchanges
    assert set(hive["date"].to_pylist()) == {"2024-01-01"}
