"""The names of the lake: the one builder and the one parser of every key that streamer writes.

The grammar is a promise to users (docs/layout.md). Pure text; where a key is stored is the store's affair.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from streamer.layout import Format
from streamer.records import BatchRange, TopicPartition

RAW = "raw/"
DEAD_LETTERS = "dead-letters/"
POSITIONS = "_streamer/positions/"
LAYOUTS = "_streamer/layouts/"
DEAD_LETTER_SUFFIX = "ndjson.gz"

_NAME = re.compile(
    r"(?P<topic>[A-Za-z0-9._-]{1,249})-(?P<partition>\d{5,})-(?P<start>\d{20})-(?P<end>\d{20})(?:-l(?P<lineage>\d+))?"
    r"\.(?P<suffix>parquet|ndjson\.zst|ndjson\.gz)"
)
_POSITION = re.compile(rf"{POSITIONS}(?P<topic>[A-Za-z0-9._-]{{1,249}})/(?P<partition>\d{{5,}})\.json")


@dataclass(frozen=True, slots=True)
class DataKey:
    """What the key of a data file or dead-letter file says. `partition_path` is the text between the stream's folder and
    the file's name (`date=YYYY-MM-DD` for dead letters)."""

    stream: str
    partition_path: str
    range: BatchRange
    suffix: str
    dead_letters: bool


def file_name(range_: BatchRange, suffix: str) -> str:
    """`{topic}-{partition:05d}-{start:020d}-{end:020d}[-l{lineage}].{suffix}`: sorts by offset, and names the range."""
    lineage = f"-l{range_.lineage}" if range_.lineage else ""
    source = range_.source
    return f"{source.topic}-{source.partition:05d}-{range_.start:020d}-{range_.end:020d}{lineage}.{suffix}"


def data_key(stream: str, partition_path: str, range_: BatchRange, format_: Format) -> str:
    """Where the rows of `range_` that share `partition_path` are."""
    folder = f"{RAW}{stream}/{partition_path}/" if partition_path else f"{RAW}{stream}/"
    return folder + file_name(range_, format_)


def dead_letter_key(stream: str, date: str, range_: BatchRange) -> str:
    """Where the dead letters of `range_` are whose Kafka timestamps fall on `date` (`YYYY-MM-DD`)."""
    return f"{DEAD_LETTERS}{stream}/date={date}/{file_name(range_, DEAD_LETTER_SUFFIX)}"


def parse_data_key(key: str) -> DataKey | None:
    """The inverse of `data_key` and `dead_letter_key`; None for any other key."""
    top, _, rest = key.partition("/")
    if f"{top}/" not in (RAW, DEAD_LETTERS) or "/" not in rest:
        return None
    folder, _, name = rest.rpartition("/")
    if (match := _NAME.fullmatch(name)) is None:
        return None
    stream, _, partition_path = folder.partition("/")
    start, end, lineage = int(match["start"]), int(match["end"]), int(match["lineage"] or 0)
    if start >= end:
        return None
    range_ = BatchRange(TopicPartition(match["topic"], int(match["partition"])), start, end, lineage)
    parsed = DataKey(stream, partition_path, range_, match["suffix"], f"{top}/" == DEAD_LETTERS)
    return parsed if name == file_name(range_, parsed.suffix) else None


def position_key(source: TopicPartition) -> str:
    """Where the position of a partition is."""
    return f"{POSITIONS}{source.topic}/{source.partition:05d}.json"


def parse_position_key(key: str) -> TopicPartition | None:
    """The inverse of `position_key`; None for any other key."""
    match = _POSITION.fullmatch(key)
    return TopicPartition(match["topic"], int(match["partition"])) if match else None


def layout_key(fingerprint: str) -> str:
    """Where the document of a layout is."""
    return f"{LAYOUTS}{fingerprint}.json"
