"""What the demo prints: a sparkline, a tree, and commands that can be copied."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.embedded.demo_report import SPARKLINE_WIDTH, called_as, shown_path, sparkline, tree

PRICES = st.lists(st.floats(min_value=1e-6, max_value=1e9), min_size=1, max_size=500)


@given(PRICES)
def test_a_sparkline_has_a_bar_for_each_value_up_to_its_width(values: list[float]) -> None:
    line = sparkline(values)

    assert min(len(values), SPARKLINE_WIDTH) == len(line)
    assert set(line) <= set("▁▂▃▄▅▆▇█")


def test_a_sparkline_reaches_from_the_lowest_bar_to_the_highest() -> None:
    assert sparkline([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]) == "▁▂▃▄▅▆▇█"
    assert sparkline([5.0, 5.0]) == "▁▁"
    assert sparkline([]) == ""


def test_a_tree_counts_the_files_of_each_folder_and_names_one() -> None:
    files = [("raw/ticks/a/1.parquet", 1024), ("raw/ticks/a/2.parquet", 1024), ("raw/ticks/b/3.parquet", 512)]

    lines = list(tree(files))

    assert "raw/ticks/a/" in lines[0]
    assert "2 files" in lines[0]
    assert "2.0 KiB" in lines[0]
    assert lines[1].split()[-1] == "1.parquet"
    assert "1 file " in lines[2]
    assert len(lines) == 3
    assert list(tree([])) == []


def test_a_shown_path_is_one_that_the_lake_option_takes(tmp_path: Path) -> None:
    assert shown_path(tmp_path / "demo-lake" / "x", tmp_path) == "./demo-lake/x"
    assert shown_path(Path("/somewhere/else"), tmp_path) == "/somewhere/else"


def test_python_is_called_again_by_the_name_of_its_own_virtual_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    monkeypatch.setattr(sys, "executable", str(python))

    assert called_as("/x/streamer/__main__.py", tmp_path) == ".venv/bin/python -m streamer"


def test_a_script_is_called_again_by_path_unless_the_shell_finds_that_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "bin" / "streamer"
    script.parent.mkdir()
    script.touch(mode=0o755)

    monkeypatch.setenv("PATH", "/nowhere")
    assert called_as(str(script), tmp_path) == "bin/streamer"
    monkeypatch.setenv("PATH", str(script.parent) + os.pathsep + "/nowhere")
    assert called_as(str(script), tmp_path) == "streamer"
