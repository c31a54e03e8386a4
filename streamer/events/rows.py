"""Rows of a stream, as Arrow has them, as events. Pure, and work for a thread."""

from __future__ import annotations

import pyarrow as pa

from streamer.arrow_text import timed
from streamer.events.event import Event, event_of_row
from streamer.layout import TIMESTAMP

_MICROSECONDS = pa.timestamp("us", "UTC")


def events_of(batch: pa.RecordBatch) -> list[Event]:
    """The event of each row. Of its own time nanoseconds are cut off; other times keep theirs, as text."""
    moments = batch.column(TIMESTAMP).cast(_MICROSECONDS, safe=False).to_pylist()
    # Python's own times have no nanoseconds, and pyarrow refuses to make one of a time that has any.
    rows = timed(batch).to_pylist(maps_as_pydicts="lossy")
    return [event_of_row({**row, TIMESTAMP: at}) for row, at in zip(rows, moments, strict=True)]
