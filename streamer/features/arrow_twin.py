"""The Arrow twin of a merged history: the same content as one Arrow file, for histories too big to parse as JSON."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pyarrow as pa
from pyarrow import ipc

from streamer.clock import Clock, backoff_seconds
from streamer.errors import Conflict, NotFound, OutcomeUnknown
from streamer.features.history import FeatureHistory
from streamer.features.read import read_document
from streamer.features.stored_document import PIECE_BYTES, write_pieces
from streamer.keys import arrow_twin_key
from streamer.store.contract import Create, Replace, Store
from streamer.workers import Workers

CONTENT_TYPE = "application/vnd.apache.arrow.file"


async def write_twin(store: Store, document: str, clock: Clock, workers: Workers) -> None:
    """Make the twin of what `document` holds now.

    The twin that is there is looked at before the document is read, and replaced only if it is still the same: an older
    document never becomes the twin of a newer one. Raises `Unavailable`, `Denied`, `Damaged`.
    """
    key = arrow_twin_key(document)
    attempt = 0
    while True:
        try:
            mode: Create | Replace = Replace((await store.head(key)).etag)
        except NotFound:
            mode = Create()
        try:
            head, rows = await read_document(store, document, None, workers)
            body = await workers.run(_encoded, FeatureHistory(rows, head, head.window, clock.now))
            await write_pieces(store, key, _pieces(body), workers, mode=mode, content_type=CONTENT_TYPE)
            return
        except NotFound:
            return
        except (Conflict, OutcomeUnknown):
            await clock.sleep(clock.jitter(backoff_seconds(attempt, most=2.0)))
            attempt += 1


def _encoded(history: FeatureHistory) -> pa.Buffer:
    table = history.to_arrow()
    sink = pa.BufferOutputStream()
    with ipc.new_file(sink, table.schema, options=ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table, max_chunksize=100_000)
    return sink.getvalue()


async def _pieces(body: pa.Buffer) -> AsyncIterator[bytes]:
    view = memoryview(body)
    for start in range(0, len(view), PIECE_BYTES):
        yield bytes(view[start : start + PIECE_BYTES])
