"""The model's values: which protocol is examined, in which world, and the state of everything.

Each field of `Pos` stands for the field of the same name of `streamer.commit.position.Position`; `real` makes that one of
it, so that the daemon's own `violation` judges the model's steps too. The small twin is there because millions are hashed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Literal, NamedTuple

from streamer.commit.position import Gap, PastLineage, Position, violation
from streamer.records import TopicPartition

Record = tuple[int, int]
"""(which topic of this name, offset)"""


@dataclass(frozen=True)
class Spec:
    """The protocol, and what the world may do to it. The defaults are the protocol as the daemon has it."""

    records: int = 3
    writers: int = 2
    # the protocol
    seal: Literal["cas", "none", "put", "ahead"] = "cas"  # put: unconditional; ahead: seals k+1 while k is being written
    order: Literal["write-commit", "commit-write", "commit-early"] = "write-commit"  # early: after the first data file
    merge: bool = True  # the commit of k may seal k+1 in one PUT
    settle: Literal["body", "writer-epoch", "sequence", "overwrite"] = "body"  # how a CAS without a yes is settled
    retry: Literal["any", "same"] = "any"  # a change that has not landed: may cut elsewhere, or sends the same body again
    adopt: Literal["writer", "epoch"] = "epoch"  # what a take-over that was overtaken takes for its own
    identity: Literal["incarnation", "host"] = "incarnation"  # host: a StatefulSet's name, the same after a restart
    clock: bool = False  # `through` may move by itself, once, where nothing is sealed
    restarts: bool = False  # a writer may drop everything and take the partition over again, under the same name
    cas: bool = True  # the store has conditional writes
    recovery: Literal["sealed", "free"] = "sealed"  # free: cuts a sealed range where it likes
    key: Literal["range", "start", "writer"] = "range"  # start: no end offset; writer: its name is in the key
    create_only: bool = True
    layouts: tuple[int, ...] = (0, 0, 0)  # the layout each writer is configured with: see FOLDER
    layout_rule: Literal["recorded", "cleanup", "ignore"] = "recorded"
    layout_set: Literal["seal", "takeover"] = "seal"  # with which change the position's layout becomes the writer's
    fenced: Literal["retake", "wait"] = "retake"
    # the world
    reassign: bool = False  # Kafka moves the partition; the member it named last must not be left waiting
    retention: bool = False  # Kafka drops the head of the log
    compaction: bool = False  # Kafka drops any record
    fuller: Literal["wins", "after-retention", "never", "shrink"] = "wins"  # a file with more rows than are left to write
    raw_retention: Literal["", "any-time", "quiet"] = ""  # closed files are deleted; quiet: only with no PUT of them under way
    archive: Literal["", "raw", "merge"] = ""  # the day is compacted: from raw alone, or with the revision before
    recreate: Literal["", "unnoticed", "accept", "accept-lineage"] = ""  # the topic is made anew
    history: Literal["", "commit", "write", "skip", "stale-put", "label"] = ""  # feature history: fed and saved how
    watch: Literal["all", "listed", "lost"] = "all"  # which violations end the search; listed: what a user can see


class Pos(NamedTuple):
    """The position object; the whole body is its ETag. `cut` is only for seal="ahead", where a sealed range is split."""

    committed: int
    sealed: int
    epoch: int
    writer: int
    sequence: int
    layout: int
    gaps: frozenset[int] = frozenset()
    lineage: int = 0
    cut: int = 0
    through: int = 0


class File(NamedTuple):
    """A data file; its key is what `key_of` says."""

    folder: str
    start: int
    end: int
    layout: int
    rows: tuple[Record, ...]
    writer: int
    lineage: int


class Message(NamedTuple):
    """A request whose answer is lost: it may land at any time, again and again, or never."""

    kind: Literal["cas", "put", "delete"]
    file: File | None = None
    view: Pos | None = None
    target: Pos | None = None
    unconditional: bool = False


class Writer(NamedTuple):
    """One incarnation of a process. A crash is a writer that is never scheduled again, a zombie one that is, late."""

    at: str = "new"  # new | cas | back | clean | write | fenced | done | refused | conflict
    view: Pos | None = None  # the version it last knew (If-Match)
    target: Pos | None = None  # the version it is trying to write
    todo: frozenset[File] = frozenset()  # data files still to PUT (or to delete, in `clean`)
    takes: int = 0
    fed: tuple[int, ...] = ()  # feature history: the rows, in memory


class State(NamedTuple):
    """Everything: the lake, the network, the processes and Kafka."""

    pos: Pos | None
    files: frozenset[File]
    net: frozenset[Message]
    writers: tuple[Writer, ...]
    head: int = 0  # the first offset Kafka still has
    log: int = 0  # which topic stands under this name
    dropped: frozenset[File] = frozenset()  # by raw retention
    archive: frozenset[Record] | None = None
    owner: int = 0  # the member Kafka assigned last
    snapshot: tuple[int, tuple[int, ...]] = (0, ())  # feature history: offset, rows
    compacted: frozenset[int] = frozenset()


FOLDER: Mapping[int, Callable[[int], str]] = {
    # Layout -> where a record goes. 1 is another path template; 2 the same paths, but record 1 is a dead letter.
    0: lambda offset: "even" if offset % 2 == 0 else "odd",
    1: lambda offset: "all",
    2: lambda offset: "dead" if offset == 1 else "even" if offset % 2 == 0 else "odd",
}


def key_of(spec: Spec, file: File) -> tuple[object, ...]:
    """The key of a data file, as far as it tells files of this partition apart."""
    key: tuple[object, ...] = (file.folder, file.start) if spec.key == "start" else (file.folder, file.start, file.end)
    key += (file.writer,) if spec.key == "writer" else ()
    return key + ((file.lineage,) if spec.recreate == "accept-lineage" else ())


def data_files(spec: Spec, state: State, writer: int, layout: int, start: int, end: int, lineage: int) -> frozenset[File]:
    """The files of a range: a pure function of records and layout, as far as Kafka still has the records."""
    folders: dict[str, list[Record]] = {}
    for offset in range(max(start, state.head), end):
        if offset not in state.compacted:
            folders.setdefault(FOLDER[layout](offset), []).append((state.log, offset))
    named = writer if spec.key == "writer" else -1
    return frozenset(File(folder, start, end, layout, tuple(rows), named, lineage) for folder, rows in folders.items())


def recognise(spec: Spec, state: State, there: File, mine: File) -> str:
    """What a file is that has the name of `mine` already: `same`, `fuller` (an earlier attempt had more), or `other`."""
    if there.layout == mine.layout and there.rows == mine.rows:
        return "same"
    forgotten = state.head > mine.start or (spec.fuller == "wins" and len(mine.rows) < mine.end - mine.start)
    if spec.fuller in ("wins", "after-retention") and there.layout == mine.layout and forgotten:
        return "fuller" if set(mine.rows) < set(there.rows) else "other"
    # As written first: range, number of rows and layout are equal, so it is taken for our own.
    return "same" if spec.recreate == "accept" and len(there.rows) == len(mine.rows) else "other"


TOPIC = TopicPartition("modelled", 0)


@cache
def real(pos: Pos) -> Position:
    """The position as the daemon writes it."""
    past = tuple(PastLineage(lineage, "cluster", 0, 0, 0) for lineage in range(pos.lineage))
    return Position(
        cluster_id="cluster",
        source=TOPIC,
        lineage=pos.lineage,
        committed=pos.committed,
        sealed=pos.sealed,
        epoch=pos.epoch,
        sequence=pos.sequence,
        writer=f"writer-{pos.writer}",
        host="host",
        layout=f"layout-{pos.layout}",
        gaps=tuple(Gap(offset, offset + 1, "retention", "") for offset in sorted(pos.gaps)),
        start=0,
        past=past,
        through=datetime(2026, 1, pos.through, tzinfo=UTC) if pos.through else None,
    )


@cache
def real_violation(old: Pos | None, new: Pos) -> str | None:
    """What the daemon itself says of `new` following `old`."""
    return violation(None if old is None else real(old), real(new))
