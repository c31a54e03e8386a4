"""The measurement measures what it says: ticks of the size it names, on the quick way, and a page that keeps its prose."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.throughput.report import BEGIN_MARK, END_MARK, write_page
from bench.throughput.ticks import made_ticks
from streamer.config.load import load
from streamer.config.stream_layouts import streams
from streamer.decode.decoder import make_decoder
from streamer.records import RecordChunk, TopicPartition


def test_made_ticks_are_the_same_every_time_and_none_of_them_is_decoded_the_slow_way() -> None:
    values = list(made_ticks(500))
    assert values == list(made_ticks(500))
    assert 180 <= sum(map(len, values)) / len(values) <= 200
    layout = streams(load(lake="file:///nowhere", environment={}))[0].layout
    chunk = RecordChunk(TopicPartition("ticks", 0), 0, 500, list(range(500)), [0] * 500, [None] * 500, list(values))
    decoded = make_decoder(layout).decode(chunk)
    assert (decoded.table.num_rows, decoded.slow_records, decoded.dead_letters) == (500, 0, ())


def test_tables_replace_what_stands_between_the_markers_and_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text(f"before\n{BEGIN_MARK}\nold\n{END_MARK}\nafter\n")
    write_page(page, r"new \1")
    assert page.read_text() == f"before\n{BEGIN_MARK}\n\nnew \\1\n\n{END_MARK}\nafter\n"


def test_a_page_without_markers_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text("prose")
    with pytest.raises(SystemExit, match="markers"):
        write_page(page, "table")
    assert page.read_text() == "prose"
