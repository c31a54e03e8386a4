"""Streams of compressed bytes that say nothing about when or where they were made."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Literal

import pyarrow as pa

Compression = Literal["gz", "zst"]
CONTENT_TYPES: dict[Compression, str] = {"gz": "application/gzip", "zst": "application/zstd"}

_GZIP_WRAPPER = 31  # zlib's word for: 32 KiB window, gzip header with mtime 0 and no file name
_GZIP_LEVEL = 6


def compress(blocks: Iterable[bytes], compression: Compression) -> bytes:
    """One gzip member, or one zstd frame (level 1), of all `blocks`. Only a block at a time exists uncompressed."""
    return _gzip(blocks) if compression == "gz" else _zstd(blocks)


def _gzip(blocks: Iterable[bytes]) -> bytes:
    compressor = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_WRAPPER)
    parts = [compressor.compress(block) for block in blocks]
    return b"".join([*parts, compressor.flush()])


def _zstd(blocks: Iterable[bytes]) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:  # Arrow's own default level is 1
        for block in blocks:
            stream.write(block)
    return bytes(sink.getvalue().to_pybytes())
