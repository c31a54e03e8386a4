"""How far each partition of an indexed stream is, for people. Asks the lake alone."""

from __future__ import annotations

from dataclasses import dataclass

from streamer.index.indexing import lag
from streamer.index.progress import Progress, ProgressDocument
from streamer.index.settings import IndexedStream
from streamer.lake.positions import read_positions
from streamer.records import TopicPartition
from streamer.store.contract import Store


@dataclass(frozen=True, slots=True)
class Standing:
    """A partition. progress: None where nothing is indexed yet. lag: records that are committed and not indexed."""

    stream: IndexedStream
    source: TopicPartition
    committed: int
    progress: Progress | None
    lag: int


async def standings(store: Store, stream: IndexedStream) -> list[Standing]:
    """Every partition of a stream that has a position. Raises `Damaged` for a document that cannot be read."""
    found = []
    for source, position in (await read_positions(store)).by_source.items():
        if source.topic == stream.topic:
            progress = await ProgressDocument(store, stream.table, source).read()
            found.append(Standing(stream, source, position.committed, progress, lag(position, progress)))
    return found
