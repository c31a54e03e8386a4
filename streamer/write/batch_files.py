"""A batch as the files it becomes: which there are, under which keys, with which facts about themselves and each other.

Pure, and safe from any thread: no I/O, no clock. What a file says of itself is what lets a later attempt recognise it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from streamer.errors import StreamerError
from streamer.keys import data_key, dead_letter_key
from streamer.layout import CRC_COLUMN, Layout
from streamer.records import BatchRange, DeadLetter
from streamer.write import compression, parquet
from streamer.write.dead_letter_file import encode_dead_letters
from streamer.write.digest import letters_digest, rows_digest
from streamer.write.ndjson import NdjsonEncoder
from streamer.write.parquet import ParquetEncoder
from streamer.write.partition_path import PartitionPath, date_of

METADATA_VERSION = "1"
REFUSED_BY = "refused_by"
"""What a dead-letter file says of quality rules: `name:letters`, parted by commas. Absent where none refused any."""

_IDENTITY = ("topic", "partition", "lineage", "start", "end", "layout")

Recognition = Literal["same", "fuller", "other"]


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file as it is put. `rows` counts its rows, or its dead letters; `metadata` belongs to the object."""

    key: str
    body: bytes = field(repr=False)
    metadata: dict[str, str] = field(repr=False)
    content_type: str
    rows: int


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """A file that is still rows. `encode` may run in any thread, and more than once with the same result."""

    key: str
    rows: int
    dead_letters: bool
    content_type: str
    _metadata: Mapping[str, str] = field(repr=False)  # all but the digest, which is work for `encode`
    _digest: Callable[[], str] = field(repr=False)
    _body: Callable[[Mapping[str, str]], bytes] = field(repr=False)

    def encode(self) -> DataFile:
        """The file's bytes and metadata: the expensive half, to be done as late as there is a free upload."""
        metadata = {**self._metadata, "digest": self._digest()}
        return DataFile(self.key, self._body(metadata), metadata, self.content_type, self.rows)


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """All files of a batch: data files by key, then dead-letter files by date. None for a range without a record."""

    files: tuple[PlannedFile, ...]
    rows: int
    dead_letters: int


class _Encoder(Protocol):
    def encode(self, table: pa.Table, metadata: Mapping[str, str]) -> bytes: ...


class BatchWriter:
    """Turns batches of one layout into files. Made once per layout; shared by threads."""

    def __init__(self, layout: Layout) -> None:
        """Raises `Invalid` where the layout's path template is not one."""
        self.layout = layout
        self._path = PartitionPath.parse(layout.path, layout.columns)
        self._encoder, self._content_type = _encoder(layout)

    def plan(self, range_: BatchRange, tables: Sequence[pa.Table], dead_letters: Sequence[DeadLetter]) -> BatchPlan:
        """The files of `range_`: every row in exactly one, in offset order, and every dead letter likewise.

        `tables` have `Layout.decoded_schema` and together the rows of the range in offset order, however divided. Raises
        `StreamerError` where they do not: such a batch must not be written.
        """
        table = pa.concat_tables(tables) if tables else self.layout.decoded_schema.empty_table()
        letters = sorted(dead_letters, key=lambda letter: letter.offset)
        self._check(range_, table, letters)
        groups = self._path.groups(table)
        by_date: dict[str, list[DeadLetter]] = {}
        for letter in letters:
            by_date.setdefault(date_of(letter.timestamp), []).append(letter)
        facts = {
            "version": METADATA_VERSION,
            "stream": self.layout.stream,
            "topic": range_.source.topic,
            "partition": str(range_.source.partition),
            "lineage": str(range_.lineage),
            "start": str(range_.start),
            "end": str(range_.end),
            "layout": self.layout.fingerprint,
            "batch_rows": str(table.num_rows),
            "batch_dead_letters": str(len(letters)),
            "batch_files": str(len(groups) + len(by_date)),
        }
        data = (self._data_file(range_, path, rows, facts) for path, rows in groups)
        dead = (self._dead_letter_file(range_, date, by_date[date], facts) for date in sorted(by_date))
        return BatchPlan((*data, *dead), table.num_rows, len(letters))

    def _data_file(self, range_: BatchRange, path: str, rows: pa.Table, facts: Mapping[str, str]) -> PlannedFile:
        return PlannedFile(
            data_key(self.layout.stream, path, range_, self.layout.format),
            rows.num_rows,
            False,
            self._content_type,
            {**facts, "rows": str(rows.num_rows)},
            partial(rows_digest, rows),
            lambda metadata: self._encoder.encode(rows.drop_columns([CRC_COLUMN]), metadata),
        )

    def _dead_letter_file(
        self, range_: BatchRange, date: str, letters: Sequence[DeadLetter], facts: Mapping[str, str]
    ) -> PlannedFile:
        return PlannedFile(
            dead_letter_key(self.layout.stream, date, range_),
            len(letters),
            True,
            compression.CONTENT_TYPES["gz"],
            {**facts, "rows": str(len(letters)), **_refused_by(letters)},
            partial(letters_digest, letters),
            lambda _: encode_dead_letters(range_.source, letters),
        )

    def _check(self, range_: BatchRange, table: pa.Table, letters: Sequence[DeadLetter]) -> None:
        if not table.schema.equals(self.layout.decoded_schema):
            raise StreamerError("rows do not have the columns of their layout", hint="report this", range=range_)
        rows, refused = table["_offset"], pa.array([letter.offset for letter in letters], pa.int64())
        for offsets in (rows, refused):
            ascending = pc.all(pc.greater(offsets[1:], offsets[:-1])).as_py() is not False
            inside = not len(offsets) or range_.start <= offsets[0].as_py() <= offsets[-1].as_py() < range_.end
            if not (ascending and inside):
                raise StreamerError("the rows of a batch are not those of its range", hint="report this", range=range_)
        if len(refused) and pc.any(pc.is_in(refused, rows)).as_py():
            raise StreamerError("a record is a row and a dead letter", hint="report this", range=range_)


def _refused_by(letters: Sequence[DeadLetter]) -> dict[str, str]:
    counts = Counter(letter.rule for letter in letters if letter.rule)
    return {REFUSED_BY: ",".join(f"{rule}:{count}" for rule, count in sorted(counts.items()))} if counts else {}


def recognise(metadata_found: Mapping[str, str], mine: DataFile, *, head_lost: bool) -> Recognition:
    """What a file is that was there already when `mine` was put under its key.

    `same`: the same records of the same range under the same layout, so the PUT is a success, whatever the bytes.
    `fuller`: `head_lost` (Kafka no longer has all of the range) and an earlier attempt still had more of it: keep that one.
    `other`: neither; the lake holds something that this batch did not put there.
    """
    if any(metadata_found.get(name) != mine.metadata[name] for name in _IDENTITY):
        return "other"
    if all(metadata_found.get(name) == mine.metadata[name] for name in ("rows", "digest")):
        return "same"
    found = metadata_found.get("rows", "")
    return "fuller" if head_lost and found.isdecimal() and int(found) > mine.rows else "other"


def _encoder(layout: Layout) -> tuple[_Encoder, str]:
    if layout.format == "parquet":
        return ParquetEncoder(layout.arrow_schema), parquet.CONTENT_TYPE
    suffix: compression.Compression = "zst" if layout.format == "ndjson.zst" else "gz"
    return NdjsonEncoder(layout.arrow_schema, suffix), compression.CONTENT_TYPES[suffix]
