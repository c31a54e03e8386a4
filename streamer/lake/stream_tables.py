"""The streams of a lake as tables for other engines: what `ddl.py` is told, from layouts, listings and certificates."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, date, datetime

from streamer.archive.settings import PLAIN_NAMES
from streamer.errors import Invalid
from streamer.lake.ddl import ArchiveShape, StreamTable
from streamer.lake.read_plan import ReadPlan
from streamer.lake.reader import Reader
from streamer.lake.request import ReadRequest
from streamer.layout import Layout

_SHAPES: dict[str, ArchiveShape] = {"tick": "by symbol", "signal": "by day", "feature": "by symbol", "orderbook": "by symbol"}
_FOLDERS: Mapping[str, str] = dict(PLAIN_NAMES.items())


async def stream_tables(reader: Reader, streams: Collection[str] | None = None) -> list[StreamTable]:
    """Every stream, or `streams` alone, by name. Raises `Invalid` for one that the lake has not."""
    layouts = await reader.layouts.read()
    there = sorted({layout.stream for layout in layouts})
    if unknown := sorted(set(streams or ()) - set(there)):
        raise Invalid(f"the lake has no stream {unknown[0]!r}", hint="`streamer ls` shows those it has", lake=reader.store.url)
    return [
        await _table(reader, name, [layout for layout in layouts if layout.stream == name])
        for name in there
        if streams is None or name in streams
    ]


async def _table(reader: Reader, name: str, layouts: list[Layout]) -> StreamTable:
    read = await reader.prepare(ReadRequest(name))
    plan = await read.plan()
    schema = layouts[-1].schema
    built_in = _FOLDERS.get(schema, "") == name
    folder = _FOLDERS.get(schema, "") if built_in else f"streams/{name}/{_FOLDERS.get(schema, '')}"
    paths, formats = {layout.path for layout in layouts}, {layout.format for layout in layouts}
    return StreamTable(
        name,
        read.schema,
        paths.pop() if len(paths) == 1 else "",
        formats.pop() if len(formats) == 1 else "several formats",
        read.event_time,
        _first_day(plan),
        _SHAPES.get(schema) if plan.closed.days else None,
        folder,
    )


def _first_day(plan: ReadPlan) -> date:
    days = [piece.day for piece in plan.pieces if piece.day is not None]
    return min(days, default=datetime(2020, 1, 1, tzinfo=UTC).date())
