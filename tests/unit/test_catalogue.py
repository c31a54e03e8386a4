"""The catalogues of metrics and log events: documented, and every entry used."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from streamer.catalogue import page
from streamer.log_events import LogEvent
from streamer.metrics import Metrics

ROOT = Path(__file__).parents[2]
SOURCES = {path: path.read_text() for path in (ROOT / "streamer").rglob("*.py") if path.stem not in ("log_events", "metrics")}


def test_the_page_is_the_one_that_the_code_makes() -> None:
    assert (ROOT / "docs/metrics.md").read_text() == page(), "run `make docs`"


@pytest.mark.parametrize("event", LogEvent)
def test_every_log_event_is_used_and_has_a_meaning(event: LogEvent) -> None:
    assert len(event.meaning) > 20
    assert any(re.search(rf"LogEvent\.{event.name}\b", text) for text in SOURCES.values())


@pytest.mark.parametrize("name", [name for name in vars(Metrics()) if name != "registry"])
def test_every_metric_is_used(name: str) -> None:
    assert any(re.search(rf"metrics\.{name}\b", text) for text in SOURCES.values())


def test_events_are_born_in_the_catalogue_alone() -> None:
    call = re.compile(r"\blog\.(?:debug|info|warning|error)\(\s*[\"']")
    assert [str(path) for path, text in SOURCES.items() if call.search(text)] == []
