"""A stream as the pipeline runs it: a topic, its layout, and when to cut. Values only; `config.py` makes them."""

from __future__ import annotations

from dataclasses import dataclass

from streamer.layout import Layout
from streamer.quality_rules import NO_RULES, QualityRules


@dataclass(frozen=True, slots=True)
class CutLimits:
    """When a batch is closed: whichever comes first.

    `bytes` counts keys and values as Kafka delivered them, decompressed. `age_seconds` counts from the arrival of the
    batch's first record, `idle_seconds` from that of its last (None: never).
    """

    rows: int = 500_000
    bytes: int = 64 << 20
    age_seconds: float = 60.0
    idle_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class HistorySpec:
    """What is kept of a stream for warm starts: per symbol the last `window` rows.

    `max_symbols` counts for each partition. Every `snapshot_every_seconds` the history is saved; `document` is the key of the
    merged one, of which `keep` older versions stay; `arrow`: with a twin of it as an Arrow file.
    """

    window: int = 20
    snapshot_every_seconds: float = 30.0
    document: str = "state/feature_history_latest.json"
    max_symbols: int = 10_000
    keep: int = 24
    arrow: bool = False


@dataclass(frozen=True, slots=True)
class Stream:
    """A configured topic with its schema and its place in the lake."""

    name: str
    topic: str
    layout: Layout
    cut: CutLimits = CutLimits()
    allowed_lateness_seconds: float = 0.0
    history: HistorySpec | None = None
    quality: QualityRules = NO_RULES
