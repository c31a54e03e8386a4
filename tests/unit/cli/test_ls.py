"""`streamer ls` adds up what the keys say."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from lake_on_disk import Shell, build

from tests.unit.lake_reader.reader_lake import build_on_disk


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(build(tmp_path / "lake"), capsys)


def test_the_streams_come_first(shell: Shell) -> None:
    status, body = shell.json("ls")

    [ticks] = body["entries"]
    assert status == 0
    assert (ticks["name"], ticks["files"], ticks["dead_letter_files"]) == ("ticks", 13, 3)
    assert (ticks["first_day"], ticks["newest_day"]) == ("2026-01-03", "2026-01-05")
    assert ticks["symbols"] == ["BTCUSDT", "ETH/USDT", "ação"]


def test_a_stream_is_shown_by_day_with_its_rows(shell: Shell) -> None:
    status, body = shell.json("ls", "ticks", "--rows")

    assert status == 0
    assert [(entry["name"], entry["rows"]) for entry in body["entries"]] == [
        ("2026-01-03", 11),
        ("2026-01-04", 18),
        ("2026-01-05", 2),
    ]


def test_a_day_is_shown_by_folder_and_at_last_by_file(shell: Shell) -> None:
    _, folders = shell.json("ls", "ticks", "--date", "2026-01-05")
    _, files = shell.json("ls", "ticks", "--date", "2026-01-05", "--long", "--rows")

    assert {entry["name"].split("/date=")[1] for entry in folders["entries"]} == {"2026-01-05/"}
    assert sum(file["rows"] for file in files["files"]) == 2
    assert {(file["topic"], file["start"], file["end"]) for file in files["files"]} == {("ticks", 25, 40)}


def test_a_table_is_for_people_and_pipes(shell: Shell) -> None:
    status, out = shell.run("ls")

    assert status == 0
    assert out.splitlines()[1].startswith("ticks\t13\t3\t")


def test_a_stream_that_is_not_there_is_a_mistake_of_the_command_line(shell: Shell) -> None:
    status, _ = shell.run("ls", "tocks")

    assert status == 2
    assert "no such stream" in shell.err


def test_an_empty_lake_is_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "lake").mkdir()
    shell = Shell(tmp_path / "lake", capsys)

    status, body = shell.json("ls")

    assert (status, body["entries"]) == (0, [])


def test_a_closed_day_is_shown_also_when_its_raw_files_are_gone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = build_on_disk(tmp_path / "lake", closed=True)
    shell = Shell(tmp_path / "lake", capsys)
    rows = Counter(row["timestamp"].date().isoformat() for row in expected)  # type: ignore[attr-defined]

    _, streams = shell.json("ls", "--rows")
    _, days = shell.json("ls", "ticks", "--rows")
    _, folders = shell.json("ls", "ticks", "--date", "2026-01-03", "--rows")

    [ticks] = streams["entries"]
    assert (ticks["rows"], ticks["first_day"], ticks["archive_files"]) == (180, "2026-01-03", 8)
    assert {entry["name"]: entry["rows"] for entry in days["entries"]} == rows
    assert [entry["archive_files"] for entry in days["entries"]] == [8, 0, 0]
    assert days["entries"][0]["files"] == 0
    assert [(entry["name"], entry["rows"]) for entry in folders["entries"]] == [("archive/ticks", rows["2026-01-03"])]


@pytest.mark.parametrize("template", ["symbol={symbol}/date={date}", "{symbol}"])
def test_rows_of_a_closed_day_are_counted_once(tmp_path: Path, capsys: pytest.CaptureFixture[str], template: str) -> None:
    build_on_disk(tmp_path / "lake", closed=True, template=template)

    _, streams = Shell(tmp_path / "lake", capsys).json("ls", "--rows")

    assert [entry["rows"] for entry in streams["entries"]] == [180]
