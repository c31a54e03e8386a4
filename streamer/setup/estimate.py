"""From traffic and configuration to files, requests, storage, dollars, memory and freshness. Pure arithmetic, every step named.

An estimate of steady traffic: no catch-up, no retries, no reads of users. Where it must choose it is on the dear side.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from streamer.config.archive_settings import ARCHIVED_SCHEMAS
from streamer.config.setup import DAY_SECONDS
from streamer.setup.prices import Prices

if TYPE_CHECKING:
    from streamer.config import Settings
    from streamer.setup.traffic import Traffic
    from streamer.streams import Stream

MONTH_DAYS = 30
YEAR_DAYS = 365
SMALL_FILE_BYTES = 128 << 10
"""S3 leaves smaller objects in STANDARD."""
GOOD_FILE_BYTES = 1 << 20
"""Below it engines spend more time opening files than reading them."""
MANY_FILES = 1000
POSITION_PUTS = 2
"""Of a batch: its seal and its commit. One, where the commit seals the next."""
ITEM_COPIES = 2
"""An item is in the table and in its index."""
ITEM_BYTES = 250
"""Of an item beside the message: names, keys, numbers, and what DynamoDB itself adds to it."""
INTERPRETER_BYTES = 150 << 20
"""Python and its libraries, see docs/operating.md."""


@dataclass(frozen=True, slots=True)
class StreamEstimate:
    """One stream's. Bytes and counts are of a day unless the name says otherwise.

    batch_seconds: from one cut of a partition to the next. freshness_seconds: the age that a record has at most when it is in
    the lake, uploads aside. buffered_bytes: waiting in memory just before the cuts, all partitions together. index_writes:
    write units of DynamoDB; its dollars are in the others, too.
    """

    stream: str
    records_per_second: float
    rate_origin: str
    sizes_origin: str
    batch_seconds: float
    cut_by: str
    files: float
    file_bytes: float
    puts: float
    gets: float
    stored_bytes: float
    archive_bytes: float
    buffered_bytes: float
    freshness_seconds: float
    dollars_first_month: float
    dollars_after_a_year: float
    index_writes: float = 0.0
    index_dollars_first_month: float = 0.0
    index_dollars_after_a_year: float = 0.0
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ProcessEstimate:
    """Of one daemon that runs all streams. memory_bytes: at most."""

    memory_bytes: int
    buffered_bytes: float
    remarks: tuple[str, ...] = ()


def estimate(stream: Stream, traffic: Traffic, settings: Settings, prices: Prices) -> StreamEstimate:
    """What this stream costs under this configuration."""
    sizes = traffic.sizes
    rate = traffic.records_per_second / traffic.partitions
    batch_seconds, cut_by = _cut(stream, rate, sizes.message_bytes)
    rows = rate * batch_seconds
    batches = DAY_SECONDS / batch_seconds * traffic.partitions
    each = traffic.folders_each if traffic.folders_each is not None else traffic.folders / traffic.partitions
    files = batches * _folders_touched(rows, each)
    rows_day = traffic.records_per_second * DAY_SECONDS
    stored = rows_day * sizes.row_bytes + files * sizes.file_bytes
    puts = files + batches * POSITION_PUTS + _history_puts(stream, traffic.partitions)
    archived = settings.archive.enabled and stream.layout.schema in ARCHIVED_SCHEMAS
    archive_bytes = rows_day * sizes.row_bytes if archived else 0.0
    if archived:
        puts += 2 * traffic.folders + 2
    gets = 2 * files if archived else 0.0
    file_bytes = stored / files
    first, year = _dollars(settings, prices, stored, archive_bytes, file_bytes, puts, gets, files, archived=archived)
    index = _index(settings, prices, stream, rows_day, sizes.message_bytes)
    return StreamEstimate(
        stream=stream.name,
        records_per_second=traffic.records_per_second,
        rate_origin=traffic.rate_origin,
        sizes_origin=sizes.origin,
        batch_seconds=batch_seconds,
        cut_by=cut_by,
        files=files,
        file_bytes=file_bytes,
        puts=puts,
        gets=gets,
        stored_bytes=stored,
        archive_bytes=archive_bytes,
        buffered_bytes=rows * traffic.partitions * sizes.message_bytes,
        freshness_seconds=batch_seconds,
        dollars_first_month=first + index.dollars_first_month,
        dollars_after_a_year=year + index.dollars_after_a_year,
        index_writes=index.writes,
        index_dollars_first_month=index.dollars_first_month,
        index_dollars_after_a_year=index.dollars_after_a_year,
        remarks=_remarks(stream, file_bytes, files, archived=archived),
    )


def process(estimates: list[StreamEstimate], settings: Settings) -> ProcessEstimate:
    """What one process that runs all of them needs."""
    buffered = sum(each.buffered_bytes for each in estimates)
    budget = settings.memory.budget
    remarks = []
    if buffered > budget / 2:
        remarks.append(
            "what waits for its cut is more than half of memory.budget: batches are cut earlier, and files are smaller; "
            "raise memory.budget, lower cut.age, or run more replicas"
        )
    archive = settings.archive.memory if settings.archive.enabled else 0
    return ProcessEstimate(budget + archive + INTERPRETER_BYTES, buffered, tuple(remarks))


def _cut(stream: Stream, rate: float, message_bytes: float) -> tuple[float, str]:
    """Seconds between the cuts of a partition, and which limit makes them."""
    cut = stream.cut
    # The age counts from the first record, which comes after one interval.
    by = {
        "age": cut.age_seconds + 1 / rate,
        "rows": cut.rows / rate,
        "bytes": cut.bytes / (rate * max(1.0, message_bytes)),
    }
    if cut.idle_seconds is not None and 1 / rate > cut.idle_seconds:
        by["idle"] = 1 / rate
    reason = min(by, key=lambda name: by[name])
    return by[reason], reason


def _folders_touched(rows: float, folders: float) -> float:
    """How many folders a batch has rows for, where every folder gets its share by chance."""
    folders = max(1.0, folders)
    return max(1.0, folders * (1 - (1 - 1 / folders) ** rows)) if folders > 1 else 1.0


def _history_puts(stream: Stream, partitions: int) -> float:
    if stream.history is None:
        return 0.0
    # Each owner saves its own document, and then the merged one.
    return 2 * partitions * DAY_SECONDS / stream.history.snapshot_every_seconds


def _dollars(
    settings: Settings, prices: Prices, raw: float, archive: float, file_bytes: float, puts: float, gets: float,
    files: float, *, archived: bool,
) -> tuple[float, float]:  # fmt: skip
    """A month's bill in the first month, and in the month that ends a year later. Half of the first month's bytes are there
    on average."""
    requests = prices.requests(puts * MONTH_DAYS, "put") + prices.requests(gets * MONTH_DAYS, "get")
    first = requests + prices.storage((raw + archive) * MONTH_DAYS / 2, "STANDARD")
    kept_days = YEAR_DAYS
    if archived and settings.retention.raw is not None and not settings.retention.dry_run:
        kept_days = min(YEAR_DAYS, int(settings.retention.raw // DAY_SECONDS))
    held = _held(settings, raw, kept_days, moves=file_bytes >= SMALL_FILE_BYTES)
    for kind, some in _held(settings, archive, YEAR_DAYS, moves=True).items():
        held[kind] = held.get(kind, 0.0) + some
    year = requests + sum(prices.storage(some, kind) for kind, some in held.items())
    if settings.lifecycle.enabled and settings.lifecycle.infrequent_after is not None and file_bytes >= SMALL_FILE_BYTES:
        year += prices.requests(files * MONTH_DAYS, "to_STANDARD_IA")
    return first, year


@dataclass(frozen=True, slots=True)
class _IndexEstimate:
    writes: float = 0.0
    dollars_first_month: float = 0.0
    dollars_after_a_year: float = 0.0


def _index(settings: Settings, prices: Prices, stream: Stream, rows_day: float, message_bytes: float) -> _IndexEstimate:
    """What the rows cost in DynamoDB: each once in the table and once in its index, where every kilobyte begun is a write.
    Nothing is ever taken out of it."""
    if stream.name not in settings.indexed:
        return _IndexEstimate()
    item_bytes = message_bytes + ITEM_BYTES
    writes = rows_day * ITEM_COPIES * ceil(item_bytes / 1024)
    month = prices.index_writes(writes * MONTH_DAYS)
    bytes_day = rows_day * item_bytes
    first, year = (
        prices.index_storage(bytes_day * days, copies=ITEM_COPIES, recovery=settings.dynamodb.recovery)
        for days in (MONTH_DAYS / 2, YEAR_DAYS)
    )
    return _IndexEstimate(writes, month + first, month + year)


def _held(settings: Settings, bytes_day: float, days: int, *, moves: bool) -> dict[str, float]:
    """Bytes by storage class once `days` have passed. Moves to GLACIER are left out: they need marks."""
    section = settings.lifecycle
    if not moves or not section.enabled or section.infrequent_after is None:
        return {"STANDARD": bytes_day * days}
    warm = min(days, int(section.infrequent_after // DAY_SECONDS))
    return {"STANDARD": bytes_day * warm, "STANDARD_IA": bytes_day * (days - warm)}


def _remarks(stream: Stream, file_bytes: float, files: float, *, archived: bool) -> tuple[str, ...]:
    if file_bytes >= GOOD_FILE_BYTES or files <= MANY_FILES:
        return ()
    path = ", or take the symbol out of the path" if "{symbol}" in stream.layout.path else ""
    merged = "; closing a day merges them" if archived else ""
    return (f"files are small: raise cut.age{path}{merged}",)
