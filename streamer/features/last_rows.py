"""The last rows of each symbol in decoded tables, packed: all of a batch that the history needs. Pure; runs in a worker.

Only these rows become Python objects, however large the batch is.
"""

from __future__ import annotations

from array import array
from base64 import b64encode
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from itertools import pairwise
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from streamer.features.rows import Names, Row, free_names, row_bytes, shared
from streamer.layout import CRC_COLUMN, EXTRA, FEATURES, FLAGS, SYSTEM_FIELDS, TIMESTAMP, is_levels

SYMBOL = "symbol"
_NOT_IN_ROWS = frozenset({SYMBOL, TIMESTAMP, FEATURES, EXTRA, FLAGS, CRC_COLUMN, *(each.name for each in SYSTEM_FIELDS)})


@dataclass(frozen=True, slots=True)
class LastRows:
    """What tables change in a history that holds the symbols they were compared with.

    rows: per symbol its new rows, symbols by their last row. restarted: symbols whose earlier rows are to be forgotten, because
    they left in the meantime. left: symbols that are in the history no longer. evictions: how often one left.
    """

    rows: dict[str, list[Row]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    restarted: frozenset[str] = frozenset()
    left: tuple[str, ...] = ()
    evictions: int = 0

    @property
    def size_bytes(self) -> int:
        """Memory of the rows."""
        return sum(self.sizes.values())


@dataclass(slots=True)
class _Codes:
    """The symbol of every row of one table: `symbols[codes[i]]`."""

    symbols: list[str]
    codes: list[int]


def last_rows(
    tables: Sequence[pa.Table], *, window: int, max_symbols: int, known: Collection[str] = (), names: Names | None = None
) -> LastRows:
    """What rows in `tables` (decoded, in topic order) leave in a history of `window` rows a symbol.

    known: the symbols that the history holds, least recently updated first. It is as if the rows came one by one, and with
    each new symbol beyond `max_symbols` the least recently updated one left.
    """
    names = {} if names is None else names
    tables = [table for table in tables if table.num_rows]
    all_codes = [_codes(table) for table in tables]
    symbols = dict.fromkeys(symbol for each in all_codes for symbol in each.symbols)
    room = dict.fromkeys(symbols, window)
    parts: list[dict[str, list[Row]]] = []
    newest: dict[str, None] = {}  # by the last row, newest first
    for table, codes in zip(reversed(tables), reversed(all_codes), strict=True):
        wanted, kept = _wanted(codes, room, newest)
        if wanted:
            parts.append(_packed(table.take(pa.array(wanted, pa.int64())), kept, names))
    rows: dict[str, list[Row]] = {symbol: [] for symbol in reversed(newest)}
    for part in reversed(parts):
        for symbol, found in part.items():
            rows[symbol].extend(found)
    restarted: frozenset[str] = frozenset()
    left: tuple[str, ...] = ()
    evictions = 0
    if len(symbols.keys() | set(known)) > max_symbols:
        turnover = _turnover(all_codes, known, max_symbols)
        restarted, evictions = turnover.restarted, turnover.evictions
        left = tuple(symbol for symbol in known if symbol not in turnover.counts)
        rows = {symbol: found[-turnover.counts[symbol] :] for symbol, found in rows.items() if symbol in turnover.counts}
    sizes = {symbol: sum(map(row_bytes, found)) for symbol, found in rows.items()}
    return LastRows(rows, sizes, restarted, left, evictions)


def _codes(table: pa.Table) -> _Codes:
    column = table[SYMBOL].combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks)
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    return _Codes(column.dictionary.to_pylist(), _int32s(column.indices))


def _int32s(found: pa.Array) -> list[int]:
    numbers = found.cast(pa.int32())
    return memoryview(numbers.buffers()[1]).cast("i")[numbers.offset : numbers.offset + len(numbers)].tolist()


def _wanted(codes: _Codes, room: dict[str, int], newest: dict[str, None]) -> tuple[list[int], list[str]]:
    """Indexes of the rows of one table that are among the last of their symbols, ascending, and those symbols."""
    left = [room[symbol] for symbol in codes.symbols]
    seen = [False] * len(left)
    open_ = sum(1 for count in left if count)
    unseen = len(left)
    wanted: list[int] = []
    numbers = codes.codes
    for at in range(len(numbers) - 1, -1, -1):
        code = numbers[at]
        if not seen[code]:
            seen[code] = True
            unseen -= 1
            newest.setdefault(codes.symbols[code])
        if left[code]:
            left[code] -= 1
            wanted.append(at)
            if not left[code]:
                open_ -= 1
        if not open_ and not unseen:
            break
    room.update(zip(codes.symbols, left, strict=True))
    wanted.reverse()
    return wanted, [codes.symbols[numbers[at]] for at in wanted]


@dataclass(frozen=True, slots=True)
class _Turnover:
    """Who is there after all rows, and how many rows came since each came (back)."""

    counts: dict[str, int]
    restarted: frozenset[str]
    evictions: int


def _turnover(all_codes: Sequence[_Codes], known: Collection[str], max_symbols: int) -> _Turnover:
    present = dict.fromkeys(known, 0)
    restarted: set[str] = set()
    evictions = 0
    for codes in all_codes:
        for symbol in map(codes.symbols.__getitem__, codes.codes):
            count = present.pop(symbol, None)
            if count is None:
                restarted.add(symbol)
                count = 0
            present[symbol] = count + 1
            if len(present) > max_symbols:
                del present[next(iter(present))]
                evictions += 1
    return _Turnover(present, frozenset(restarted), evictions)


# ---- packing -----------------------------------------------------------------------------------------------------------------


def _packed(table: pa.Table, symbols: Sequence[str], names: Names) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for symbol, row in zip(symbols, packed_rows(table, names), strict=True):
        found.setdefault(symbol, []).append(row)
    return found


def packed_rows(table: pa.Table, names: Names) -> Iterator[Row]:
    """Every row of a table that has the columns of a data file. Values that are null, and levels of books, are left out."""
    kinds = {f.name: f.type for f in table.schema if f.name not in _NOT_IN_ROWS and not is_levels(f.type)}
    floats = [name for name, kind in kinds.items() if pa.types.is_floating(kind)]
    others = [name for name in kinds if name not in floats]
    other_values = [_plain_values(table[name]) for name in others]
    timestamps = iso_texts(table[TIMESTAMP])
    own = zip(timestamps, table["_partition"].to_pylist(), table["_offset"].to_pylist(), strict=True)
    for (timestamp, partition, offset), (found, values), rest in zip(
        own, _floats(table, floats, others, names), _rest(others, other_values, table.num_rows), strict=True
    ):
        yield timestamp, partition, offset, found, values, rest


def _floats(
    table: pa.Table, columns: Sequence[str], others: Sequence[str], names: Names
) -> Iterator[tuple[tuple[str, ...], bytes]]:
    """Names and packed values of the floats of each row: declared columns, then those of the map."""
    declared = [table[name].to_pylist() for name in columns]
    rows = list(zip(*declared, strict=True)) if declared else [()] * table.num_rows
    known: dict[tuple[tuple[bool, ...], bytes], tuple[str, ...]] = {}
    for row, entries in zip(rows, _map_entries(table), strict=True):
        there = tuple(value is not None for value in row)
        found = known.get((there, entries.signature))
        if found is None:
            own = [name for name, is_there in zip(columns, there, strict=True) if is_there]
            # The others are named first, so that a float never takes the name of one of them.
            wanted = free_names([*others, *own, *entries.spelled()])[len(others) :]
            found = known[there, entries.signature] = shared(wanted, names)
        values = entries.values
        if row:
            values = array("d", [value for value in row if value is not None]).tobytes() + values
        yield found, values


class _Entries(NamedTuple):
    """One row of the map `features`: what stands for its names, the names it stands for, its values packed."""

    signature: bytes
    dictionary: Sequence[str]
    values: bytes

    def spelled(self) -> list[str]:
        return [self.dictionary[code] for code in array("i", self.signature)]


_NO_ENTRIES = _Entries(b"", (), b"")


def _map_entries(table: pa.Table) -> Iterator[_Entries]:
    if FEATURES not in table.column_names or not pa.types.is_map(table.schema.field(FEATURES).type):
        yield from (_NO_ENTRIES for _ in range(table.num_rows))
        return
    entries = table[FEATURES].combine_chunks()
    keys, items = entries.keys.dictionary_encode(), entries.items.cast(pa.float64())
    dictionary = keys.dictionary.to_pylist()
    numbers = keys.indices.cast(pa.int32())
    codes = memoryview(numbers.buffers()[1] or b"").cast("B")[4 * numbers.offset :]
    values = memoryview(items.buffers()[1] or b"").cast("B")[8 * items.offset :]
    there = items.is_valid().to_pylist() if items.null_count else None
    for start, end in pairwise(_int32s(entries.offsets)):
        if there is None or all(there[start:end]):
            yield _Entries(bytes(codes[4 * start : 4 * end]), dictionary, bytes(values[8 * start : 8 * end]))
        else:
            at = [each for each in range(start, end) if there[each]]
            yield _Entries(
                b"".join(codes[4 * each : 4 * each + 4] for each in at),
                dictionary,
                b"".join(values[8 * each : 8 * each + 8] for each in at),
            )


def _rest(names: Sequence[str], columns: Sequence[list[Any]], rows: int) -> Iterator[tuple[tuple[str, Any], ...]]:
    if not names:
        yield from ((),) * rows
        return
    free = free_names(names)
    for values in zip(*columns, strict=True):
        yield tuple((name, value) for name, value in zip(free, values, strict=True) if value is not None)


def iso_texts(column: pa.ChunkedArray) -> list[str]:
    """ISO 8601 with `Z` and every digit of the unit."""
    # Without its zone, because formatting one asks for a time zone database, which a slim image need not have.
    plain = column.cast(pa.int64()).cast(pa.timestamp(column.type.unit)).cast(pa.string())
    return list(pc.replace_substring(pc.binary_join_element_wise(plain, "Z", ""), " ", "T").to_pylist())


def _plain_values(column: pa.ChunkedArray) -> list[Any]:
    """Values as JSON has them: decimals and times as text, bytes as base64, maps as objects."""
    kind, is_ = column.type, pa.types
    if is_.is_timestamp(kind):
        return iso_texts(column)
    if is_.is_map(kind):
        return [None if value is None else dict(value) for value in column.to_pylist()]
    if is_.is_decimal(kind) or is_.is_date(kind) or is_.is_binary(kind):
        return [None if value is None else _text(value) for value in column.to_pylist()]
    return list(column.to_pylist())


def _text(value: Decimal | date | bytes) -> str:
    if isinstance(value, Decimal):
        return format(value, "f")
    return value.isoformat() if isinstance(value, date) else b64encode(value).decode()
