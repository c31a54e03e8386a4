"""Per symbol the last rows of one partition, as a `deque(maxlen=window)` fed in topic order would hold them. Pure.

It corresponds to an exact place in the log, `(lineage, offset)`: every row below `offset` has been fed, none at or above it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from streamer.features.last_rows import LastRows, last_rows
from streamer.features.rows import Names, Row, row_bytes

_SYMBOL_BYTES = 500
"""A tuple, the symbol and its place in two dictionaries."""


@dataclass(frozen=True, slots=True)
class Frozen:
    """A history at one moment. Symbols least recently updated first."""

    lineage: int
    offset: int
    window: int
    symbols: tuple[tuple[str, Sequence[Row]], ...] = field(repr=False)


class HistoryWindow:
    """The history of one partition; at most `max_symbols` symbols, of which the least recently updated leave first."""

    def __init__(self, window: int, max_symbols: int, *, lineage: int = 0, offset: int = 0) -> None:
        self.window = window
        self.max_symbols = max_symbols
        self.lineage = lineage
        self.offset = offset
        self.evictions = 0
        self.size_bytes = 0
        self._rows: dict[str, tuple[Row, ...]] = {}  # tuples and not deques, so that a copy of all of it is a copy of this
        self._sizes: dict[str, int] = {}
        self._names: Names = {}

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, symbol: str) -> tuple[Row, ...]:
        return self._rows[symbol]

    def __iter__(self) -> Iterator[str]:
        """Symbols, least recently updated first."""
        return iter(self._rows)

    @property
    def names(self) -> Names:
        """The shared tuples of names, for whoever packs rows for this history."""
        return self._names

    def prepare(self, tables: Sequence[pa.Table]) -> LastRows:
        """What `tables`, which come next in the log, will change. Changes nothing yet, and may run in a worker as long as
        nobody feeds in the meantime."""
        return last_rows(tables, window=self.window, max_symbols=self.max_symbols, known=tuple(self._rows), names=self._names)

    def feed(self, rows: LastRows | None, upto: int) -> None:
        """Take in what `prepare` made of the tables that come next; everything below `upto` has been fed now."""
        if upto < self.offset:
            raise ValueError(f"the history is at {self.offset}, beyond {upto}")
        self.offset = upto
        if rows is None:
            return
        for symbol in (*rows.left, *rows.restarted):
            self._forget(symbol)
        for symbol, found in rows.rows.items():
            self._append(symbol, found, rows.sizes[symbol])
        self.evictions += rows.evictions

    def restore(self, symbols: Iterable[tuple[str, Sequence[Row]]]) -> None:
        """Take in saved rows, into a history without any. The last `window` of each symbol count."""
        found = [(symbol, rows[-self.window :]) for symbol, rows in symbols if rows]
        found.sort(key=lambda each: each[1][-1][2])
        for symbol, rows in found[-self.max_symbols :]:
            self._append(symbol, rows, sum(map(row_bytes, rows)))
        self.evictions += max(0, len(found) - self.max_symbols)

    def shrink(self, size_bytes: int) -> int:
        """Let the least recently updated symbols go until at least `size_bytes` are free. How many went."""
        target, gone = self.size_bytes - size_bytes, 0
        while self._rows and self.size_bytes > target:
            self._forget(next(iter(self._rows)))
            gone += 1
        self.evictions += gone
        return gone

    def freeze(self) -> Frozen:
        """The history as it is now, which later rows do not change. Costs next to nothing, however many rows there are."""
        return Frozen(self.lineage, self.offset, self.window, tuple(self._rows.items()))

    def clear(self) -> None:
        """Free all rows, a symbol at a time: to let go of a million of them at once would hold up every other thread."""
        while self._rows:
            self._rows.popitem()
        self._sizes.clear()
        self.size_bytes = 0

    def _append(self, symbol: str, rows: Sequence[Row], rows_bytes: int) -> None:
        there = self._rows.pop(symbol, ())
        before = self._sizes.get(symbol, 0)
        after = _SYMBOL_BYTES + rows_bytes
        if stay := max(0, min(len(there), self.window - len(rows))):
            # What the rows that fall out were worth is taken as the average: adding up each would cost more than it tells.
            after += (before - _SYMBOL_BYTES) * stay // len(there)
        there = (*there[len(there) - stay :], *rows[-self.window :])
        self._rows[symbol] = there
        self._sizes[symbol] = after
        self.size_bytes += after - before

    def _forget(self, symbol: str) -> None:
        if self._rows.pop(symbol, None) is not None:
            self.size_bytes -= self._sizes.pop(symbol)
