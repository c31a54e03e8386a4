"""What a document holds, as bytes and back: JSON, text or bytes by the ending of its key, plain or packed. Pure.

Whoever may write to the bucket may have written it: what is packed does not unpack to more than was allowed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pyarrow as pa

from streamer.arrow_text import plain, timed
from streamer.errors import Damaged, Invalid
from streamer.write.compression import compress

SIZE_LIMIT_BYTES = 256 << 20
TEXT = (".log", ".txt", ".csv", ".md", ".html", ".b64")
_TYPES = {".json": "application/json", ".pdf": "application/pdf"}
_CODECS = {".gz": "gzip", ".zst": "zstd"}


def content_type(key: str, packed: str) -> str:
    """What HTTP calls it."""
    if packed:
        return "application/gzip" if packed == ".gz" else "application/zstd"
    ending = key[key.rfind(".") :]
    return _TYPES.get(ending, "text/plain; charset=utf-8" if ending in TEXT else "application/octet-stream")


def encode(data: Any, key: str, packed: str, judge: Callable[[bytes], None] | None = None) -> bytes:
    """The bytes of `data` in a document whose key, without what says how it is packed, is `key`. An Arrow table becomes the
    list of its rows. judge: raises for what is not to be kept, as JSON. Raises `Invalid`."""
    if key.endswith(".json"):
        try:
            data = _rows(data) if isinstance(data, pa.Table | pa.RecordBatch) else data
            body = orjson.dumps(data, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_UTC_Z)
        except (TypeError, ValueError) as error:
            raise Invalid(f"the data cannot be written as JSON: {error}", hint="use numbers, text, lists and dicts") from error
    elif key.endswith(TEXT) and isinstance(data, str):
        body = data.encode()
    elif isinstance(data, bytes | bytearray | memoryview):
        body = bytes(data)
    else:
        raise Invalid(f"a {type(data).__name__} cannot be kept as {key[key.rfind('.') :]}", hint="give bytes")
    if judge is not None:
        judge(body)
    if packed == ".gz":
        return compress(iter([body]), "gz")
    return compress(iter([body]), "zst") if packed == ".zst" else body


def decode(body: bytes, key: str, packed: str) -> Any:
    """What `encode` was given, as far as JSON has it. Raises `Damaged`."""
    try:
        plain = _unpacked(body, key, packed) if packed else body
        if key.endswith(".json"):
            return orjson.loads(plain)
        return plain.decode() if key.endswith(TEXT) else plain
    except (ValueError, OSError, pa.ArrowException) as error:
        hint = "restore an older version of this object"
        raise Damaged(f"the document cannot be read: {str(error)[:200]}", hint=hint, key=key + packed) from error


def _rows(table: pa.Table | pa.RecordBatch) -> list[dict[str, Any]]:
    batches = table.to_batches() if isinstance(table, pa.Table) else [table]
    return [{name: plain(value) for name, value in row.items()} for batch in batches for row in timed(batch).to_pylist()]


def _unpacked(body: bytes, key: str, packed: str) -> bytes:
    with pa.CompressedInputStream(pa.BufferReader(body), _CODECS[packed]) as stream:
        pieces, size = [], 0
        while piece := stream.read(1 << 20):
            size += len(piece)
            if size > SIZE_LIMIT_BYTES:
                hint = "find out who wrote it; documents are read whole"
                raise Damaged(f"the document unpacks to more than {SIZE_LIMIT_BYTES} bytes", hint=hint, key=key + packed)
            pieces.append(piece)
    return b"".join(pieces)
