"""Market-pulse events, for asyncio programs: stored as documents, read from documents and streams, found by an index.

The lake is the truth and the index a way to it: an event is stored when its document is. `sync.py` has the same methods.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import structlog

from streamer.clock import Clock
from streamer.docstore.docstore import AsyncDocuments, DocumentInfo
from streamer.documents import parsed
from streamer.errors import Damaged, NotFound, StreamerError, Unavailable
from streamer.events.event import NO_TICKER, Event, event_found, event_given
from streamer.events.rows import events_of
from streamer.events.summary import summary_of
from streamer.index.item import body_of, item_of
from streamer.index.settings import TableSettings
from streamer.keys import summary_key
from streamer.lake.instant import parse_day
from streamer.lake.parallel import in_order
from streamer.lake.reader import Reader
from streamer.lake.request import ReadRequest, TimeLike, moment
from streamer.log_events import LogEvent
from streamer.store.contract import Store

if TYPE_CHECKING:
    from streamer.index.dynamodb import IndexTable

log = structlog.get_logger()

PULSE = "pulse"
SUMMARY = "pulse-summary"
AT_ONCE = 16
READ_BUDGET_BYTES = 64 << 20
ITEMS_AT_ONCE = 1000

Body = dict[str, Any]


class AsyncEvents:
    """The events of one lake: `pulse-events/{date}/{timestamp}.json`, and rows of its streams of the schema `pulse`.

    Every method may raise `Unavailable` and `Denied`. Where an index is named, what is stored is written to it, too, and `get`
    asks it; see docs/events.md.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        documents: AsyncDocuments,
        reader: Reader,
        index: TableSettings | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._documents = documents
        self._reader = reader
        self._settings = index
        self._index = _opened(index, clock) if index is not None else None
        self._others: list[AsyncEvents] = []

    def indexed_by(self, table: str, *, region: str | None = None, endpoint_url: str | None = None) -> AsyncEvents:
        """The same events, with this DynamoDB table as their index. `AWS_DYNAMODB_PULSE_TABLE` names one for all."""
        known = self._settings
        settings = TableSettings(
            table,
            region or (known.region if known is not None else None),
            endpoint_url or (known.endpoint_url if known is not None else None),
        )
        other = AsyncEvents(self._store, self._clock, self._documents, self._reader, settings)
        self._others.append(other)
        return other

    async def store(self, event: Mapping[str, Any]) -> DocumentInfo:
        """Keep an event: `timestamp` (ISO text or a datetime, without zone UTC) and `ticker` (or `symbol`); `stress` in 0..1,
        `regime`, `velocity`, and any other field that JSON can hold.

        The same event again is the same document; another one of the same instant is kept beside it. Raises `Invalid`, naming
        the field. An index that cannot be written is a warning in the log, and no error: the event is stored.
        """
        found = event_given(event)
        info = await self._documents.put(PULSE, found.body, at=found.at)
        await self._write_index([found])
        return info

    async def store_batch(self, events: Iterable[Mapping[str, Any]]) -> int:
        """Keep several events, many at a time; how many are stored now, those among them that were before. All are looked at
        before the first is stored: raises `Invalid`, naming the event by its number, from 0, and the field."""
        found = [event_given(event, number) for number, event in enumerate(events)]
        await self._documents.put_all(PULSE, [(event.at, event.body) for event in found])
        await self._write_index(found)
        return len(found)

    async def get(
        self, start: TimeLike | None = None, end: TimeLike | None = None, ticker: str | None = None, *, index: bool = True
    ) -> list[Body]:
        """The events from `start` until before `end`, of `ticker` or of all, by time, ticker and content; each content once.

        Where there is an index, it answers: one event for each time and ticker, the last that was stored. index: False reads
        the lake, all of them. Without `ticker` the index reads its whole table. Where it does not answer, the lake does, with a
        warning in the log. Raises `Damaged` where a document or file cannot be read.
        """
        first, last = moment(start, "start"), moment(end, "end")
        if first is not None and last is not None and last <= first:
            return []
        if index and self._index is not None:
            try:
                return await self._of_index(self._index, first, last, ticker)
            except Unavailable as error:
                log.warning(LogEvent.INDEX_UNREAD, table=self._index.name, problem=error.message, hint=error.hint)
        found = {event.content: event async for event in self.in_lake(first, last, ticker)}
        return [dict(event.body) for event in sorted(found.values(), key=lambda event: event.order)]

    async def daily_summary(self, day: date | str) -> Body:
        """What the events of a day (UTC) come to, in all and by ticker: how many, stress, velocity, regimes. From the lake."""
        start = _midnight(day)
        return summary_of(start.date(), await self.get(start, start + timedelta(days=1), index=False))

    async def store_summary(self, day: date | str, document: Mapping[str, Any] | None = None) -> DocumentInfo:
        """Keep a summary of a day, `daily_summary` where none is given, in the place of the one before."""
        start = _midnight(day)
        body = dict(document) if document is not None else await self.daily_summary(start.date())
        return await self._documents.put(SUMMARY, body, at=start)

    async def summary(self, day: date | str) -> Body:
        """What the lake says of a day: `streams`, as its archive wrote it, and `events`, the summary that was stored, where
        there is either. Raises `NotFound` where there is neither, `Damaged`."""
        start = _midnight(day)
        body: Body = {}
        with suppress(NotFound):
            body = await self._archived_summary(start.date())
        try:
            body["events"] = (await self._documents.get(SUMMARY, at=start)).data
        except NotFound:
            if not body:
                hint = "`store_summary` makes one; the archive writes its own when it closes the day"
                raise NotFound("there is no summary of this day", hint=hint, date=start.date()) from None
        return body

    async def _archived_summary(self, day: date) -> Body:
        key = summary_key(day)
        try:
            return parsed((await self._store.get(key)).body)
        except ValueError as error:
            hint = "`streamer archive --date` writes it again"
            raise Damaged(f"the summary of a day cannot be read: {error}", hint=hint, key=key) from error

    async def in_lake(
        self, start: datetime | None = None, end: datetime | None = None, ticker: str | None = None
    ) -> AsyncIterator[Event]:
        """Every event that the lake has, rows of streams first, in no promised order."""
        for stream in await self._streams():
            async for event in self.in_stream(stream, start, end, ticker):
                yield event
        async for event in self.in_documents(start, end, ticker):
            yield event

    async def in_stream(
        self, stream: str, start: datetime | None = None, end: datetime | None = None, ticker: str | None = None
    ) -> AsyncIterator[Event]:
        """The rows of any stream with a symbol and a time, by event time. None of a stream that the lake has not seen."""
        if stream not in {layout.stream for layout in await self._reader.layouts.read()}:
            return
        symbols = None if ticker is None else frozenset([ticker])
        prepared = await self._reader.prepare(ReadRequest(stream, start, end, symbols))
        async for batch in prepared.batches():
            for event in await self._reader.workers.run(events_of, batch):
                yield event

    async def in_documents(
        self, start: datetime | None = None, end: datetime | None = None, ticker: str | None = None
    ) -> AsyncIterator[Event]:
        """The events that were stored one by one, by time."""
        infos = await self._documents.list(PULSE, start, end)
        reads = in_order(infos, self._read, _size, most=AT_ONCE, budget_bytes=READ_BUDGET_BYTES)
        async for event in reads:
            if event is not None and (ticker is None or event.ticker == ticker):
                yield event

    async def close(self) -> None:
        """Free the index's connections. Idempotent."""
        for other in self._others:
            await other.close()
        if self._index is not None:
            await self._index.close()

    async def _read(self, info: DocumentInfo) -> Event | None:
        try:
            data = (await self._documents.read(info)).data
        except NotFound:
            return None  # deleted since it was listed
        try:
            return event_found(data, info.at) if isinstance(data, dict) else None
        except ValueError as error:
            raise Damaged(
                f"an event cannot be read: {error}", hint="find out who wrote it, and delete it", key=info.key
            ) from error

    async def _streams(self) -> list[str]:
        return sorted({layout.stream for layout in await self._reader.layouts.read() if layout.schema == PULSE})

    async def _of_index(
        self, index: IndexTable, start: datetime | None, end: datetime | None, ticker: str | None
    ) -> list[Body]:
        items = index.between(start, end) if ticker is None else index.of_ticker(ticker or NO_TICKER, start, end)
        found = [item async for item in items]
        found.sort(key=lambda item: (item["timestamp"]["S"], item["ticker"]["S"]))
        return [body_of(item) for item in found]

    async def _write_index(self, events: list[Event]) -> None:
        if self._index is None or not events:
            return
        left_out = 0
        try:
            for at in range(0, len(events), ITEMS_AT_ONCE):
                items = [item_of(event) for event in events[at : at + ITEMS_AT_ONCE]]
                left_out += (await self._index.write(items)).left_out
        except StreamerError as error:
            log.warning(
                LogEvent.INDEX_BEHIND, table=self._index.name, events=len(events), problem=error.message, hint=error.hint
            )
        if left_out:
            log.warning(LogEvent.INDEX_LEFT_OUT, table=self._index.name, items=left_out)


def _opened(settings: TableSettings, clock: Clock) -> IndexTable:
    from streamer.index.dynamodb import IndexTable  # it loads AWS's client, which a lake in a directory does not need

    return IndexTable(settings, clock)


def _midnight(day: date | str) -> datetime:
    found = parse_day(day) if isinstance(day, str) else day
    return datetime(found.year, found.month, found.day, tzinfo=UTC)


def _size(info: DocumentInfo) -> int:
    return info.size_bytes
