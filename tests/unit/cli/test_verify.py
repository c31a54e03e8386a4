"""`streamer verify` ends with 0 for a whole lake and with 5 and a list for any other."""

from __future__ import annotations

from pathlib import Path

import pytest
from lake_on_disk import Shell, build

NO_KAFKA = "--no-kafka"


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(build(tmp_path / "lake"), capsys)


@pytest.mark.parametrize("options", [(), ("--quick",), ("--stream", "ticks"), ("--date", "2026-01-04"), ("--concurrency", "1")])
def test_a_whole_lake_ends_with_nought(shell: Shell, options: tuple[str, ...]) -> None:
    status, body = shell.json("verify", NO_KAFKA, *options)

    assert (status, body["sound"], body["findings"]) == (0, True, [])


def test_the_last_line_says_it_for_people(shell: Shell) -> None:
    status, out = shell.run("verify", NO_KAFKA)

    assert status == 0
    assert out.splitlines()[-1].startswith("sound: 3 batches, 16 files, 31 rows, 4 dead letters, ")


def test_a_lost_file_is_named_with_its_batch_and_the_next_step(shell: Shell) -> None:
    sorted(shell.lake.glob("raw/**/*.parquet"))[0].unlink()

    status, body = shell.json("verify", NO_KAFKA)
    told, out = shell.run("verify", NO_KAFKA)

    assert (status, told) == (5, 5)
    assert {finding["kind"] for finding in body["findings"]} == {"sibling_missing"}
    assert all(finding["hint"] and finding["topic"] == "ticks" for finding in body["findings"])
    assert "FOUND    sibling_missing  ticks-0[" in out
    assert out.splitlines()[-1].startswith("NOT SOUND")


def test_kafka_out_of_reach_is_said_and_is_no_damage(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamer.cli.opened.SHORT_START_SECONDS", 0.3)

    status, body = shell.json("verify", "--kafka", "127.0.0.1:1")

    assert (status, body["kafka"]) == (0, False)
    assert "Kafka was left out" in shell.err


def test_a_lake_that_does_not_exist_is_no_proof(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert Shell(tmp_path / "nowhere", capsys).run("verify", NO_KAFKA)[0] == 2


def test_a_date_that_is_none_is_a_mistake_of_the_command_line(shell: Shell) -> None:
    assert shell.run("verify", "--date", "yesterday")[0] == 2
