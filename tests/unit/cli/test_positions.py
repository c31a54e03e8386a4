"""`streamer positions` shows what the lake says of each partition. Accepting needs a Kafka, and is tried in tests/live."""

from __future__ import annotations

from pathlib import Path

import pytest
from lake_on_disk import Shell, build


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(build(tmp_path / "lake"), capsys)


def test_every_position_is_listed(shell: Shell) -> None:
    status, body = shell.json("positions", "list")

    [position] = body["positions"]
    assert status == 0
    assert (position["topic"], position["partition"], position["committed"], position["sealed"]) == ("ticks", 0, 40, 40)


def test_one_position_is_shown_whole(shell: Shell) -> None:
    status, body = shell.json("positions", "show", "ticks", "0")

    assert status == 0
    assert (body["start"], body["committed"], body["gaps"], body["past"]) == (0, 40, [], [])
    assert shell.run("positions", "show", "ticks", "0")[1].splitlines()[0] == "name\tvalue"


def test_a_position_that_is_not_there_is_a_mistake_of_the_command_line(shell: Shell) -> None:
    assert shell.run("positions", "show", "ticks", "7")[0] == 2


def test_a_damaged_position_is_told_and_the_others_are_listed(shell: Shell) -> None:
    folder = shell.lake / "_streamer/positions/ticks"
    (folder / "00001.json").write_bytes(b"{}")

    status, body = shell.json("positions", "list")

    assert status == 5
    assert len(body["positions"]) == 1
    assert body["damaged"][0]["key"].endswith("00001.json")


def test_accepting_at_a_start_that_is_no_offset_is_refused_before_anything_is_asked(shell: Shell) -> None:
    assert shell.run("positions", "accept", "ticks", "0", "--start", "newest")[0] == 2
