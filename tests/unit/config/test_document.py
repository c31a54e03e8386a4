"""The reference page says what the models say."""

from __future__ import annotations

import tomllib
from pathlib import Path

from streamer.config import load
from streamer.config.document import HEAD, document
from streamer.config.settings import Settings
from streamer.config.stream_layouts import streams
from streamer.config.tree import Names, fields, node

PAGE = Path(__file__).parents[3] / "docs" / "configuration.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == document(), "run: python -m streamer.config.document > docs/configuration.md"


def test_every_field_has_a_meaning() -> None:
    def undescribed(section: object) -> list[str]:
        found = node(section)
        if isinstance(found, Names):
            return undescribed(found.values)
        if found is None:
            return []
        return [name for name, field in fields(found).items() if not field.description or undescribed(field.annotation)]

    assert undescribed(Settings) == []


def test_the_example_of_the_page_works(tmp_path: Path) -> None:
    example = HEAD.partition("```toml\n")[2].partition("```")[0]
    assert tomllib.loads(example)
    (tmp_path / "streamer.toml").write_text(example)

    assert [stream.name for stream in streams(load(environment={}, directory=tmp_path))] == [
        "ticks",
        "signals",
        "features",
        "orders",
        "orderbooks",
    ]
