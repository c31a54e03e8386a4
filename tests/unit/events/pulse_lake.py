"""A stream of the schema `pulse` in a lake, written as the daemon writes it: decoded from messages."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from streamer.commit.layouts import LayoutDocuments
from streamer.commit.ownership import Ownership
from streamer.config import load
from streamer.config.stream_layouts import streams
from streamer.decode.decoder import make_decoder
from streamer.records import BatchRange, RecordChunk, TopicPartition
from streamer.store.contract import Create, Store
from streamer.testing.manual_clock import EPOCH, ManualClock
from streamer.write.batch_files import BatchWriter

PULSE = next(
    stream
    for stream in streams(load(lake="./lake", environment={"STREAMER__STREAMS__PULSE__SCHEMA": "pulse"}))
    if stream.name == "pulse"
)
SOURCE = TopicPartition("pulse", 0)


async def archive(store: Store, messages: Sequence[Mapping[str, Any] | bytes]) -> int:
    """One batch, committed; how many dead letters it has."""
    await LayoutDocuments(store).ensure(PULSE.layout)
    ownership = Ownership(store, SOURCE, writer="writer", host="test", clock=ManualClock())
    if await ownership.look() is None:
        await ownership.create(cluster_id="cluster", start=0, layout=PULSE.layout.fingerprint)
    else:
        await ownership.take_over()
    start = (await ownership.look()).committed  # type: ignore[union-attr]
    values = [message if isinstance(message, bytes) else json.dumps(message).encode() for message in messages]
    end, count = start + len(values), len(values)
    stamp = int(EPOCH.timestamp() * 1000)
    chunk = RecordChunk(SOURCE, start, end, list(range(start, end)), [stamp] * count, [None] * count, list(values))
    decoded = make_decoder(PULSE.layout).decode(chunk)
    await ownership.seal(end, PULSE.layout.fingerprint)
    plan = BatchWriter(PULSE.layout).plan(BatchRange(SOURCE, start, end), [decoded.table], decoded.dead_letters)
    for planned in plan.files:
        file = planned.encode()
        await store.put(file.key, file.body, mode=Create(), metadata=file.metadata, content_type=file.content_type)
    await ownership.commit(last=None, through=None)
    return len(decoded.dead_letters)
