"""The pieces around the story: the folder of a run, the pace of the market, the daemon as a child."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest

from streamer.embedded.daemon_process import DaemonProcess
from streamer.embedded.demo_folder import make_folder
from streamer.embedded.feed import PAUSE_SECONDS, Ledger, feed
from streamer.embedded.market import Market
from streamer.errors import Invalid, StreamerError
from streamer.source.outgoing import Acknowledged, Outgoing
from streamer.testing.manual_clock import ManualClock

AT = datetime(2026, 1, 3, 12, 30, tzinfo=UTC)


class OnePartition:
    """Acknowledges everything into partition 0 of its topic, and notes when it came."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.ends: dict[str, int] = {}
        self.arrivals: list[tuple[float, int]] = []

    async def send(self, records: Sequence[Outgoing]) -> list[Acknowledged]:
        self.arrivals.append((self.clock.monotonic(), len(records)))
        answers = []
        for record in records:
            offset = self.ends.get(record.topic, 0)
            self.ends[record.topic] = offset + 1
            answers.append(Acknowledged(record.topic, 0, offset))
        return answers


async def test_the_market_is_sent_when_it_is_due_and_remembered_once_acknowledged() -> None:
    clock, stop, ledger = ManualClock(), asyncio.Event(), Ledger()
    producer: Any = OnePartition(clock)
    began = clock.monotonic()
    market = asyncio.create_task(feed(producer, Market(7, AT, 100.0), ledger, clock, stop))
    await asyncio.sleep(0)  # the market opens now
    for _ in range(5):
        await clock.advance(PAUSE_SECONDS)
    stop.set()
    await clock.advance(PAUSE_SECONDS)
    await market

    assert sum(count for _, count in producer.arrivals) == ledger.count == sum(ledger.ends().values())
    assert len(producer.arrivals) >= 4
    sent = 0
    for at, count in producer.arrivals:
        sent += count
        assert due_until(at - began) == sent


def due_until(seconds: float) -> int:
    """How many messages of this market are due by then."""
    return sum(1 for _ in takewhile(lambda due: due[0] <= seconds, Market(7, AT, 100.0).messages()))


def test_two_runs_in_one_second_have_two_folders(tmp_path: Path) -> None:
    first, second = make_folder(tmp_path / "demo-lake", AT), make_folder(tmp_path / "demo-lake", AT)

    assert first.root.name == "2026-01-03T12-30-00Z"
    assert second.root.name == "2026-01-03T12-30-00Z-2"
    assert second.lake.is_dir()


def test_a_place_that_cannot_be_a_folder_is_refused_with_the_option_that_helps(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    for parent in (tmp_path / "file", tmp_path / "file" / "deeper"):
        with pytest.raises(Invalid) as refused:
            make_folder(parent, AT)
        assert "--dir" in refused.value.hint


async def test_a_daemon_that_cannot_start_is_quoted(tmp_path: Path) -> None:
    config = tmp_path / "streamer.toml"
    config.write_text("[lake]\nurl = 'ftp://nowhere'\n")

    daemon = await DaemonProcess.start(config, tmp_path / "daemon.log")

    assert await daemon.wait() == 2
    with pytest.raises(StreamerError, match="write s3://bucket"):
        daemon.demand_alive()


async def test_the_environment_of_the_shell_does_not_configure_the_demo_but_its_changes_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMER__NO_SUCH_THING", "1")
    config = tmp_path / "streamer.toml"
    config.write_text("[lake]\nurl = 'ftp://nowhere'\n")

    daemon = await DaemonProcess.start(config, tmp_path / "daemon.log", {"STREAMER__HTTP__PORT": "-4"})
    await daemon.wait()

    said = (tmp_path / "daemon.log").read_text().lower()
    assert "no_such_thing" not in said
    assert "http.port" in said
