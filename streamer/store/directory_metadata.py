"""Where a directory keeps what S3 keeps in an object's headers: in the Parquet footer, else in a hidden twin file.

A twin names the version each set of metadata belongs to, so that a reader never pairs an object with its neighbour's. Plain
blocking file reads; writing a twin in the right order is the business of `directory_files`.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from streamer.documents import parsed, typed
from streamer.store.contract import NO_METADATA

FOOTER_PREFIX = "streamer."
PARQUET_SUFFIX = ".parquet"
TWIN_SUFFIX = ".metadata.json"

_VERSION = 1


def twin_name(name: str) -> str:
    """The file beside `name` that holds its metadata."""
    return f".{name}{TWIN_SUFFIX}"


def is_twin_name(name: str) -> bool:
    return name.startswith(".") and name.endswith(TWIN_SUFFIX)


def footer_metadata(file: BinaryIO) -> Mapping[str, str]:
    """The entries of a Parquet footer whose names start with `streamer.`, without that prefix; none if it is no Parquet."""
    try:
        entries = pq.read_metadata(file).metadata or {}
    except (pa.ArrowException, OSError, ValueError):  # a damaged footer may also have names that are no UTF-8
        return NO_METADATA
    named = {name.decode("utf-8", "replace"): value.decode("utf-8", "replace") for name, value in entries.items()}
    return {name.removeprefix(FOOTER_PREFIX): value for name, value in named.items() if name.startswith(FOOTER_PREFIX)}


def says_it_itself(name: str, body: bytes | memoryview, metadata: Mapping[str, str]) -> bool:
    """Whether the object's own footer carries `metadata`, so that no twin is needed."""
    if not metadata:
        return True
    return name.endswith(PARQUET_SUFFIX) and metadata.items() <= footer_metadata(io.BytesIO(body)).items()


def encode_twin(versions: Mapping[str, Mapping[str, str]]) -> bytes:
    """A twin that gives each ETag of `versions` its metadata."""
    return json.dumps({"version": _VERSION, "objects": versions}, default=dict, sort_keys=True).encode()


def decode_twin(body: bytes) -> dict[str, Mapping[str, str]]:
    """The inverse of `encode_twin`; nothing where somebody else wrote the file."""
    try:
        objects: dict[str, Mapping[str, str]] = typed(parsed(body)["objects"], dict[str, dict[str, str]])
    except (ValueError, KeyError):
        return {}
    return objects
