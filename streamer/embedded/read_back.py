"""Reads a lake as anybody can: a listing, plain pyarrow and gzip. Then holds it against what was produced.

Knows nothing of the rooms that wrote the lake, on purpose: what it proves, a reader without streamer can see.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import pyarrow.dataset as ds

from streamer.embedded.feed import Fate, Ledger
from streamer.embedded.market import TICKS
from streamer.records import TopicPartition

Place = tuple[str, int, int]


@dataclass(frozen=True, slots=True)
class ReadBack:
    """What is in the lake, and how it differs from what was produced: `missing` records that were produced, `double` ones
    that are there more than once, `foreign` ones that were not produced or are something else than they were."""

    rows: Counter[tuple[str, str]]
    dead_letters: Counter[str]
    missing: list[Place] = field(default_factory=list)
    double: list[Place] = field(default_factory=list)
    foreign: list[Place] = field(default_factory=list)
    files: list[tuple[str, int]] = field(default_factory=list)

    @property
    def exact(self) -> bool:
        """Every produced record is there exactly once, and nothing else."""
        return not (self.missing or self.double or self.foreign)


def read_back(lake: Path, ledger: Ledger) -> ReadBack:
    """Read everything below `lake`, and compare. Blocks."""
    found = ReadBack(Counter(), Counter(), files=list_files(lake))
    seen = {source: bytearray(len(fates)) for source, fates in ledger.fates.items()}
    for source, offset, fate in chain(_rows(lake), _dead_letters(lake)):
        if fate.refusal is not None:
            found.dead_letters[fate.refusal] += 1
        else:
            found.rows[source.topic, str(fate.symbol)] += 1
        fates = ledger.fates.get(source, [])
        place = (source.topic, source.partition, offset)
        if not 0 <= offset < len(fates):
            found.foreign.append(place)
            continue
        if seen[source][offset]:
            found.double.append(place)
        elif fates[offset] != fate:
            found.foreign.append(place)
        seen[source][offset] = 1
    for source, marks in seen.items():
        found.missing.extend((source.topic, source.partition, offset) for offset, mark in enumerate(marks) if not mark)
    return found


def _rows(lake: Path) -> Iterator[tuple[TopicPartition, int, Fate]]:
    for folder in sorted((lake / "raw").glob("*")):
        for batch in ds.dataset(folder, format="parquet").to_batches(columns=["_partition", "_offset", "symbol"]):
            for partition, offset, symbol in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                yield TopicPartition(folder.name, partition), offset, Fate(symbol, None)


def _dead_letters(lake: Path) -> Iterator[tuple[TopicPartition, int, Fate]]:
    for path in sorted((lake / "dead-letters").rglob("*.ndjson.gz")):
        if path.name.startswith("."):
            continue
        for line in gzip.decompress(path.read_bytes()).splitlines():
            letter = json.loads(line)
            yield TopicPartition(letter["topic"], letter["partition"]), letter["offset"], Fate(None, letter["reason"])


def list_files(lake: Path) -> list[tuple[str, int]]:
    """Every file that is not hidden, as (key, bytes), by key."""
    files = [path for path in lake.rglob("*") if path.is_file()]
    keys = [(path.relative_to(lake), path.stat().st_size) for path in files]
    return sorted((key.as_posix(), size) for key, size in keys if not any(part.startswith(".") for part in key.parts))


def prices(lake: Path, symbol: str) -> list[float]:
    """The prices of one symbol in the order of their event time. Empty where there are none. Blocks."""
    folder = lake / "raw" / TICKS
    if not folder.is_dir():
        return []
    table = ds.dataset(folder, format="parquet").to_table(columns=["price", "timestamp"], filter=ds.field("symbol") == symbol)
    return [float(price) for price in table.sort_by("timestamp")["price"].to_pylist()]


def committed(lake: Path) -> dict[TopicPartition, int]:
    """What the lake's own positions say is in it. Files that are being replaced at this moment are left out."""
    found = {}
    for path in (lake / "_streamer" / "positions").glob("*/*.json"):
        try:
            body = json.loads(path.read_bytes())
        except (OSError, ValueError):
            continue
        found[TopicPartition(body["topic"], body["partition"])] = int(body["committed"])
    return found
