"""`Lake.events`: market-pulse events for synchronous code."""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

from streamer.docstore.docstore import DocumentInfo
from streamer.events.events import AsyncEvents
from streamer.lake.loop_thread import LoopThread
from streamer.lake.request import TimeLike


class Events:
    """The events of one lake. Each method does what the one of the same name in `AsyncEvents` does."""

    def __init__(self, inner: AsyncEvents, loop: LoopThread) -> None:
        self._inner = inner
        self._loop = loop

    def indexed_by(self, table: str, *, region: str | None = None, endpoint_url: str | None = None) -> Events:
        """The same events, with this DynamoDB table as their index. See `AsyncEvents.indexed_by`."""

        async def made() -> AsyncEvents:
            return self._inner.indexed_by(table, region=region, endpoint_url=endpoint_url)

        return Events(self._loop.run(made()), self._loop)

    def store(self, event: Mapping[str, Any]) -> DocumentInfo:
        """Keep an event. See `AsyncEvents.store`."""
        return self._loop.run(self._inner.store(event))

    def store_batch(self, events: Iterable[Mapping[str, Any]]) -> int:
        """Keep several events; how many of them are stored now. See `AsyncEvents.store_batch`."""
        return self._loop.run(self._inner.store_batch(list(events)))

    def get(
        self, start: TimeLike | None = None, end: TimeLike | None = None, ticker: str | None = None, *, index: bool = True
    ) -> builtins.list[dict[str, Any]]:
        """The events from `start` until before `end`, of `ticker` or of all, in time order. See `AsyncEvents.get`."""
        return self._loop.run(self._inner.get(start, end, ticker, index=index))

    def daily_summary(self, day: date | str) -> dict[str, Any]:
        """What the events of a day come to, in all and by ticker."""
        return self._loop.run(self._inner.daily_summary(day))

    def store_summary(self, day: date | str, document: Mapping[str, Any] | None = None) -> DocumentInfo:
        """Keep a summary of a day, `daily_summary` where none is given, in the place of the one before."""
        return self._loop.run(self._inner.store_summary(day, document))

    def summary(self, day: date | str) -> dict[str, Any]:
        """What the lake says of a day: `streams` by its archive, `events` as stored. See `AsyncEvents.summary`."""
        return self._loop.run(self._inner.summary(day))
