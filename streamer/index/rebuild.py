"""An index made again from the lake: archive, raw files and documents. What is in the table and not in the lake stays there."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime

from streamer.errors import Invalid
from streamer.events.event import Event
from streamer.events.events import AsyncEvents
from streamer.index.dynamodb import IndexTable, Written
from streamer.index.item import Item, item_of

ITEMS_AT_ONCE = 2000

Progress = Callable[[int], None]
"""Called with the events done."""


@dataclass(slots=True)
class Rebuilt:
    """events: that the lake has. items: written, or with a dry run would be; fewer where several share time and ticker.
    left_out: too large for an item."""

    events: int = 0
    items: int = 0
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Part:
    """What is indexed anew: events with `start <= timestamp < end` (None: open) of a stream, and of documents."""

    stream: str | None
    documents: bool
    start: datetime | None = None
    end: datetime | None = None


async def rebuild(
    events: AsyncEvents, table: IndexTable, part: Part, *, dry_run: bool = False, progress: Progress | None = None
) -> Rebuilt:
    """Write the items of a part again. Idempotent; broken off, it is begun again. dry_run: only look whether the table is
    there, and count. Raises what the lake and the table raise."""
    if dry_run and await table.describe() is None:
        raise Invalid("there is no such table", hint="`streamer init` makes it", table=table.name)
    done = Rebuilt()
    waiting: dict[tuple[str, str], Item] = {}
    async with aclosing(_events(events, part)) as found:
        async for event in found:
            item = item_of(event)
            done.events += 1
            waiting[item.key] = item
            if len(waiting) >= ITEMS_AT_ONCE:
                await _write(table, waiting, done, dry_run)
                if progress is not None:
                    progress(done.events)
    await _write(table, waiting, done, dry_run)
    return done


async def _events(events: AsyncEvents, part: Part) -> AsyncGenerator[Event]:
    if part.stream is not None:
        async for event in events.in_stream(part.stream, part.start, part.end):
            yield event
    if part.documents:
        async for event in events.in_documents(part.start, part.end):
            yield event


async def _write(table: IndexTable, waiting: dict[tuple[str, str], Item], done: Rebuilt, dry_run: bool) -> None:
    items = [*waiting.values()]
    fitting = sum(item.fits for item in items)
    outcome = Written(fitting, len(items) - fitting) if dry_run else await table.write(items)
    done.items += outcome.items
    done.left_out += outcome.left_out
    waiting.clear()
