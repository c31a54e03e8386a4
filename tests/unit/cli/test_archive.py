"""`streamer archive`, and `streamer verify` over what it made, as a shell runs them."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path

import pytest
from command_line import Shell

from streamer.clock import SystemClock
from streamer.store.directory import DirectoryStore
from streamer.testing.manual_clock import ManualClock
from tests.unit.archive.archive_lake import DAY, everything_complete, partition, tick


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """A lake with one complete day of ticks in a directory."""

    async def write() -> None:
        store = DirectoryStore(tmp_path / "lake", ManualClock(), create=True)
        await store.prepare()
        ticks = partition(store)
        await ticks.batch([tick(1, price=2), tick(70, price=4), tick(5, "ETH"), None])
        await everything_complete(ticks)
        await store.close()

    asyncio.run(write())
    return tmp_path / "lake"


def test_a_day_is_closed_and_proved(shell: Shell, lake: Path) -> None:
    closed = shell("archive", "--date", str(DAY), "--lake", str(lake), "--json")
    again = shell("archive", "--date", str(DAY), "--lake", str(lake))
    proved = shell("verify", "--from", str(DAY), "--to", str(DAY), "--no-kafka", "--lake", str(lake))

    assert (closed.status, again.status, proved.status) == (0, 0, 0), closed.err + proved.out
    document = json.loads(closed.out)
    assert (document["revision"], document["complete"], document["changed"]) == (1, True, True)
    assert document["streams"]["ticks"]["rows"] == 3
    assert "was closed already, revision 1" in again.out
    assert "sound" in proved.out
    files = {str(p.relative_to(lake)) for p in lake.rglob("*") if not any(s.startswith("_") for s in p.relative_to(lake).parts)}
    assert {
        "archive/2026-01-03.json",
        "daily-summaries/2026-01-03.json",
        "ticks/BTC/2026-01-03.parquet",
        "ticks/ETH/2026-01-03.parquet",
        "ohlcv/BTC/2026-01-03.parquet",
    } <= files
    assert not [name for name in files if name.endswith(".metadata.json") and name.startswith(("ticks", "ohlcv"))]


def test_a_dry_run_says_what_would_be_read_and_writes_nothing(shell: Shell, lake: Path) -> None:
    before = sorted(lake.rglob("*"))

    ended = shell("archive", "--date", str(DAY), "--dry-run", "--lake", str(lake), "--json")

    assert ended.status == 0
    document = json.loads(ended.out)
    assert (document["complete"], document["streams"]["ticks"]["files"]) == (True, 2)
    assert sorted(lake.rglob("*")) == before


def test_an_archive_file_that_is_lost_is_named_and_repaired(shell: Shell, lake: Path) -> None:
    shell("archive", "--date", str(DAY), "--lake", str(lake))
    lost = lake / "ohlcv/BTC/2026-01-03.parquet"
    body = lost.read_bytes()
    lost.unlink()

    found = shell("verify", "--no-kafka", "--date", str(DAY), "--lake", str(lake))
    repaired = shell("verify", "--no-kafka", "--date", str(DAY), "--repair", "--lake", str(lake))

    assert (found.status, repaired.status) == (5, 0)
    assert "archive_missing" in found.out
    assert "repaired: ohlcv/BTC" in repaired.err
    assert lost.read_bytes() == body


@pytest.mark.parametrize(
    "arguments",
    [
        ("--date", "yesterday"),
        ("--date", str((SystemClock().now() + timedelta(days=1)).date())),
        ("--date", str(DAY), "--stream", "nonsense"),
    ],
)
def test_what_cannot_be_closed_is_refused(shell: Shell, lake: Path, arguments: tuple[str, ...]) -> None:
    assert shell("archive", *arguments, "--lake", str(lake)).status == 2


def test_a_damaged_day_ends_with_5_and_certifies_nothing(shell: Shell, lake: Path) -> None:
    [file] = lake.glob("raw/ticks/symbol=ETH/*/*.parquet")
    file.write_bytes(b"PAR1 nonsense PAR1")

    ended = shell("archive", "--date", str(DAY), "--lake", str(lake))

    assert ended.status == 5
    assert not (lake / "archive").exists()


@pytest.mark.parametrize(
    "arguments", [("--date", str(DAY), "--from", str(DAY)), ("--from", "2026-01-03", "--to", "2026-01-02")]
)
def test_days_that_contradict_each_other_are_refused(shell: Shell, lake: Path, arguments: tuple[str, ...]) -> None:
    assert shell("verify", "--no-kafka", *arguments, "--lake", str(lake)).status == 2


@pytest.mark.parametrize("intervals", ["7m", "1m,60s"])
def test_intervals_that_cannot_be_are_refused(shell: Shell, lake: Path, intervals: str) -> None:
    assert shell("archive", "--date", str(DAY), "--lake", str(lake), STREAMER__ARCHIVE__INTERVALS=intervals).status == 2
