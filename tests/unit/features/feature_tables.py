"""Decoded tables of features, made by the real decoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import pyarrow as pa

from streamer.decode.decoder import make_decoder
from streamer.layout import Layout
from streamer.records import RecordChunk, TopicPartition
from streamer.schemas import columns_of

SOURCE = TopicPartition("features", 0)
START_MS = 1_704_067_200_000


def layout(**columns: str) -> Layout:
    return Layout("features", "feature", columns_of("feature", columns), "date={date}")


def decoded(messages: Sequence[dict[str, Any]], start: int = 0, made_by: Layout | None = None) -> pa.Table:
    """The rows of `messages`, whose offsets begin at `start`."""
    offsets = list(range(start, start + len(messages)))
    chunk = RecordChunk(
        SOURCE,
        start,
        start + len(messages),
        offsets,
        [START_MS + offset for offset in offsets],
        [None] * len(messages),
        [orjson.dumps(message) for message in messages],
    )
    return make_decoder(made_by or layout()).decode(chunk).table


def message(symbol: str, number: int, **features: Any) -> dict[str, Any]:
    return {"symbol": symbol, "timestamp": START_MS + number, "features": {"rsi": number + 0.5, **features}}
