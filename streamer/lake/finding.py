"""What `verify` found: each finding names its place and the next step, and a report adds up what was proved.

Values only. The words of `FindingKind` are for scripts and never change their meaning.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from streamer.commit.position import Gap
from streamer.records import BatchRange, TopicPartition

FINDINGS_KEPT = 10_000


class FindingKind(StrEnum):
    """What is wrong with the lake. Any of these makes `streamer verify` end with 5."""

    MISSING_RANGE = "missing_range"  # offsets below `committed` that no file and no gap speaks of
    OVERLAP = "overlap"  # two batches of one partition share offsets
    BEYOND_POSITION = "beyond_position"  # a file of offsets that were never sealed
    POSITION_MISSING = "position_missing"  # files, but no position
    POSITION_DAMAGED = "position_damaged"  # an object below _streamer/positions/ that is none, or at the wrong key
    SIBLING_MISSING = "sibling_missing"  # a batch has fewer files, rows or dead letters than it was written with
    SIBLING_EXTRA = "sibling_extra"  # or more
    SIBLINGS_DISAGREE = "siblings_disagree"  # files of one batch tell different things about it
    METADATA_MISSING = "metadata_missing"
    METADATA_WRONG = "metadata_wrong"  # name, metadata and footer do not say the same
    UNREADABLE = "unreadable"  # not a file of its format
    FILE_VANISHED = "file_vanished"  # listed, and gone when it was read
    ROWS_WRONG = "rows_wrong"  # another number of rows than its metadata says
    OFFSET_TWICE = "offset_twice"
    OFFSET_ORDER = "offset_order"
    OFFSET_OUTSIDE = "offset_outside"  # not within the range of the file's name
    PARTITION_WRONG = "partition_wrong"  # a row or dead letter of another topic-partition
    PATH_WRONG = "path_wrong"  # rows that belong into another folder
    LAYOUT_MISSING = "layout_missing"
    LAYOUT_WRONG = "layout_wrong"
    COPIED_FILE = "copied_file"  # a data file under a foreign name: SQL engines read its rows twice
    ARCHIVE_MISSING = "archive_missing"  # an object that a certificate lists
    ARCHIVE_WRONG = "archive_wrong"  # it is not the one that was certified, or has other rows than the raw files
    BARS_WRONG = "bars_wrong"  # bars that are not those of the day's ticks
    CERTIFICATE_DAMAGED = "certificate_damaged"
    RAW_MISSING = "raw_missing"  # data files of a certified day are gone, and not by retention
    BEYOND_KAFKA = "beyond_kafka"  # the position is beyond the partition's end: the topic was made anew


class NoteKind(StrEnum):
    """What a reader should know and is no damage."""

    FOREIGN_FILE = "foreign_file"  # not of streamer; SQL engines may stumble over it
    IN_PROGRESS = "in_progress"  # files of a range that is being written; proved once it is committed
    GAP = "gap"  # offsets on record as not in the lake
    UNFINISHED_LINEAGE = "unfinished_lineage"  # a range that was being written when the topic was made anew
    UNDATED = "undated"  # checked although a date was asked for, because its folders name none
    LOST_SOON = "lost_soon"  # Kafka's retention has passed `committed`
    OTHER_CLUSTER = "other_cluster"  # Kafka answered, and is not the cluster of this position
    ARCHIVE_PUBLISHING = "archive_publishing"  # a new revision that is not under its own keys yet
    ARCHIVE_INCOMPLETE = "archive_incomplete"  # a day that was closed by hand before it was complete
    ARCHIVE_LATE = "archive_late"  # data of a certified day came late: it is closed again
    START_UNKNOWN = "start_unknown"  # nothing says where the lineage began: a lost first batch cannot be missed


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found. `start`/`end` are the offsets concerned, half open; `detail` says what is and what should be; `hint`
    is the reader's next step."""

    kind: FindingKind | NoteKind
    detail: str
    hint: str = ""
    key: str | None = None
    topic: str | None = None
    partition: int | None = None
    lineage: int | None = None
    start: int | None = None
    end: int | None = None

    @classmethod
    def of_range(
        cls, kind: FindingKind | NoteKind, range_: BatchRange, detail: str, hint: str = "", key: str | None = None
    ) -> Finding:
        """A finding about the offsets of `range_`."""
        source = range_.source
        return cls(kind, detail, hint, key, source.topic, source.partition, range_.lineage, range_.start, range_.end)

    @property
    def place(self) -> str:
        """The key, or the range, for people."""
        if self.key is not None:
            return self.key
        where = f"{self.topic}-{self.partition}" if self.topic is not None else "the lake"
        lineage = f" lineage {self.lineage}" if self.lineage else ""
        return f"{where}{lineage}[{self.start},{self.end})" if self.start is not None else where + lineage


@dataclass(frozen=True, slots=True)
class PartitionReport:
    """One lineage of one topic-partition, added up over what was checked.

    `first` and `last` are the ends of the files listed. `lag_records` is None where Kafka was not asked.
    """

    source: TopicPartition
    lineage: int
    streams: tuple[str, ...]
    first: int | None
    last: int | None
    committed: int | None
    sealed: int | None
    batches: int
    files: int
    rows: int
    dead_letters: int
    gaps: tuple[Gap, ...] = ()
    kafka_end: int | None = None
    lag_records: int | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What `verify` proved. `findings` is cut at 10,000; `finding_count` is not. `files`, `rows`, `dead_letters` and `bytes`
    count what was checked; `deep` tells whether contents were read."""

    findings: tuple[Finding, ...]
    finding_count: int
    notes: tuple[Finding, ...]
    partitions: tuple[PartitionReport, ...]
    batches: int
    files: int
    rows: int
    dead_letters: int
    bytes: int
    deep: bool
    kafka: bool

    @property
    def sound(self) -> bool:
        """Whether nothing was found."""
        return self.finding_count == 0

    def document(self) -> dict[str, Any]:
        """The report as JSON takes it."""
        body = asdict(self)
        for name in ("findings", "notes"):
            body[name] = [{field: value for field, value in entry.items() if value is not None} for entry in body[name]]
        for partition in body["partitions"]:
            partition["topic"], partition["partition"] = partition.pop("source")
        return {"sound": self.sound, **body}


@dataclass(slots=True)
class FindingList:
    """Collects findings, and keeps no more than it can show."""

    found: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)
    count: int = 0

    def add(self, finding: Finding) -> None:
        """Take in one finding or note."""
        if isinstance(finding.kind, NoteKind):
            if len(self.notes) < FINDINGS_KEPT:
                self.notes.append(finding)
            return
        self.count += 1
        if len(self.found) < FINDINGS_KEPT:
            self.found.append(finding)

    def extend(self, findings: list[Finding]) -> None:
        """Take in several."""
        for finding in findings:
            self.add(finding)
