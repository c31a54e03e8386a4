"""Rows become events, whatever the resolution of their times."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa

from streamer.events.rows import events_of

AT = datetime(2024, 1, 15, 10, tzinfo=UTC)


def test_times_that_python_cannot_hold_are_events_all_the_same() -> None:
    nanoseconds = int(AT.timestamp()) * 10**9 + 123_456_789
    times = pa.array([nanoseconds, nanoseconds], pa.int64()).cast(pa.timestamp("ns", "UTC"))
    batch = pa.record_batch(
        {"symbol": ["BTC", "ETH"], "timestamp": times, "traded_at": times, "book": [[{"price": 1.5}], None]}
    )

    first, second = events_of(batch)

    assert first.at == AT.replace(microsecond=123_456)
    assert dict(first.body) == {
        "timestamp": "2024-01-15T10:00:00.123456Z",
        "ticker": "BTC",
        "traded_at": "2024-01-15T10:00:00.123456789Z",
        "book": [{"price": 1.5}],
    }
    assert (second.ticker, "book" in second.body) == ("ETH", False)


def test_no_rows_are_no_events() -> None:
    times = pa.array([], pa.timestamp("us", "UTC"))

    assert events_of(pa.record_batch({"symbol": pa.array([], pa.string()), "timestamp": times})) == []
