"""What is archived and how, as the rooms of the archive see it. Values only; the configuration makes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from streamer.archive.interval import Interval
from streamer.keys import ArchiveKind
from streamer.quality_rules import NO_RULES, QualityRules

ArchivedSchema = Literal["tick", "signal", "feature", "orderbook"]
PLAIN_NAMES: dict[ArchivedSchema, ArchiveKind] = {
    "tick": "ticks",
    "signal": "signals",
    "feature": "features",
    "orderbook": "orderbooks",
}
"""The stream whose archive has the plain keys, which is also the kind of its files; others of the same schema lie below
`streams/{name}/`."""


@dataclass(frozen=True, slots=True)
class ArchivedStream:
    """A stream whose days are closed. `topic`: the partitions that must be complete; files of earlier topics count too.
    `quality`: what the day's summary counts."""

    name: str
    topic: str
    schema: ArchivedSchema
    quality: QualityRules = NO_RULES


@dataclass(frozen=True, slots=True)
class Recipe:
    """What decides the rows of bars and the content of summaries: part of the certificate, so that others can check them."""

    intervals: tuple[Interval, ...] = (Interval(60),)
    fill: bool = False
    gap_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class ArchiveSettings:
    """How days are closed.

    lateness_seconds: how long after its end a day is left alone, by the clock. budget_bytes: memory for the rows of a day that
    is being closed, beside what the pipeline may use. check_seconds: how often the daemon looks whether a day is complete.
    reopen_seconds: how often it lists the lake for data that came late. lease_seconds: how long a dead replica holds the lease.
    """

    streams: tuple[ArchivedStream, ...]
    recipe: Recipe = field(default_factory=Recipe)
    lateness_seconds: float = 600.0
    budget_bytes: int = 128 << 20
    check_seconds: float = 300.0
    reopen_seconds: float = 6 * 3600.0
    lease_seconds: float = 60.0
