"""Tables as files by their suffix: Parquet, CSV, JSON (an array, or an object a line), plain or gzipped text. Pure."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Mapping
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from streamer.arrow_text import plain, printable, timed
from streamer.errors import Damaged, Invalid

CONTENT_TYPES = {
    "parquet": "application/vnd.apache.parquet",
    "csv": "text/csv",
    "json": "application/json",
    "ndjson": "application/x-ndjson",
    "jsonl": "application/x-ndjson",
}


def table_suffix(key: str) -> str:
    """`parquet`, `csv`, `json`, `ndjson` or `jsonl`, with `.gz` where the name says so. Raises `Invalid`."""
    name = key.rpartition("/")[2]
    kind = name.removesuffix(".gz").rpartition(".")[2].lower()
    if kind not in CONTENT_TYPES or "." not in name or (kind == "parquet" and name.endswith(".gz")):
        raise Invalid("the name does not say which kind of table it is", hint=f"end it in {_NAMES}", key=key)
    return f"{kind}.gz" if name.endswith(".gz") else kind


_NAMES = ".parquet, .csv, .json or .ndjson (text also with .gz)"


def as_table(rows: Any) -> pa.Table:
    """Rows in any of the usual forms as an Arrow table: Arrow, pandas, Polars, a list of dictionaries, a dictionary of columns.

    A pandas index that is more than a numbering becomes a column. Raises `Invalid` for anything else.
    """
    try:
        if isinstance(rows, pa.Table):
            return rows
        if type(rows).__module__.split(".")[0] == "pandas":
            return pa.Table.from_pandas(rows)
        if hasattr(rows, "__arrow_c_stream__"):
            return pa.table(rows)
        if isinstance(rows, list):
            return pa.Table.from_pylist(rows)
        if isinstance(rows, dict):
            return pa.table(rows)
    except (pa.ArrowException, TypeError, AttributeError) as error:
        raise Invalid(f"the rows do not fit a table: {error}", hint="one type a column") from error
    hint = "give an Arrow table, a pandas or Polars DataFrame, or a list of dictionaries"
    raise Invalid(f"a {type(rows).__name__} is no table", hint=hint)


def encode_table(table: pa.Table, suffix: str) -> bytes:
    """The bytes of a file with this suffix. Times in text are ISO 8601, bytes that are no text base64."""
    body = _ENCODERS[suffix.removesuffix(".gz")](table)
    return gzip.compress(body, mtime=0) if suffix.endswith(".gz") else body


def decode_table(body: bytes, suffix: str, *, key: str) -> pa.Table:
    """The table in a file with this suffix; text has the types that pyarrow infers. Raises `Damaged`."""
    try:
        text = gzip.decompress(body) if suffix.endswith(".gz") else body
        return _DECODERS[suffix.removesuffix(".gz")](text)
    except (pa.ArrowException, OSError, ValueError, EOFError, AttributeError) as error:
        raise Damaged(f"not a readable {suffix} file: {error}", hint="read it with `get`, and look at it", key=key) from error


def _to_parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def _to_csv(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pa_csv.write_csv(printable(table), sink)
    return sink.getvalue()


def _to_json(table: pa.Table) -> bytes:
    return orjson.dumps([plain(row) for batch in table.to_batches() for row in timed(batch).to_pylist()])


def _to_lines(table: pa.Table) -> bytes:
    rows = (plain(row) for batch in table.to_batches() for row in timed(batch).to_pylist())
    return b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)


def _of_csv(body: bytes) -> pa.Table:
    return pa_csv.read_csv(io.BytesIO(body))


def _of_json(body: bytes) -> pa.Table:
    found = orjson.loads(body)
    return pa.Table.from_pylist(found if isinstance(found, list) else [found])


def _of_lines(body: bytes) -> pa.Table:
    return pa.Table.from_pylist([orjson.loads(line) for line in body.split(b"\n") if line.strip()])


def _of_parquet(body: bytes) -> pa.Table:
    return pq.read_table(pa.BufferReader(body))


_ENCODERS: Mapping[str, Callable[[pa.Table], bytes]] = {
    "parquet": _to_parquet,
    "csv": _to_csv,
    "json": _to_json,
    "ndjson": _to_lines,
    "jsonl": _to_lines,
}
_DECODERS: Mapping[str, Callable[[bytes], pa.Table]] = {
    "parquet": _of_parquet,
    "csv": _of_csv,
    "json": _of_json,
    "ndjson": _of_lines,
    "jsonl": _of_lines,
}
