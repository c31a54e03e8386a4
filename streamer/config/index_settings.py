"""From the configuration to the streams that are indexed, and where. Pure."""

from __future__ import annotations

from streamer.config.settings import Settings
from streamer.index.settings import IndexedStream


def indexed_streams(settings: Settings) -> tuple[IndexedStream, ...]:
    """The enabled streams that have an index."""
    found = []
    for name, table in settings.indexed.items():
        section = settings.streams[name]
        found.append(IndexedStream(name, section.topic or name, table, section.index.check_every))
    return tuple(found)
