"""The names of the lake: the one builder and the one parser of every key that streamer writes.

The grammar is a promise to users (docs/layout.md). Pure text; where a key is stored is the store's affair.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Literal

from streamer.layout import Format
from streamer.records import BatchRange, TopicPartition

RAW = "raw/"
DEAD_LETTERS = "dead-letters/"
POSITIONS = "_streamer/positions/"
LAYOUTS = "_streamer/layouts/"
LINEAGE = "_streamer/lineage/"
INDEXES = "_streamer/index/"
FEATURE_HISTORY = "state/feature_history/"
MODELS = "models/"
MODEL_VERSIONS = "models/versions/"
MODEL_REGISTRIES = "models/registry/"
BUNDLES = "bundles/"
"""What `models/` is to models, with the same keys below it."""
DEAD_LETTER_SUFFIX = "ndjson.gz"

_NAME = re.compile(
    r"(?P<topic>[A-Za-z0-9._-]{1,249})-(?P<partition>\d{5,})-(?P<start>\d{20})-(?P<end>\d{20})(?:-l(?P<lineage>\d+))?"
    r"\.(?P<suffix>parquet|ndjson\.zst|ndjson\.gz)",
    re.ASCII,
)
_POSITION = re.compile(rf"{POSITIONS}(?P<topic>[A-Za-z0-9._-]{{1,249}})/(?P<partition>\d{{5,}})\.json", re.ASCII)
_FEATURE_HISTORY = re.compile(rf"{FEATURE_HISTORY}(?P<topic>[A-Za-z0-9._-]{{1,249}})/(?P<partition>\d{{5,}})\.json", re.ASCII)
_LINEAGE = re.compile(rf"{LINEAGE}(?P<sha256>[0-9a-f]{{64}})\.json")
_KEPT = re.compile(r"\d{4}-\d{2}-\d{2}T\d{6}\.\d{6}Z\.json", re.ASCII)

# Of two dotted parts at most, and without `_`: whatever a stem holds, the last `_v` parts it from the number.
MODEL_SUFFIX = r"(?:\.[A-Za-z0-9]{1,16}){0,2}"
MODEL_STEM = r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"
_MODEL_VERSION = re.compile(rf"versions/(?P<stem>{MODEL_STEM})_v(?P<n>[1-9]\d{{0,9}})(?P<suffix>{MODEL_SUFFIX})", re.ASCII)
_MODEL_REGISTRY = re.compile(rf"registry/(?P<stem>{MODEL_STEM})\.json")


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
    source = TopicPartition(match["topic"], int(match["partition"])) if match else None
    return source if source is not None and position_key(source) == key else None


def index_key(table: str, source: TopicPartition) -> str:
    """Where it says how far a partition is indexed in a DynamoDB table."""
    return f"{INDEXES}{table}/{source.topic}/{source.partition:05d}.json"


def index_lease_key(stream: str) -> str:
    """The lease of whoever keeps the index of a stream."""
    return f"_streamer/leases/index-{stream}.json"


def layout_key(fingerprint: str) -> str:
    """Where the document of a layout is."""
    return f"{LAYOUTS}{fingerprint}.json"


def lineage_key(sha256: str) -> str:
    """Where a list of sources is that has no room in a document's metadata."""
    return f"{LINEAGE}{sha256}.json"


def parse_lineage_key(key: str) -> str | None:
    """The inverse of `lineage_key`; None for any other key."""
    match = _LINEAGE.fullmatch(key)
    return match["sha256"] if match else None


def feature_history_key(source: TopicPartition) -> str:
    """Where the feature history of a partition is, as its owner saved it."""
    return f"{FEATURE_HISTORY}{source.topic}/{source.partition:05d}.json"


def parse_feature_history_key(key: str) -> TopicPartition | None:
    """The inverse of `feature_history_key`; None for any other key."""
    match = _FEATURE_HISTORY.fullmatch(key)
    source = TopicPartition(match["topic"], int(match["partition"])) if match else None
    return source if source is not None and feature_history_key(source) == key else None


def kept_prefix(document: str) -> str:
    """Where older versions of a merged history are: a hidden folder beside it."""
    folder, _, name = document.rpartition("/")
    return f"{folder}/_kept/{name.removesuffix('.json')}/" if folder else f"_kept/{name.removesuffix('.json')}/"


def kept_key(document: str, written: datetime) -> str:
    """Where the version of a merged history is kept that was written at `written` (UTC). Sorts by time."""
    return f"{kept_prefix(document)}{written.astimezone(UTC):%Y-%m-%dT%H%M%S.%f}Z.json"


def parse_kept_key(document: str, key: str) -> datetime | None:
    """When the kept version `key` of `document` was written; None for any other key."""
    name = key.removeprefix(kept_prefix(document))
    if name == key or _KEPT.fullmatch(name) is None:
        return None
    try:
        return datetime.strptime(name, "%Y-%m-%dT%H%M%S.%fZ.json").replace(tzinfo=UTC)
    except ValueError:
        return None  # it looks like a time, and there is none such


def arrow_twin_key(document: str) -> str:
    """Where the Arrow twin of a merged history is."""
    return f"{document.removesuffix('.json')}.arrow"


@dataclass(frozen=True, slots=True)
class ModelVersionKey:
    """What the key of a model's version says."""

    stem: str
    n: int
    suffix: str


def model_version_key(stem: str, n: int, suffix: str, top: str = MODELS) -> str:
    """Where the bytes of version `n` of a model are. `suffix` begins with a dot, or is empty. top: `BUNDLES` for a bundle."""
    return f"{top}versions/{stem}_v{n}{suffix}"


def parse_model_version_key(key: str, top: str = MODELS) -> ModelVersionKey | None:
    """The inverse of `model_version_key`; None for any other key."""
    match = _MODEL_VERSION.fullmatch(key.removeprefix(top)) if key.startswith(top) else None
    return ModelVersionKey(match["stem"], int(match["n"]), match["suffix"]) if match else None


def model_registry_key(stem: str, top: str = MODELS) -> str:
    """Where the registry of a model is."""
    return f"{top}registry/{stem}.json"


def parse_model_registry_key(key: str, top: str = MODELS) -> str | None:
    """The stem whose registry is at `key`; None for any other key."""
    match = _MODEL_REGISTRY.fullmatch(key.removeprefix(top)) if key.startswith(top) else None
    return match["stem"] if match else None


def model_copy_key(stem: str, suffix: str, top: str = MODELS) -> str:
    """Where the plain copy of what `latest` points to is."""
    return f"{top}{stem}{suffix}"


# ---- the archive ---------------------------------------------------------------------------------------------------------

CERTIFICATES = "archive/"
SUMMARIES = "daily-summaries/"
ARCHIVE_PARTS = "_streamer/archive/"
LEASE = "_streamer/leases/archive.json"

ArchiveKind = Literal["ticks", "bars", "signals", "features", "orderbooks"]
_FOLDERS: Mapping[ArchiveKind, str] = {
    "ticks": "ticks",
    "bars": "ohlcv",
    "signals": "signals",
    "features": "features",
    "orderbooks": "orderbooks",
}
_ARCHIVED = re.compile(
    rf"(?:streams/[a-z][a-z0-9_]*/)?(?:(?:{'|'.join(_FOLDERS.values())})/[^/]+/(?P<file>\d{{4}}-\d{{2}}-\d{{2}})\.parquet"
    rf"|signals/(?P<folder>\d{{4}}-\d{{2}}-\d{{2}})/regime_signals\.parquet)|{SUMMARIES}(?P<summary>\d{{4}}-\d{{2}}-\d{{2}})\.json",
    re.ASCII,
)
_CERTIFICATE = re.compile(rf"{CERTIFICATES}(\d{{4}}-\d{{2}}-\d{{2}})\.json", re.ASCII)


def archive_key(kind: ArchiveKind, day: date, symbol_text: str = "", *, stream: str = "") -> str:
    """Where rows of a closed day are: `ticks/{SYMBOL}/{date}.parquet`, `ohlcv/…`, `features/…`, `orderbooks/…`,
    `signals/{date}/…`.

    symbol_text: the symbol as `partition_value.encode_value` writes it. stream: empty for the stream that is called as its
    kind, whose archive has these plain keys; that of another stream lies below `streams/{stream}/`.
    """
    top = f"streams/{stream}/" if stream else ""
    if kind == "signals":
        return f"{top}signals/{day.isoformat()}/regime_signals.parquet"
    return f"{top}{_FOLDERS[kind]}/{symbol_text}/{day.isoformat()}.parquet"


def archived_day(key: str) -> date | None:
    """The day of an object of the archive, from `archive_key` or `summary_key`; None for any other key."""
    match = _ARCHIVED.fullmatch(key)
    try:
        return date.fromisoformat(match["file"] or match["folder"] or match["summary"]) if match else None
    except ValueError:
        return None


def certificate_key(day: date) -> str:
    """Where the certificate of a closed day is."""
    return f"{CERTIFICATES}{day.isoformat()}.json"


def parse_certificate_key(key: str) -> date | None:
    """The inverse of `certificate_key`; None for any other key."""
    match = _CERTIFICATE.fullmatch(key)
    try:
        return date.fromisoformat(match[1]) if match else None
    except ValueError:
        return None


def summary_key(day: date) -> str:
    """Where the summary of a closed day is."""
    return f"{SUMMARIES}{day.isoformat()}.json"


def archive_part_key(day: date, sha256: str, suffix: str) -> str:
    """Where content that a certificate speaks of waits, hidden from SQL engines and named by its hash."""
    return f"{ARCHIVE_PARTS}{day.isoformat()}/{sha256}.{suffix}"
