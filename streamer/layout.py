"""The layout of a stream: everything that decides which rows a record becomes, and under which keys they are written.

Two equal layouts turn the same records into the same rows under the same keys; its fingerprint is in every position,
key metadata and footer. Wall-clock time, host and writer are no part of it. Values only: reading and writing the
documents under `_streamer/layouts/` is `commit/layouts.py`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from typing import Any, Literal, Self

import pyarrow as pa

from streamer.documents import typed
from streamer.errors import Invalid

CODE_REVISION = 1
"""The meaning that this release gives to a layout document. Raised by any change to decoding, key building or digests that
would turn the same records into other rows or keys; the code for older revisions then stays as long as they are read."""

SUPPORTED_REVISIONS = frozenset({1})
DOCUMENT_VERSION = 1

Format = Literal["parquet", "ndjson.zst", "ndjson.gz"]
SchemaName = Literal["tick", "signal", "feature", "orderbook", "pulse", "raw"]

TIMESTAMP = "timestamp"
EXTRA = "extra"
FEATURES = "features"
FLAGS = "_flags"
CRC_COLUMN = "_crc"
"""Travels beside the decoded rows (uint32, `records.record_crcs`) and is dropped before they are written."""

SYSTEM_FIELDS = (
    pa.field("_partition", pa.int32(), nullable=False),
    pa.field("_offset", pa.int64(), nullable=False),
    pa.field("_timestamp", pa.timestamp("ms", tz="UTC")),
    pa.field("_key", pa.binary()),
)

_TYPES: Mapping[str, pa.DataType] = {
    "string": pa.string(),
    "binary": pa.binary(),
    "bool": pa.bool_(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "date32": pa.date32(),
    "timestamp[us, UTC]": pa.timestamp("us", tz="UTC"),
    "timestamp[ns, UTC]": pa.timestamp("ns", tz="UTC"),
    "map<string, float64>": pa.map_(pa.string(), pa.float64()),
    "list<string>": pa.list_(pa.string()),
    "list<float64>": pa.list_(pa.float64()),
}
_DECIMAL = re.compile(r"decimal128\((\d{1,2}), ?(\d{1,2})\)")
_LEVELS = re.compile(r"list<struct<price: ([^<>]+), quantity: ([^<>]+)>>")

LEVELS = "list<struct<price: float64, quantity: float64>>"
"""One side of an order book, its levels in the order of the message. Either number may be a decimal128 instead."""


def arrow_type(name: str) -> pa.DataType:
    """The Arrow type that a configuration or a layout document calls `name`. Raises `Invalid` with the names there are."""
    if (found := _TYPES.get(name)) is not None:
        return found
    if (match := _DECIMAL.fullmatch(name)) and 1 <= int(match[1]) <= 38 and int(match[2]) <= int(match[1]):
        return pa.decimal128(int(match[1]), int(match[2]))
    if (match := _LEVELS.fullmatch(name)) and all(part == "float64" or _DECIMAL.fullmatch(part) for part in match.groups()):
        return pa.list_(pa.struct([("price", arrow_type(match[1])), ("quantity", arrow_type(match[2]))]))
    raise Invalid(f"unknown column type {name!r}", hint=f"use one of {', '.join(_TYPES)}, decimal128(38,18), {LEVELS}")


def is_levels(type_: pa.DataType) -> bool:
    """Whether a column of this type holds one side of an order book."""
    return bool(pa.types.is_list(type_) and pa.types.is_struct(type_.value_type))


@dataclass(frozen=True, slots=True)
class Column:
    """One column that comes out of a message. `aliases` are other names that messages use for it, first match wins after
    the column's own name."""

    name: str
    type: str
    required: bool = False
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """A validation rule: a row whose `column` has a value for which `value operator limit` is false becomes a dead letter.
    A null passes. `>` `>=` `<` `<=` `==` `!=`."""

    column: str
    operator: Literal[">", ">=", "<", "<=", "==", "!="]
    limit: float

    def __str__(self) -> str:
        return f"{self.column} {self.operator} {self.limit:g}"


CheckKind = Literal["required", "range", "allowed", "clock-skew", "crossed"]
Action = Literal["dead-letter", "flag", "count"]


@dataclass(frozen=True, slots=True)
class Check:
    """A quality rule that looks at one record alone. What `kind` makes of the other fields: `quality/checks.py`.

    In a layout are only those that change what files hold: `dead-letter` and `flag`.
    """

    name: str
    kind: CheckKind
    on_violation: Action
    columns: tuple[str, ...]
    least: float | None = None
    most: float | None = None
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
    """What decides keys and rows of one stream.

    `path` is the partition path's template, such as `symbol={symbol}/date={date}`. `columns` are in file order and include
    `timestamp` (except for the schema `raw`, whose only column is `value`). `unknown`: what happens to fields that no
    column names. `timestamp_fallback`: what happens to a message without a time of its own. `checks`: quality rules that make
    dead letters of rows, or flag them in a column of its own.
    """

    stream: str
    schema: SchemaName
    columns: tuple[Column, ...]
    path: str
    format: Format = "parquet"
    unknown: Literal["extra", "drop"] = "extra"
    timestamp_fallback: Literal["kafka", "dead-letter"] = "kafka"
    rules: tuple[Rule, ...] = ()
    revision: int = CODE_REVISION
    checks: tuple[Check, ...] = ()

    def __post_init__(self) -> None:
        if any(check.on_violation == "count" for check in self.checks):
            raise ValueError("a rule that only counts decides nothing about rows")

    @cached_property
    def arrow_schema(self) -> pa.Schema:
        """The columns of a data file: the declared ones, `extra` where unknown fields are kept, then the system's, and `_flags`
        where rules flag rows.

        Required columns and the timestamp are not nullable.
        """
        fields = [pa.field(c.name, arrow_type(c.type), nullable=not (c.required or c.name == TIMESTAMP)) for c in self.columns]
        if self.keeps_extra:
            fields.append(pa.field(EXTRA, pa.string()))
        return pa.schema([*fields, *SYSTEM_FIELDS, *([pa.field(FLAGS, pa.string())] if self.flags else [])])

    @cached_property
    def decoded_schema(self) -> pa.Schema:
        """`arrow_schema` and the `_crc` that travels with the rows until they are written."""
        return self.arrow_schema.append(pa.field(CRC_COLUMN, pa.uint32(), nullable=False))

    @property
    def keeps_extra(self) -> bool:
        return self.unknown == "extra" and self.schema != "raw"

    @property
    def flags(self) -> bool:
        return any(check.on_violation == "flag" for check in self.checks)

    def column(self, name: str) -> Column | None:
        return next((c for c in self.columns if c.name == name), None)

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of the SHA-256 of the canonical document."""
        canonical = json.dumps(self.document(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def document(self) -> dict[str, Any]:
        """The JSON document kept under `_streamer/layouts/{fingerprint}.json`."""
        body = json.loads(json.dumps(asdict(self)))
        if not self.checks:
            del body["checks"]  # layouts without any are older than it, and keep their fingerprints
        return {"version": DOCUMENT_VERSION, **body}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """The layout that `document` describes. Raises `Invalid` where this release cannot execute it."""
        try:
            body = dict(document)
            version, revision = body.pop("version"), body["revision"]
            if version != DOCUMENT_VERSION or revision not in SUPPORTED_REVISIONS:
                raise Invalid(
                    f"layout document of version {version}, revision {revision} is unknown to this release",
                    hint="run the release that wrote it, or a newer one",
                )
            if unknown := body.keys() - {each.name for each in fields(cls)}:
                raise ValueError(f"unknown {', '.join(sorted(unknown))}")
            layout: Self = typed(body, cls)
            # As it was written: 0 and 0.0 are the same limit, and two fingerprints.
            checks = [{**c, "columns": tuple(c["columns"]), "values": tuple(c["values"])} for c in body.get("checks", ())]
            layout = replace(
                layout, rules=tuple(Rule(**r) for r in body["rules"]), checks=tuple(Check(**check) for check in checks)
            )
            layout.arrow_schema  # noqa: B018 -- a type this release does not know is found here, not in the middle of a batch
            return layout
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise Invalid(f"not a layout document: {error!r}", hint="restore it from a backup of the lake") from error
