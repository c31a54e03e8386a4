"""A stream as the pipeline runs it: a topic, its layout, and when to cut. Values only; `config.py` makes them."""

from __future__ import annotations

from dataclasses import dataclass

from streamer.layout import Layout


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
class Stream:
    """A configured topic with its schema and its place in the lake."""

    name: str
    topic: str
    layout: Layout
    cut: CutLimits = CutLimits()
    allowed_lateness_seconds: float = 0.0
