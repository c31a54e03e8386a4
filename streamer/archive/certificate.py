"""The certificate of a day, `archive/{date}.json`: what was read, what was written, and the hashes of both.

It is the switch between revisions: what it lists is the day, and nothing else is. Values and their JSON; no I/O.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from typing import Literal, Self

import orjson

from streamer.archive.interval import Interval
from streamer.archive.row_hash import RowHash
from streamer.archive.settings import ArchivedSchema, Recipe
from streamer.commit.position import Gap
from streamer.documents import parsed, typed
from streamer.errors import Damaged, Invalid
from streamer.keys import ArchiveKind, certificate_key

VERSION = 1

OutputKind = ArchiveKind | Literal["summary"]
Removed = Literal["raw", "dead-letters"]


@dataclass(frozen=True, slots=True)
class Output:
    """One object of the archive.

    key: where it is, or will be. staged: while set, the content is under this key, and under `key` that of the revision before
    or already the same. sha256: of the object's bytes. row_hash: of its rows (None for a summary). symbol: None where it has
    rows of several.
    """

    key: str
    kind: OutputKind
    stream: str | None
    symbol: str | None
    rows: int
    bytes: int
    sha256: str
    row_hash: str | None = None
    staged: str | None = None

    @property
    def place(self) -> str:
        """Where the content is now."""
        return self.staged or self.key

    @property
    def content(self) -> Output:
        """The same, wherever it is."""
        return replace(self, staged=None)


@dataclass(frozen=True, slots=True)
class PartitionPart:
    """What was read of one lineage of one topic-partition.

    read_to: files beyond this offset were not looked at. ranges: the batches that have rows or dead letters of the day, joined
    where they abut. rows, dead_letters: those of the day. gaps: offsets within these ranges that are not in the lake.
    """

    topic: str
    partition: int
    lineage: int
    read_to: int
    ranges: tuple[tuple[int, int], ...]
    files: int
    rows: int
    dead_letters: int
    gaps: tuple[Gap, ...] = ()


@dataclass(frozen=True, slots=True)
class InputList:
    """The object that names every input file with its rows and digest, under a key that its hash decides."""

    key: str
    sha256: str
    files: int


@dataclass(frozen=True, slots=True)
class StreamPart:
    """A stream's share of the day. row_hash: of all its rows, as `RowHash` defines it. removed: what retention took since."""

    schema: ArchivedSchema
    complete: bool
    rows: int
    row_hash: str
    dead_letters: int
    inputs: InputList
    partitions: tuple[PartitionPart, ...]
    outputs: tuple[Output, ...]
    removed: tuple[Removed, ...] = ()

    @property
    def hash(self) -> RowHash:
        return RowHash.parse(self.row_hash, self.rows)

    def same_content(self, other: StreamPart | None) -> bool:
        """Whether both were made of the same records into the same objects: how far was looked, and when, is no content."""
        return other is not None and self._content() == other._content()

    def _content(self) -> StreamPart:
        partitions = tuple(replace(part, read_to=0) for part in self.partitions if part.files)
        outputs = tuple(output.content for output in self.outputs)
        return replace(self, complete=False, removed=(), partitions=partitions, outputs=outputs)


@dataclass(frozen=True, slots=True)
class Certificate:
    """What `archive/{date}.json` says. revision: one more whenever the content of the day changed."""

    day: date
    revision: int
    recipe: Recipe
    streams: Mapping[str, StreamPart] = field(default_factory=dict)
    summary: Output | None = None

    @property
    def complete(self) -> bool:
        """Whether every partition of its streams had said that the day is complete."""
        return all(part.complete for part in self.streams.values())

    @property
    def outputs(self) -> Iterator[Output]:
        """Every object of the day."""
        for part in self.streams.values():
            yield from part.outputs
        if self.summary is not None:
            yield self.summary

    @property
    def publishing(self) -> bool:
        """Whether some objects are not under their own keys yet."""
        return any(output.staged is not None for output in self.outputs)

    def output(self, key: str) -> Output | None:
        """The object that is, or will be, under `key`."""
        return next((output for output in self.outputs if output.key == key), None)

    def without(self, keys: Collection[str]) -> Self:
        """The same, as if it did not list these objects."""
        streams = {
            name: replace(part, outputs=tuple(output for output in part.outputs if output.key not in keys))
            for name, part in self.streams.items()
        }
        summary = self.summary if self.summary is not None and self.summary.key not in keys else None
        return replace(self, streams=streams, summary=summary)

    def published(self) -> Self:
        """The same revision, with everything under its own key."""
        streams = {
            name: replace(part, outputs=tuple(output.content for output in part.outputs)) for name, part in self.streams.items()
        }
        return replace(self, streams=streams, summary=self.summary and self.summary.content)

    def to_json(self) -> bytes:
        """The document, byte for byte a function of the value."""
        return orjson.dumps(
            {
                "version": VERSION,
                "date": self.day.isoformat(),
                "revision": self.revision,
                "complete": self.complete,
                "bars": {"intervals": [str(interval) for interval in self.recipe.intervals], "fill": self.recipe.fill},
                "gap_seconds": self.recipe.gap_seconds,
                "streams": {name: asdict(part) for name, part in sorted(self.streams.items())},
                "summary": self.summary and asdict(self.summary),
            },
            option=orjson.OPT_INDENT_2,
        )

    @classmethod
    def from_json(cls, body: bytes, *, key: str) -> Self:
        """The certificate in `body`. Raises `Damaged` where it is none, or of a version this release does not know."""
        try:
            fields = parsed(body)
            if fields["version"] != VERSION:
                raise ValueError(f"version {fields['version']}, this release reads {VERSION}")
            found = cls(
                day=date.fromisoformat(fields["date"]),
                revision=typed(fields["revision"], int),
                recipe=Recipe(
                    tuple(Interval.parse(text) for text in fields["bars"]["intervals"]),
                    typed(fields["bars"]["fill"], bool),
                    typed(fields["gap_seconds"], float),
                ),
                streams=typed(fields["streams"], dict[str, StreamPart]),
                summary=typed(fields["summary"], Output | None),
            )
            for part in found.streams.values():
                part.hash  # noqa: B018 -- one that is none is found here, not in the middle of a proof
            if certificate_key(found.day) != key:
                raise ValueError(f"it speaks of {found.day}")
        except (ValueError, KeyError, TypeError, AttributeError, Invalid) as error:
            raise Damaged(
                f"not a certificate: {error!r}",
                hint="restore an older version of this object, or delete it and close the day again: `streamer archive --date`",
                key=key,
            ) from error
        return found
