"""The merged history of a stream: what an engine loads at boot, derived from the documents of all its partitions.

Every replica derives it from the same documents and puts it in place by compare-and-swap; whoever is refused reads them again.
A partition never goes back in it. Symbols are copied without looking at their rows, unless they live in several partitions.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator

import structlog

from streamer.clock import Clock, backoff_seconds
from streamer.errors import Conflict, NotFound, OutcomeUnknown, StreamerError
from streamer.features.arrow_twin import write_twin
from streamer.features.document import END, Head, Line, Mark, parsed_rows, rows_json, symbol_line
from streamer.features.kept import superfluous
from streamer.features.rows import in_topic_order
from streamer.features.stored_document import (
    PIECE_BYTES,
    Changed,
    DocumentReader,
    Standing,
    read_pieces,
    read_standing,
    write_pieces,
)
from streamer.keys import FEATURE_HISTORY, kept_key, kept_prefix, parse_feature_history_key, parse_kept_key
from streamer.log_events import LogEvent
from streamer.records import TopicPartition
from streamer.store.contract import Create, Replace, Store
from streamer.streams import Stream
from streamer.workers import Workers

log = structlog.get_logger()

_HELD_BYTES = 32 << 20
_LEAST_PIECE_BYTES = 64 << 10
_READS_AT_ONCE = 16
_BLOCK_BYTES = 1 << 20


class MergedHistory:
    """The merged document of one stream, as one process keeps it up to date."""

    def __init__(self, store: Store, stream: Stream, clock: Clock, workers: Workers) -> None:
        assert stream.history is not None
        self._store = store
        self._stream = stream
        self._spec = stream.history
        self._clock = clock
        self._workers = workers
        self._heads: dict[str, tuple[str, Head | None]] = {}  # key of a partition's document -> (ETag, head)
        self._running: asyncio.Task[None] | None = None
        self._wanted: asyncio.Task[None] | None = None
        self._log = log.bind(stream=stream.name, topic=stream.topic, document=self._spec.document)

    async def merge(self) -> None:
        """Bring the merged document up to what the partitions' documents say now. Who asks while one merge is under way shares
        the next one. Never raises for the store: what fails is logged, and tried again with the next snapshot."""
        if self._wanted is None:
            self._wanted = asyncio.create_task(self._after(self._running), name=f"merge history {self._stream.name}")
        await asyncio.shield(self._wanted)

    async def close(self) -> None:
        """End what is under way."""
        tasks = [task for task in (self._running, self._wanted) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _after(self, running: asyncio.Task[None] | None) -> None:
        if running is not None:
            await asyncio.wait([running])
        self._running, self._wanted = self._wanted, None
        try:
            await self._merge()
        except StreamerError as error:
            self._log.warning(LogEvent.HISTORY_SAVE_FAILED, problem=error.message, hint=error.hint, **error.context)

    async def _merge(self) -> None:
        attempt = 0
        while True:
            there = await read_standing(self._store, self._spec.document)
            heads = await self._partitions()
            if heads is None or not self._goes_on(there, heads):
                return
            try:
                mode = Create() if there is None else Replace(there.etag)
                pieces = self._pieces(list(heads), there.head if there is not None else None)
                await write_pieces(self._store, self._spec.document, pieces, self._workers, mode=mode)
                break
            except (Conflict, OutcomeUnknown, Changed, NotFound):
                # Somebody else wrote, or our own request landed unseen: read again, and find out whether there is more to say.
                await self._clock.sleep(self._clock.jitter(backoff_seconds(attempt, most=2.0)))
                attempt += 1
        await self._keep()
        if self._spec.arrow:
            await write_twin(self._store, self._spec.document, self._clock, self._workers)

    async def _partitions(self) -> dict[str, Head] | None:
        """The heads of all partitions' documents by key; None where one of them cannot be read now."""
        prefix = f"{FEATURE_HISTORY}{self._stream.topic}/"
        listed = {
            item.key: item.etag async for item in self._store.list(prefix) if parse_feature_history_key(item.key) is not None
        }
        self._heads = {key: known for key, known in self._heads.items() if listed.get(key) == known[0]}
        waiting = iter([key for key in listed if key not in self._heads])

        async def carry(keys: Iterator[str]) -> None:
            for key in keys:
                if (found := await read_standing(self._store, key)) is not None:
                    self._heads[key] = (found.etag, found.head)

        await asyncio.gather(*(carry(waiting) for _ in range(_READS_AT_ONCE)))
        unreadable = [key for key, (_, head) in self._heads.items() if head is None]
        if unreadable:
            # Its owner replaces it with his next snapshot; until then the merged document stays as it is.
            hint = "its owner writes it anew; where the partition has no owner, delete it"
            self._log.warning(LogEvent.HISTORY_UNREADABLE, key=unreadable[0], hint=hint)
            return None
        return {key: head for key, (_, head) in sorted(self._heads.items()) if head is not None}

    def _goes_on(self, there: Standing | None, heads: dict[str, Head]) -> bool:
        """Whether there is anything to write, and nothing that would go back."""
        if not heads:
            return False
        marks = _marks(heads.values())
        head = there.head if there is not None else None
        if head is None:
            return True
        if (back := _gone_back(head, marks)) is not None:
            self._log.warning(LogEvent.HISTORY_WOULD_GO_BACK, partition=back.partition)
            return False
        return head.window != self._spec.window or any(head.marks.get(source) != mark for source, mark in marks.items())

    async def _pieces(self, keys: list[str], there: Head | None) -> AsyncIterator[bytes]:
        """The merged document. Raises `Changed` where one of the documents is replaced while it is read."""
        piece_bytes = max(_LEAST_PIECE_BYTES, min(PIECE_BYTES, _HELD_BYTES // len(keys)))
        readers = [DocumentReader(self._store, key, self._workers, piece_bytes=piece_bytes) for key in keys]
        streams = [_Lines(key, reader) for key, reader in zip(keys, readers, strict=True)]
        for stream in streams:
            await stream.fill()
        marks = _marks(reader.head for reader in readers)
        if there is not None and _gone_back(there, marks) is not None:
            raise Changed
        window = self._spec.window
        held = [Head(self._stream.name, window, marks).to_json()]
        size, first = 0, True
        async for symbol, texts in _by_symbol(streams):
            if len(texts) > 1:
                rows = await self._workers.run(_merged_rows, texts, window)
            else:
                rows = texts[0][1]
            held.append(symbol_line(symbol, rows, first=first))
            first = False
            size += len(held[-1])
            if size >= _BLOCK_BYTES:
                yield b"".join(held)
                held, size = [], 0
        held.append(END)
        yield b"".join(held)

    async def _keep(self) -> None:
        """Put a copy of what was just written beside the others, and remove those that are too many."""
        spec = self._spec
        prefix = kept_prefix(spec.document)
        if spec.keep:
            key = kept_key(spec.document, self._clock.now())
            copied = read_pieces(self._store, spec.document)
            with contextlib.suppress(Conflict, Changed, NotFound):  # somebody else replaced it at once, and keeps his own
                await write_pieces(self._store, key, copied, self._workers, mode=Create())
        times = {item.key: parse_kept_key(spec.document, item.key) async for item in self._store.list(prefix)}
        known = {time: key for key, time in times.items() if time is not None}
        for time in superfluous(known, spec.keep):
            await self._store.delete(known[time])


class _Lines:
    """The lines of one document, a few ahead."""

    def __init__(self, key: str, reader: DocumentReader) -> None:
        self.key = key
        self._batches = reader.lines(lambda lines: lines)
        self._ahead: deque[Line] = deque()

    async def fill(self) -> None:
        """Have at least one line, unless there is none."""
        while not self._ahead:
            batch = await anext(self._batches, None)
            if batch is None:
                return
            self._ahead.extend(batch)

    async def __aiter__(self) -> AsyncIterator[Line]:
        while True:
            await self.fill()
            if not self._ahead:
                return
            yield self._ahead.popleft()


async def _by_symbol(streams: list[_Lines]) -> AsyncIterator[tuple[str, list[tuple[str, bytes]]]]:
    """Every symbol in order, with (key, rows) of each document that has it."""
    iterators = [(stream.key, aiter(stream)) for stream in streams]
    heads: list[tuple[bytes, int, str, bytes]] = []

    async def push(at: int) -> None:
        if (line := await anext(iterators[at][1], None)) is not None:
            heapq.heappush(heads, (line[0].encode(), at, *line))

    for at in range(len(iterators)):
        await push(at)
    while heads:
        order, _, symbol, _ = heads[0]
        found = []
        while heads and heads[0][0] == order:
            _, at, _, text = heapq.heappop(heads)
            found.append((iterators[at][0], text))
            await push(at)
        yield symbol, found


def _merged_rows(texts: list[tuple[str, bytes]], window: int) -> bytes:
    """The last `window` rows of a symbol that lives in several partitions."""
    rows = [row for key, text in texts for row in parsed_rows(text, {}, key=key)]
    return rows_json(sorted(rows, key=in_topic_order)[-window:])


def _marks(heads: Iterable[Head]) -> dict[TopicPartition, Mark]:
    marks: dict[TopicPartition, Mark] = {}
    for head in heads:
        marks.update(head.marks)
    return marks


def _gone_back(there: Head, marks: dict[TopicPartition, Mark]) -> TopicPartition | None:
    """A partition of which the document that is there knows more than `marks`."""
    for source, mark in there.marks.items():
        if source not in marks or marks[source].place < mark.place:
            return source
    return None
