"""`streamer dead-letters` counts and shows what was refused. Redriving needs a Kafka: tests/live/test_lake_commands.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from lake_on_disk import Shell, build


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(build(tmp_path / "lake"), capsys)


def test_they_are_counted_by_stream_day_and_reason(shell: Shell) -> None:
    status, body = shell.json("dead-letters", "list")

    assert status == 0
    assert body["dead_letters"] == [
        {"stream": "ticks", "date": "2026-01-03", "reason": "invalid_json", "open": 3, "done": 0},
        {"stream": "ticks", "date": "2026-01-04", "reason": "invalid_json", "open": 1, "done": 0},
    ]


def test_every_single_one_can_be_listed(shell: Shell) -> None:
    status, body = shell.json("dead-letters", "list", "--long", "--date", "2026-01-03")

    assert status == 0
    assert [(letter["offset"], letter["value"], letter["state"]) for letter in body["dead_letters"]] == [
        (3, "not json", "open"),
        (4, "not json", "open"),
        (12, "not json", "open"),
    ]


def test_one_is_shown_whole_by_its_place_in_kafka_and_all_of_a_file_by_key(shell: Shell) -> None:
    status, one = shell.json("dead-letters", "show", "ticks", "0", "12")
    _, file = shell.json("dead-letters", "show", one["dead_letters"][0]["file"])

    assert status == 0
    assert one == file
    assert one["dead_letters"][0]["headers"] == [["h", "1"]]


@pytest.mark.parametrize("where", [("ticks", "0", "5"), ("ticks",), ("ticks", "0"), ("ticks", "zero", "5")])
def test_what_is_no_dead_letter_is_a_mistake_of_the_command_line(shell: Shell, where: tuple[str, ...]) -> None:
    assert shell.run("dead-letters", "show", *where)[0] == 2


def test_a_dry_run_says_what_would_be_sent_and_asks_no_kafka(shell: Shell) -> None:
    status, body = shell.json(
        "dead-letters", "redrive", "--dry-run", "--offset", "3", "--offset", "17", "--kafka", "127.0.0.1:1"
    )

    assert status == 0
    assert body == {"found": 2, "sent": 0, "to": ["ticks"], "dry_run": True}
