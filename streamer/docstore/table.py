"""A database table as a JSON document that keeps the types of its values, and back.

What a document says becomes SQL only as quoted names and types of plain words: whoever may write to the bucket does not
run statements in the database that a copy is restored into.
"""

from __future__ import annotations

import base64
import math
import re
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any

from streamer.documents import typed
from streamer.errors import Damaged, Invalid

VERSION = 1
_INT64 = range(-(2**63), 2**63)
_DECLARED = re.compile(r"[A-Za-z][A-Za-z0-9_ ]*(\(\s*\d+\s*(,\s*\d+\s*)?\))?|", re.ASCII)


@dataclass(frozen=True, slots=True)
class Column:
    """A column. declared: its type as SQLite has it. key: its place in the primary key from 1; 0: none."""

    name: str
    declared: str = ""
    required: bool = False
    key: int = 0


@dataclass(frozen=True, slots=True)
class TableCopy:
    """A table that was read back."""

    columns: tuple[Column, ...]
    values: tuple[tuple[Any, ...], ...]

    def rows(self) -> list[dict[str, Any]]:
        """Its rows by the names of their columns."""
        names = [column.name for column in self.columns]
        return [dict(zip(names, values, strict=True)) for values in self.values]


def as_document(source: sqlite3.Connection | Iterable[Mapping[str, Any]], table: str) -> dict[str, Any]:
    """The document of a table, or of rows. Raises `Invalid`."""
    columns, values = _of_sqlite(source, table) if isinstance(source, sqlite3.Connection) else _of_rows(source)
    return {
        "version": VERSION,
        "table": table,
        "columns": [{"name": c.name, "declared": c.declared, "required": c.required, "key": c.key} for c in columns],
        "rows": [[_plain(value) for value in row] for row in values],
    }


def from_document(document: Any, *, key: str) -> TableCopy:
    """The inverse of `as_document`. Raises `Damaged`."""
    try:
        if document["version"] != VERSION:
            raise ValueError(f"version {document['version']} is unknown to this release")
        columns = typed(document["columns"], tuple[Column, ...])
        values = tuple(tuple(_value(cell) for cell in row) for row in document["rows"])
        if any(len(row) != len(columns) for row in values):
            raise ValueError("a row has other columns than the table")
    except (KeyError, TypeError, ValueError, AttributeError, InvalidOperation, RecursionError) as error:
        raise Damaged(f"not a copy of a table: {error!r}"[:300], hint="restore an older copy: at=...", key=key) from error
    return TableCopy(columns, values)


def write_sqlite(copy: TableCopy, table: str, connection: sqlite3.Connection, *, replace: bool) -> None:
    """Create `table` with the rows of `copy`, in one transaction. Raises `Invalid` where it cannot be."""
    keys = sorted((column for column in copy.columns if column.key), key=lambda column: column.key)
    definitions = [_definition(column, alone=len(keys) == 1) for column in copy.columns]
    if len(keys) > 1:
        definitions.append(f"PRIMARY KEY ({', '.join(_quoted(column.name) for column in keys)})")
    marks = ", ".join("?" * len(copy.columns))
    if connection.in_transaction:
        raise Invalid("the connection is in the middle of a transaction", hint="commit it, or roll it back, first")
    try:
        connection.execute("BEGIN IMMEDIATE")
        try:
            if replace:
                connection.execute(f"DROP TABLE IF EXISTS {_quoted(table)}")
            connection.execute(f"CREATE TABLE {_quoted(table)} ({', '.join(definitions)})")
            connection.executemany(f"INSERT INTO {_quoted(table)} VALUES ({marks})", map(_bound, copy.values))
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
    except (sqlite3.Error, OverflowError) as error:
        hint = "replace=True drops a table that is there; rows that SQLite cannot hold come back without `into`"
        raise Invalid(f"the table cannot be restored: {error}", hint=hint, table=table) from error


def _of_sqlite(connection: sqlite3.Connection, table: str) -> tuple[list[Column], list[tuple[Any, ...]]]:
    try:
        described = connection.execute(f"PRAGMA table_info({_quoted(table)})").fetchall()
        if not described:
            raise Invalid("there is no such table", hint="name one of the database", table=table)
        columns = [Column(row[1], row[2], bool(row[3]), row[5]) for row in described]
        names = ", ".join(_quoted(column.name) for column in columns)
        cursor = connection.cursor()
        cursor.row_factory = None  # whatever rows the caller likes, these are tuples
        return columns, cursor.execute(f"SELECT {names} FROM {_quoted(table)}").fetchall()
    except sqlite3.Error as error:
        raise Invalid(f"the table cannot be read: {error}", hint="look at the database", table=table) from error


def _of_rows(rows: Iterable[Mapping[str, Any]]) -> tuple[list[Column], list[tuple[Any, ...]]]:
    names: list[str] | None = None
    values = []
    for row in rows:
        if names is None:
            names = list(row)
            if not all(isinstance(name, str) for name in names):
                raise Invalid("a column's name is no text", hint="rows are mappings from names to values")
        if row.keys() != set(names):
            raise Invalid(
                "the rows have different columns", hint="give each of them every column, with None where it has no value"
            )
        values.append(tuple(row[name] for name in names))
    return [Column(name) for name in names or []], values


def _plain(value: Any) -> Any:
    """The value as JSON has it; what JSON has not is an object with one name that says what it is."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return int(value) if value in _INT64 else {"$int": str(value)}
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": repr(value)}
    if isinstance(value, bytes | bytearray | memoryview):
        return {"$bytes": base64.b64encode(bytes(value)).decode()}
    for kind, name in ((datetime, "$datetime"), (date, "$date"), (time, "$time")):
        if isinstance(value, kind):
            return {name: value.isoformat()}
    if isinstance(value, Decimal):
        return {"$decimal": str(value)}
    if isinstance(value, Mapping):
        return {"$dict": [[_plain(name), _plain(inner)] for name, inner in value.items()]}
    if isinstance(value, Sequence):
        return [_plain(inner) for inner in value]
    raise Invalid(f"a {type(value).__name__} cannot be kept", hint="turn it into numbers, text, bytes, times, lists or dicts")


_READERS = {
    "$int": int, "$float": float, "$bytes": lambda text: base64.b64decode(text, validate=True),
    "$datetime": datetime.fromisoformat, "$date": date.fromisoformat, "$time": time.fromisoformat, "$decimal": Decimal,
    "$dict": lambda pairs: {_value(name): _value(inner) for name, inner in pairs},
}  # fmt: skip


def _value(cell: Any) -> Any:
    if isinstance(cell, list):
        return [_value(inner) for inner in cell]
    if not isinstance(cell, dict):
        return cell
    ((name, content),) = cell.items()
    return _READERS[name](content)  # type: ignore[operator]


def _bound(values: tuple[Any, ...]) -> list[Any]:
    """As SQLite takes them; it has no times, decimals and nested values."""
    return [
        value.isoformat()
        if isinstance(value, datetime | date | time)
        else str(value)
        if isinstance(value, Decimal | list | dict)
        else value
        for value in values
    ]


def _definition(column: Column, *, alone: bool) -> str:
    if not _DECLARED.fullmatch(column.declared) or len(column.declared) > 100:
        raise Invalid("a column's type is not of plain words", hint="restore the rows without `into`", column=column.name[:80])
    words = [_quoted(column.name), column.declared]
    words += ["NOT NULL"] if column.required else []
    words += ["PRIMARY KEY"] if column.key and alone else []
    return " ".join(filter(None, words))


def _quoted(name: str) -> str:
    if "\0" in name:
        raise Invalid("a name has a NUL", hint="rename it", name=repr(name[:80]))
    return '"' + name.replace('"', '""') + '"'
