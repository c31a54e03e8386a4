"""`streamer state` shows the saved feature histories. How far the topic has gone on needs a Kafka: tests/live."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from lake_on_disk import Shell

from streamer.features.merged import MergedHistory
from streamer.features.rows import packed
from streamer.features.snapshots import Snapshots
from streamer.features.window import Frozen
from streamer.layout import Layout
from streamer.records import TopicPartition
from streamer.schemas import columns_of
from streamer.store.directory import DirectoryStore
from streamer.streams import HistorySpec, Stream
from streamer.testing.manual_clock import ManualClock
from streamer.workers import InlineWorkers


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setattr("streamer.cli.opened.SHORT_START_SECONDS", 0.2)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    lake = tmp_path / "lake"
    lake.mkdir()
    return Shell(lake, capsys)


def save(lake: Path) -> None:
    async def main() -> None:
        clock, workers = ManualClock(), InlineWorkers()
        store = DirectoryStore(lake, clock)
        await store.prepare()
        layout = Layout("features", "feature", columns_of("feature"), "date={date}")
        stream = Stream("features", "features", layout, history=HistorySpec(window=2))
        rows = [
            packed({"timestamp": "2024-01-01T00:00:00.000000Z", "partition": 0, "offset": n, "rsi": n + 0.5}, {})
            for n in range(2)
        ]
        frozen = Frozen(0, 2, 2, (("A", rows), ("B", rows[:1])))
        await Snapshots(store, clock, workers).save(TopicPartition("features", 0), "features", frozen, clock.now())
        await MergedHistory(store, stream, clock, workers).merge()

    asyncio.run(main())


def test_the_history_is_shown_with_offsets_and_without_lag_where_kafka_does_not_answer(shell: Shell) -> None:
    save(shell.lake)
    status, body = shell.json("state", "show")
    assert status == 0
    assert body["partitions"] == [{"topic": "features", "partition": 0, "offset": 2, "lag": None}]
    assert body["symbols"] == {"A": 2, "B": 1}
    assert body["age_seconds"] > 0
    assert "without lag" in shell.err
    assert "2, 1 of them with 2 rows" in shell.run("state", "show")[1]


def test_the_rows_of_one_symbol_are_shown(shell: Shell) -> None:
    save(shell.lake)
    status, rows = shell.json("state", "show", "A")
    assert (status, [row["rsi"] for row in rows]) == (0, [0.5, 1.5])
    assert shell.run("state", "show", "Z")[0] == 2


def test_every_document_is_listed_and_a_damaged_one_is_told(shell: Shell) -> None:
    save(shell.lake)
    status, body = shell.json("state", "list")
    assert status == 0
    assert [each["kind"] for each in body["documents"]] == ["merged", "kept", "partition"]
    assert shell.run("state", "list")[1].splitlines()[0].startswith("kind\tas of\tage")

    (shell.lake / "state/feature_history/features/00000.json").write_bytes(b"{}")
    status, body = shell.json("state", "list")
    assert status == 5
    assert body["damaged"] == ["state/feature_history/features/00000.json"]


def test_where_there_is_no_history_the_answer_says_what_to_configure(shell: Shell) -> None:
    assert shell.run("state", "show")[0] == 2
    assert "[streams.NAME.history]" in shell.err
    assert shell.json("state", "list") == (0, {"documents": [], "damaged": []})
