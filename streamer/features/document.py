"""The document of a feature history: one JSON object, a line for its head and a line for each symbol (docs/layout.md). Pure.

It is read and written line by line, so that a document of a gigabyte never holds up whoever does so for longer than one symbol
takes, and so that symbols can be copied from one document into another without looking at their rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

import orjson

from streamer.documents import check_writable, instant, typed
from streamer.errors import Damaged
from streamer.features.rows import Names, Row, packed, unpacked
from streamer.records import TopicPartition

VERSION = 1
CONTENT_TYPE = "application/json"
END_LINE = b"}}"
END = b"\n" + END_LINE + b"\n"

_HEAD_END = b',"features":{'
_SYMBOL = re.compile(rb'"(?:[^"\\]|\\.)*":')


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """Where a history stands in one partition: every row below `offset` of this lineage is in it. Later ones are greater."""

    lineage: int
    offset: int
    saved: datetime  # when it was known to stand there; not earlier than the commit

    @property
    def place(self) -> tuple[int, int]:
        """What decides which of two is newer."""
        return self.lineage, self.offset


@dataclass(frozen=True, slots=True)
class Head:
    """Everything of a document but the rows."""

    stream: str
    window: int
    marks: Mapping[TopicPartition, Mark]

    @property
    def as_of(self) -> datetime:
        """Up to here the history is known to be complete: the oldest of its partitions."""
        return min((mark.saved for mark in self.marks.values()), default=datetime.fromtimestamp(0, UTC))

    @property
    def places(self) -> dict[TopicPartition, tuple[int, int]]:
        """(lineage, offset) of each partition."""
        return {source: mark.place for source, mark in self.marks.items()}

    def to_json(self) -> bytes:
        """The first line of the document, up to where the symbols begin."""
        topics: dict[str, dict[str, Mark]] = {}
        for (topic, partition), mark in sorted(self.marks.items()):
            topics.setdefault(topic, {})[str(partition)] = mark
        head = {
            "version": VERSION,
            "stream": self.stream,
            "as_of": instant_text(self.as_of),
            "window": self.window,
            "lineage": {topic: {p: mark.lineage for p, mark in marks.items()} for topic, marks in topics.items()},
            "offsets": {topic: {p: mark.offset for p, mark in marks.items()} for topic, marks in topics.items()},
            "saved": {topic: {p: instant_text(mark.saved) for p, mark in marks.items()} for topic, marks in topics.items()},
        }
        return orjson.dumps(head)[:-1] + _HEAD_END

    @classmethod
    def from_fields(cls, fields: Any, *, key: str) -> Self:
        """The head among the fields of a document. Raises `Damaged`."""
        try:
            if fields["version"] != VERSION:
                raise Damaged(
                    f"feature history of version {fields['version']}, this release reads {VERSION}",
                    hint="read it with the release that wrote it, or a newer one",
                    key=key,
                )
            marks = {}
            for topic, offsets in fields["offsets"].items():
                for partition, offset in offsets.items():
                    lineage, saved = fields["lineage"][topic][partition], fields["saved"][topic][partition]
                    if type(offset) is not int or type(lineage) is not int:
                        raise TypeError(f"offset {offset!r} of lineage {lineage!r}")
                    if not (partition.isascii() and partition.isdecimal()):
                        raise ValueError(f"partition {partition!r}")
                    marks[TopicPartition(topic, int(partition))] = Mark(lineage, offset, instant(saved))
            return cls(typed(fields["stream"], str), typed(fields["window"], int), marks)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise damaged(key, f"its head: {error!r}") from error


def damaged(key: str, why: str) -> Damaged:
    """The error for a document that is none."""
    return Damaged(
        f"not a feature history: {why}",
        hint="the daemon writes it anew from its own documents at its next snapshot; older ones: `streamer state list`",
        key=key,
    )


def head_of(start: bytes, *, key: str, whole: bool) -> Head | None:
    """The head of the document that begins with `start`; None where that is not enough of it. Raises `Damaged`.

    whole: whether `start` is all there is.
    """
    end = start.find(_HEAD_END)
    if end < 0 and not whole:
        return None
    try:
        fields = orjson.loads(start if end < 0 else start[:end] + b"}")
    except orjson.JSONDecodeError as error:
        raise damaged(key, str(error)) from error
    return Head.from_fields(fields, key=key)


Line = tuple[str, bytes]
"""A symbol, and its rows as JSON text."""


class LineParser:
    """Takes a document apart, piece by piece. `head` is known as soon as the pieces hold it.

    What another tool has formatted anew is the same JSON, and is read when all of it is there. Every method raises `Damaged`.
    """

    def __init__(self, key: str) -> None:
        self.head: Head | None = None
        self._key = key
        self._rest = b""
        self._foreign = False
        self._ended = False
        self._previous: bytes | None = None

    def feed(self, piece: bytes) -> list[Line]:
        """The symbols that the document goes on with, as far as their lines are complete."""
        text = self._rest + piece
        if self.head is None and not self._foreign:
            end = text.find(_HEAD_END)
            after = end + len(_HEAD_END)
            if end < 0 or len(text) == after:
                self._rest = text
                return []
            self._foreign = text[after : after + 1] != b"\n"
            if not self._foreign:
                self.head = head_of(text[:after], key=self._key, whole=False)
                text = text[after + 1 :]
        if self._foreign:
            self._rest = text
            return []
        *complete, self._rest = text.split(b"\n")
        return [found for line in complete if (found := self._line(line)) is not None]

    def close(self) -> list[Line]:
        """What only the end of the document shows."""
        if self.head is None:
            return self._parse_whole()
        if self._rest or not self._ended:
            raise damaged(self._key, "it is cut short")
        return []

    def _line(self, line: bytes) -> Line | None:
        match = _SYMBOL.match(line)
        if match is None or self._ended:
            if line != END_LINE or self._ended:
                raise damaged(self._key, f"a line that begins {line[:40]!r}")
            self._ended = True
            return None
        name = line[: match.end() - 1]
        try:
            symbol = orjson.loads(name)
        except orjson.JSONDecodeError as error:
            raise damaged(self._key, f"a line that begins {line[:40]!r}: {error}") from error
        order = symbol.encode()
        if self._previous is not None and order <= self._previous:
            raise damaged(self._key, f"symbol {symbol[:40]!r} is not in its place")
        self._previous = order
        return symbol, line[match.end() :].removesuffix(b",")

    def _parse_whole(self) -> list[Line]:
        try:
            fields = orjson.loads(self._rest)
            self.head = Head.from_fields(fields, key=self._key)
            found = [(symbol, orjson.dumps(rows)) for symbol, rows in fields["features"].items()]
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise damaged(self._key, str(error)) from error
        return sorted(found, key=lambda line: line[0].encode())


def parsed_rows(text: bytes, names: Names, *, key: str) -> list[Row]:
    """The rows of one line. Raises `Damaged`."""
    try:
        rows = orjson.loads(text)
        check_writable(rows)
        return [packed(flat, names) for flat in rows]
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise damaged(key, f"rows that begin {text[:60]!r}: {error!r}") from error


def parse(body: bytes, *, key: str) -> tuple[Head, list[Line]]:
    """A whole document at once. Raises `Damaged`."""
    parser = LineParser(key)
    lines = [*parser.feed(body), *parser.close()]
    assert parser.head is not None
    return parser.head, lines


def encoded(head: Head, symbols: Iterable[tuple[str, Sequence[Row]]]) -> Iterator[bytes]:
    """The document in pieces, each of them one symbol's work."""
    yield head.to_json()
    first = True
    for symbol, rows in sorted(symbols, key=lambda each: each[0].encode()):
        yield symbol_line(symbol, rows_json(rows), first=first)
        first = False
    yield END


def rows_json(rows: Sequence[Row]) -> bytes:
    """The rows of one symbol, as the document has them."""
    return orjson.dumps([unpacked(row) for row in rows])


def symbol_line(symbol: str, rows: bytes, *, first: bool) -> bytes:
    """One symbol as its line of the document, with what parts it from the line before."""
    return b"".join((b"\n" if first else b",\n", orjson.dumps(symbol), b":", rows))


def instant_text(instant: datetime) -> str:
    """A time of day as the documents have it."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
