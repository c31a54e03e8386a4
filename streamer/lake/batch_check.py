"""Is one committed batch what it was written as? Pure: its files, opened, in; findings out.

Each file is held against its own name, metadata, footer and rows, and then all of them against each other: what a file says
of the whole batch is how a lost sibling is missed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from streamer.errors import Invalid
from streamer.lake.finding import Finding, FindingKind
from streamer.lake.inventory import ListedBatch
from streamer.lake.letters import Letter
from streamer.lake.stored_file import FACTS, StoredFile
from streamer.layout import Layout
from streamer.records import DeadLetter, DeadLetterReason
from streamer.write.digest import letters_digest
from streamer.write.partition_path import PartitionPath, date_of
from streamer.write.path_template import ColumnField, TimeField

_RESTORE = "restore the file from a backup or an older version of the object"
_BATCH_FACTS = ("layout", "batch_rows", "batch_dead_letters", "batch_files")


@dataclass(frozen=True, slots=True)
class PathCheck:
    """How the rows of one layout find their folder, and which columns that takes."""

    layout: Layout
    path: PartitionPath

    @classmethod
    def of(cls, layout: Layout) -> PathCheck:
        """Compile the layout's template. Raises `Invalid` where this release cannot."""
        return cls(layout, PartitionPath.parse(layout.path, layout.columns))

    @property
    def columns(self) -> frozenset[str]:
        """The columns that decide the folder."""
        names = {piece.column for piece in self.path.pieces if isinstance(piece, ColumnField)}
        if any(isinstance(piece, TimeField) for piece in self.path.pieces):
            names.add(self.path.event_time)
        return frozenset(names)


def check_file(stored: StoredFile, check: PathCheck | None) -> Iterator[Finding]:
    """What is wrong with one file, looked at alone. `check` is None where its layout is not known."""
    said = stored.said
    if not said:
        yield _of(stored, FindingKind.METADATA_MISSING, "neither the object's metadata nor a footer says what it is", _RESTORE)
    else:
        yield from _check_facts(stored, said)
    if check is not None:
        folder = stored.file.folder
        if not folder.dead_letters and check.layout.format != folder.suffix:
            yield _of(stored, FindingKind.LAYOUT_WRONG, f"its layout writes {check.layout.format}", _RESTORE)
    if stored.rows is not None and "rows" in said and said["rows"] != str(stored.rows):
        what = "dead letters" if stored.file.folder.dead_letters else "rows"
        yield _of(stored, FindingKind.ROWS_WRONG, f"it holds {stored.rows} {what}, its metadata says {said['rows']}", _RESTORE)
    if stored.table is not None:
        yield from _check_rows(stored, stored.table, check)
    if stored.letters is not None:
        yield from _check_letters(stored, stored.letters)


def _check_facts(stored: StoredFile, said: Mapping[str, str]) -> Iterator[Finding]:
    range_ = stored.file.range
    named = {
        "stream": stored.file.folder.stream,
        "topic": range_.source.topic,
        "partition": str(range_.source.partition),
        "lineage": str(range_.lineage),
        "start": str(range_.start),
        "end": str(range_.end),
    }
    missing = [name for name in FACTS if name not in said]
    if missing:
        yield _of(stored, FindingKind.METADATA_MISSING, f"its metadata lacks {', '.join(missing)}", _RESTORE)
    for name, expected in named.items():
        if said.get(name, expected) != expected:
            detail = f"its name says {name}={expected}, its metadata {name}={said[name]}"
            yield _of(stored, FindingKind.METADATA_WRONG, detail, "find out who renamed or copied it, and remove the copy")
    if stored.facts is not None and stored.footer is not None:
        for name in FACTS:
            if stored.facts.get(name) != stored.footer.get(name):
                detail = f"the object's metadata says {name}={stored.facts.get(name)}, the footer {stored.footer.get(name)}"
                yield _of(stored, FindingKind.METADATA_WRONG, detail, _RESTORE)
    elif stored.file.folder.suffix == "parquet" and stored.table is not None and stored.footer is None:
        yield _of(stored, FindingKind.METADATA_MISSING, "its footer does not say what it is", _RESTORE)


def _check_rows(stored: StoredFile, table: pa.Table, check: PathCheck | None) -> Iterator[Finding]:
    absent = [name for name in ("_offset", "_partition") if name not in table.column_names]
    if absent:
        yield _of(stored, FindingKind.UNREADABLE, f"it has no column {' and no '.join(absent)}", _RESTORE)
        return
    yield from _check_offsets(stored, table["_offset"])
    partition = stored.file.range.source.partition
    others = table.filter(pc.not_equal(table["_partition"], partition).fill_null(True))
    if others.num_rows:
        detail = f"{others.num_rows} rows are of partition {others['_partition'][0]}, offset {others['_offset'][0]} the first"
        yield _of(stored, FindingKind.PARTITION_WRONG, detail, _RESTORE)
    if check is None:
        return
    if absent := sorted(check.columns - set(table.column_names)):
        yield _of(stored, FindingKind.LAYOUT_WRONG, f"it lacks columns of its layout: {', '.join(absent)}", _RESTORE)
        return
    try:
        groups = check.path.groups(table)
    except (pa.ArrowException, KeyError, ValueError) as error:
        yield _of(stored, FindingKind.LAYOUT_WRONG, f"its columns are not those of its layout: {error}", _RESTORE)
        return
    for path, rows in groups:
        if path != stored.file.folder.partition_path:
            detail = f"{rows.num_rows} rows belong into {path}, offset {rows['_offset'][0]} the first"
            yield _of(stored, FindingKind.PATH_WRONG, detail, "find out who moved it; the key is decided by the rows alone")


def _check_offsets(stored: StoredFile, offsets: pa.ChunkedArray) -> Iterator[Finding]:
    range_ = stored.file.range
    if offsets.null_count:
        yield _of(stored, FindingKind.UNREADABLE, f"{offsets.null_count} rows have no offset", _RESTORE)
        return
    if len(offsets) == 0:
        return
    steps = pc.subtract(offsets[1:], offsets[:-1])
    least = pc.min(steps).as_py()
    if least is not None and least <= 0:
        at = pc.index(pc.less_equal(steps, 0), True).as_py()
        kind = FindingKind.OFFSET_TWICE if pc.any(pc.equal(steps, 0)).as_py() else FindingKind.OFFSET_ORDER
        yield _of(stored, kind, f"offset {offsets[at + 1]} follows {offsets[at]}", _RESTORE)
    span = pc.min_max(offsets).as_py()
    if span["min"] < range_.start or span["max"] >= range_.end:
        detail = f"its offsets are {span['min']}..{span['max']}"
        yield _of(stored, FindingKind.OFFSET_OUTSIDE, detail, "find out who renamed it; the name must carry the range")


def _check_letters(stored: StoredFile, letters: Sequence[Letter]) -> Iterator[Finding]:
    range_ = stored.file.range
    if strangers := [letter for letter in letters if letter.source != range_.source]:
        detail = f"{len(strangers)} dead letters are of {strangers[0].source}, offset {strangers[0].offset} the first"
        yield _of(stored, FindingKind.PARTITION_WRONG, detail, _RESTORE)
    yield from _check_offsets(stored, pa.chunked_array([pa.array([letter.offset for letter in letters], pa.int64())]))
    path = stored.file.folder.partition_path
    if misplaced := [letter for letter in letters if f"date={date_of(letter.timestamp)}" != path]:
        first = misplaced[0]
        detail = f"{len(misplaced)} dead letters belong into date={date_of(first.timestamp)}, offset {first.offset} the first"
        yield _of(stored, FindingKind.PATH_WRONG, detail, _RESTORE)
    digest = stored.said.get("digest")
    if digest is not None and stored.said.get("rows") == str(len(letters)) and digest != _digest(letters):
        yield _of(stored, FindingKind.METADATA_WRONG, "its dead letters are not those its digest speaks of", _RESTORE)


def _digest(letters: Sequence[Letter]) -> str:
    reason = DeadLetterReason.RULE  # no part of the digest
    return letters_digest([DeadLetter(x.offset, x.timestamp, x.key, x.value, x.headers, reason, "") for x in letters])


def check_siblings(
    batch: ListedBatch, opened: Sequence[StoredFile], *, lost_some: bool, removed: tuple[int, int, int] = (0, 0, 0)
) -> Iterator[Finding]:
    """What is wrong between the files of one batch. `opened` are those that could be read. removed: files, rows and dead
    letters that retention took and the archive has.

    lost_some: a gap is on record for offsets of this range. Two attempts may then have seen different records, and what a
    file says of the whole batch is true only of its own attempt.
    """
    yield from _check_disjoint(batch, opened)
    if lost_some:
        return
    speaking = [stored for stored in opened if all(name in stored.said for name in (*_BATCH_FACTS, "rows"))]
    if not speaking:
        return
    first = speaking[0]
    for name in _BATCH_FACTS:
        odd = next((stored for stored in speaking if stored.said[name] != first.said[name]), None)
        if odd is not None:
            detail = f"it says {name}={odd.said[name]}, {first.file.key} says {first.said[name]}"
            yield Finding.of_range(FindingKind.SIBLINGS_DISAGREE, batch.range, detail, _RESTORE, odd.file.key)
            return
    yield from _check_counts(batch, opened, first.said, removed)


def _check_counts(
    batch: ListedBatch, opened: Sequence[StoredFile], said: Mapping[str, str], removed: tuple[int, int, int]
) -> Iterator[Finding]:
    found = {"batch_files": len(batch.files) + removed[0]}
    if len(opened) == len(batch.files):
        rows = {False: 0, True: 0}
        for stored in opened:
            number = stored.rows if stored.rows is not None else stored.said.get("rows", "0")
            rows[stored.file.folder.dead_letters] += int(number) if str(number).isdecimal() else 0
        found |= {"batch_rows": rows[False] + removed[1], "batch_dead_letters": rows[True] + removed[2]}
    words = {"batch_files": "files", "batch_rows": "rows", "batch_dead_letters": "dead letters"}
    for name, number in found.items():
        if not said[name].isdecimal():
            yield Finding.of_range(FindingKind.METADATA_WRONG, batch.range, f"{name}={said[name]} is no number", _RESTORE)
        elif number != int(said[name]):
            less = number < int(said[name])
            kind = FindingKind.SIBLING_MISSING if less else FindingKind.SIBLING_EXTRA
            places = ", ".join(sorted(file.folder.prefix for file in batch.files)[:3])
            detail = f"the batch was written with {said[name]} {words[name]}, {number} are there (in {places})"
            hint = _RESTORE if less else "find out who copied a file, and remove the copy"
            yield Finding.of_range(kind, batch.range, detail, hint)


def _check_disjoint(batch: ListedBatch, opened: Sequence[StoredFile]) -> Iterator[Finding]:
    parts = [_offsets(stored) for stored in opened]
    known = [part for part in parts if part is not None and len(part)]
    if len(known) < 2:
        return
    offsets = pc.take(both := pa.concat_arrays(known), pc.array_sort_indices(both))
    twice = offsets[1:].filter(pc.equal(offsets[1:], offsets[:-1]))
    if not len(twice):
        return
    offset = twice[0]
    holders = [
        stored.file.key
        for stored, part in zip(opened, parts, strict=True)
        if part is not None and pc.index(part, offset).as_py() >= 0
    ]
    if len(holders) > 1:  # within one file `check_file` has said it
        detail = f"{len(twice)} offsets are in more than one file, {offset} the first: {', '.join(holders[:3])}"
        yield Finding.of_range(
            FindingKind.OFFSET_TWICE, batch.range, detail, "find out which file is a copy, and remove it", holders[-1]
        )


def _offsets(stored: StoredFile) -> pa.Array | None:
    if stored.table is not None and "_offset" in stored.table.column_names:
        whole = stored.table["_offset"].combine_chunks()
        return pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole
    if stored.letters is not None:
        return pa.array([letter.offset for letter in stored.letters], pa.int64())
    return None


def path_check(layout: Layout) -> PathCheck | None:
    """`PathCheck.of`, or None where this release cannot execute the layout's template."""
    try:
        return PathCheck.of(layout)
    except Invalid:
        return None


def _of(stored: StoredFile, kind: FindingKind, detail: str, hint: str) -> Finding:
    return Finding.of_range(kind, stored.file.range, detail, hint, stored.file.key)
