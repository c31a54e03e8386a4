"""The demo's proof finds what is missing, double or foreign: lakes are made by hand here, and spoiled by hand."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streamer.embedded.feed import Ledger
from streamer.embedded.market import Message
from streamer.embedded.read_back import committed, list_files, prices, read_back
from streamer.errors import StreamerError
from streamer.records import DeadLetterReason, TopicPartition

TICKS = TopicPartition("ticks", 0)
SENT: list[tuple[str, DeadLetterReason | None]] = [
    ("BTC/USDT", None),
    ("ETHUSDT", None),
    ("ETHUSDT", DeadLetterReason.RULE),
    ("BTC/USDT", None),
]


@pytest.fixture
def ledger() -> Ledger:
    ledger = Ledger()
    for offset, (symbol, refusal) in enumerate(SENT):
        ledger.add(TICKS, offset, Message("ticks", None, b"{}", symbol, refusal))
    return ledger


def write_rows(lake: Path, name: str, rows: list[tuple[int, str]], partition: int = 0) -> None:
    path = lake / "raw/ticks/date=2026-01-03" / f"{name}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {
        "_partition": pa.array([partition] * len(rows), pa.int32()),
        "_offset": pa.array([offset for offset, _ in rows], pa.int64()),
        "symbol": pa.array([symbol for _, symbol in rows], pa.string()),
        "price": pa.array([float(100 - offset) for offset, _ in rows]),
        "timestamp": pa.array([offset for offset, _ in rows], pa.timestamp("us", tz="UTC")),
    }
    pq.write_table(pa.table(columns), path)


def write_letters(lake: Path, letters: list[tuple[int, str]]) -> None:
    path = lake / "dead-letters/ticks/date=2026-01-03/letters.ndjson.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"topic": "ticks", "partition": 0, "offset": offset, "reason": reason}) for offset, reason in letters]
    path.write_bytes(gzip.compress("\n".join(lines).encode()))


def whole(lake: Path) -> None:
    write_rows(lake, "a", [(0, "BTC/USDT"), (1, "ETHUSDT")])
    write_rows(lake, "b", [(3, "BTC/USDT")])
    write_letters(lake, [(2, "rule")])


def test_a_whole_lake_is_exact(tmp_path: Path, ledger: Ledger) -> None:
    whole(tmp_path)

    found = read_back(tmp_path, ledger)

    assert found.exact
    assert found.rows == {("ticks", "BTC/USDT"): 2, ("ticks", "ETHUSDT"): 1} == ledger.rows()
    assert found.dead_letters == {"rule": 1} == ledger.refusals()


def test_a_lost_file_is_missing(tmp_path: Path, ledger: Ledger) -> None:
    whole(tmp_path)
    (tmp_path / "raw/ticks/date=2026-01-03/a.parquet").unlink()

    found = read_back(tmp_path, ledger)

    assert found.missing == [("ticks", 0, 0), ("ticks", 0, 1)]
    assert not found.exact


def test_lost_dead_letters_are_missing(tmp_path: Path, ledger: Ledger) -> None:
    whole(tmp_path)
    write_letters(tmp_path, [])

    assert read_back(tmp_path, ledger).missing == [("ticks", 0, 2)]


def test_an_empty_lake_misses_everything(tmp_path: Path, ledger: Ledger) -> None:
    assert len(read_back(tmp_path, ledger).missing) == len(SENT)


def test_a_row_in_two_files_is_double(tmp_path: Path, ledger: Ledger) -> None:
    whole(tmp_path)
    write_rows(tmp_path, "again", [(3, "BTC/USDT")])

    found = read_back(tmp_path, ledger)

    assert found.double == [("ticks", 0, 3)]
    assert not found.exact


def test_a_row_that_is_a_dead_letter_too_is_double(tmp_path: Path, ledger: Ledger) -> None:
    whole(tmp_path)
    write_letters(tmp_path, [(1, "rule"), (2, "rule")])

    assert read_back(tmp_path, ledger).double == [("ticks", 0, 1)]


@pytest.mark.parametrize(
    ("rows", "partition"),
    [([(9, "ETHUSDT")], 0), ([(-1, "ETHUSDT")], 0), ([(0, "ETHUSDT")], 1)],
    ids=["an offset that was not produced", "a negative one", "a partition without records"],
)
def test_what_nobody_produced_is_foreign(tmp_path: Path, ledger: Ledger, rows: list[tuple[int, str]], partition: int) -> None:
    whole(tmp_path)
    write_rows(tmp_path, "strange", rows, partition)

    found = read_back(tmp_path, ledger)

    assert found.foreign == [("ticks", partition, rows[0][0])]
    assert not found.exact


def test_a_row_of_another_symbol_is_foreign_and_so_is_another_reason(tmp_path: Path, ledger: Ledger) -> None:
    write_rows(tmp_path, "a", [(0, "ETHUSDT"), (1, "ETHUSDT"), (3, "BTC/USDT")])
    write_letters(tmp_path, [(2, "wrong_type")])

    assert read_back(tmp_path, ledger).foreign == [("ticks", 0, 0), ("ticks", 0, 2)]


def test_a_refused_record_that_became_a_row_is_foreign(tmp_path: Path, ledger: Ledger) -> None:
    write_rows(tmp_path, "a", [(0, "BTC/USDT"), (1, "ETHUSDT"), (2, "ETHUSDT"), (3, "BTC/USDT")])

    assert read_back(tmp_path, ledger).foreign == [("ticks", 0, 2)]


def test_prices_come_in_the_order_of_event_time(tmp_path: Path) -> None:
    write_rows(tmp_path, "a", [(5, "BTC/USDT"), (3, "BTC/USDT"), (4, "ETHUSDT")])

    assert prices(tmp_path, "BTC/USDT") == [97.0, 95.0]
    assert prices(tmp_path / "nowhere", "BTC/USDT") == []


def test_hidden_files_are_not_listed_and_not_read(tmp_path: Path, ledger: Ledger) -> None:
    whole(tmp_path)
    hidden = tmp_path / ".streamer/tmp/half.parquet"
    hidden.parent.mkdir(parents=True)
    hidden.write_bytes(b"PAR1")
    (tmp_path / "dead-letters/ticks/date=2026-01-03/.letters.ndjson.gz").write_bytes(b"a metadata twin")

    found = read_back(tmp_path, ledger)

    assert found.exact
    assert [key.rpartition("/")[2] for key, _ in list_files(tmp_path)] == ["letters.ndjson.gz", "a.parquet", "b.parquet"]


def test_positions_are_read_as_they_are_and_half_written_ones_are_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "_streamer/positions/ticks"
    folder.mkdir(parents=True)
    (folder / "00000.json").write_text('{"topic": "ticks", "partition": 0, "committed": 41}')
    (folder / "00001.json").write_text("{")

    assert committed(tmp_path) == {TICKS: 41}


def test_a_topic_that_somebody_else_writes_to_cannot_be_proved() -> None:
    ledger = Ledger()
    ledger.add(TICKS, 0, Message("ticks", None, b"{}", "ETHUSDT"))

    with pytest.raises(StreamerError, match="skipped"):
        ledger.add(TICKS, 2, Message("ticks", None, b"{}", "ETHUSDT"))


def test_a_feed_without_a_proof_remembers_only_the_number() -> None:
    ledger = Ledger(keep=False)
    for offset in (5, 9, 2):
        ledger.add(TICKS, offset, Message("ticks", None, b"{}", "ETHUSDT"))

    assert (ledger.count, ledger.fates) == (3, {})
