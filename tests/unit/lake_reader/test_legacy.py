"""The old names do what they always did, and leave closed days alone."""

from __future__ import annotations

import asyncio
from datetime import date, timedelta
from pathlib import Path

import pytest

from streamer import Lake
from streamer.archive.settings import ArchivedStream, ArchiveSettings
from streamer.errors import Invalid
from streamer.layout import Column, Layout
from streamer.records import TopicPartition
from streamer.store.directory import DirectoryStore
from streamer.testing.manual_clock import ManualClock
from tests.unit.lake.lake_builder import LakeBuilder
from tests.unit.lake_reader.reader_lake import DAY, close_day, set_through, ticks_every, utc

pandas = pytest.importorskip("pandas")

LAYOUT = Layout("signals", "signal", (Column("symbol", "string"), Column("timestamp", "timestamp[us, UTC]")), "date={date}")


@pytest.fixture
def lake(tmp_path: Path):  # type: ignore[no-untyped-def]
    async def build() -> None:
        store = DirectoryStore(tmp_path, ManualClock(), create=True)
        await store.prepare()
        await LakeBuilder(store, LAYOUT, TopicPartition("signals", 0)).batch(ticks_every(60 * 8, 9))
        await set_through(store, utc(4, 1))
        await close_day(store, DAY, ArchiveSettings(streams=(ArchivedStream("signals", "signals", "signal"),)))
        await store.close()

    asyncio.run(build())
    with Lake.open(str(tmp_path), cache=None) as opened:
        yield opened


def test_historical_signals_come_from_archive_and_raw_both_days_included(lake: Lake) -> None:
    found = lake.load_historical_signals("2026-01-03", "2026-01-04")

    assert found["_offset"].tolist() == [0, 1, 2, 3, 4]
    assert len(lake.load_historical_signals(DAY, DAY)) == 2
    assert len(lake.load_historical_signals("2025-01-01", "2025-01-02")) == 0


def test_a_day_that_a_program_archived_is_read_back(lake: Lake) -> None:
    frame = pandas.DataFrame({"timestamp": [utc(9)], "regime_name": ["calm"]})

    key = lake.archive_daily_signals(frame, date(2026, 1, 9))

    assert key == "signals/2026-01-09/regime_signals.parquet"
    found = lake.load_historical_signals("2026-01-08", "2026-01-10")
    assert found["regime_name"].tolist() == ["calm"]


def test_what_the_daemon_closed_is_not_overwritten(lake: Lake) -> None:
    frame = pandas.DataFrame({"timestamp": [utc(3)]})

    with pytest.raises(Invalid, match="closed"):
        lake.archive_daily_signals(frame, DAY)


def test_bars_of_a_program_lie_where_bars_lie(lake: Lake) -> None:
    frame = pandas.DataFrame({"timestamp": [utc(3) + timedelta(minutes=n) for n in range(3)], "close": [1.0, 2.0, 3.0]})

    key = lake.upload_ohlcv_data(frame, "BTC/USDT", "2026-01-03")

    assert key == "ohlcv/BTC%2FUSDT/2026-01-03.parquet"
    assert lake.read_table(key)["close"].to_pylist() == [1.0, 2.0, 3.0]


def test_models_and_feature_history_go_by_their_old_names(lake: Lake, tmp_path: Path) -> None:
    source = tmp_path / "hmm_regime.pkl"
    source.write_bytes(b"weights")

    lake.upload_model(source)
    lake.download_model("hmm_regime", tmp_path / "back.pkl")

    assert (tmp_path / "back.pkl").read_bytes() == b"weights"
    assert dict(lake.load_feature_history()) == {}
