"""What a reader gets: the feature history of a stream at one moment, and where a live consumer goes on from there.

A mapping from symbol to its rows, oldest first. Rows stay packed until they are asked for. numpy and pandas are imported by the
methods that are named after them, and needed by nothing else here.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import orjson
import pyarrow as pa

from streamer.errors import Invalid
from streamer.features.document import Head
from streamer.features.rows import Row, unpacked

METADATA_KEY = b"streamer.feature_history"
"""Where the Arrow schema of `to_arrow` holds the head of the document."""

_MICROSECONDS = len("2024-01-01T00:00:00.000000")


class FeatureHistory(Mapping[str, list[dict[str, Any]]]):
    """`history["BTCUSDT"][-1]["rsi"]`: symbol -> rows, each a flat dictionary with `timestamp` (aware, UTC), `partition`,
    `offset` and the features. Empty where the lake has no history."""

    def __init__(
        self, symbols: Mapping[str, Sequence[Row]], head: Head | None, window: int, now: Callable[[], datetime]
    ) -> None:
        self._packed = {symbol: rows[-window:] for symbol, rows in symbols.items() if rows}
        self._unpacked: dict[str, list[dict[str, Any]]] = {}
        self._head = head
        self._now = now
        self.window = window

    def __getitem__(self, symbol: str) -> list[dict[str, Any]]:
        found = self._unpacked.get(symbol)
        if found is None:
            found = self._unpacked[symbol] = [_flat(row) for row in self._packed[symbol]]
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)

    def __contains__(self, symbol: object) -> bool:
        return symbol in self._packed

    def __repr__(self) -> str:
        return f"<FeatureHistory of {len(self)} symbols, window {self.window}, as of {self.as_of}>"

    @property
    def offsets(self) -> dict[str, dict[int, int]]:
        """topic -> partition -> the offset from which a live consumer must continue: every row below it is accounted for here.
        Partitions that are not named have no history: begin them where the topic begins."""
        found: dict[str, dict[int, int]] = {}
        for source, mark in sorted(self._head.marks.items()) if self._head is not None else ():
            found.setdefault(source.topic, {})[source.partition] = mark.offset
        return found

    @property
    def as_of(self) -> datetime | None:
        """Up to when it is known to be complete; None where there is none."""
        return self._head.as_of if self._head is not None else None

    @property
    def age(self) -> timedelta | None:
        """How long ago that was."""
        return self._now() - self._head.as_of if self._head is not None else None

    @property
    def features(self) -> tuple[str, ...]:
        """The names of all values that are floats, sorted."""
        return tuple(sorted({name for names in {row[3] for rows in self._packed.values() for row in rows} for name in names}))

    def deques(self) -> dict[str, deque[dict[str, Any]]]:
        """symbol -> `deque(maxlen=window)` of its rows, to append live rows to."""
        return {symbol: deque(self[symbol], maxlen=self.window) for symbol in self}

    def to_arrow(self) -> pa.Table:
        """One row for each row of each symbol: symbol, timestamp, partition, offset, and a column for each feature, null where
        a row has none. What is neither number nor text nor true or false is JSON text."""
        rows = [row for found in self._packed.values() for row in found]
        symbols = pa.array([symbol for symbol, found in self._packed.items() for _ in found], pa.string())
        precise = any(len(row[0]) > _MICROSECONDS + 1 for row in rows)
        times = pa.array([row[0].removesuffix("Z") for row in rows], pa.string()).cast(pa.timestamp("ns" if precise else "us"))
        columns = {
            "symbol": symbols,
            "timestamp": times.cast(pa.int64()).cast(pa.timestamp("ns" if precise else "us", "UTC")),
            "partition": pa.array([row[1] for row in rows], pa.int32()),
            "offset": pa.array([row[2] for row in rows], pa.int64()),
            **_float_columns(rows, self.features),
            **_other_columns(rows),
        }
        head = self._head.to_json().rsplit(b',"features":', 1)[0] + b"}" if self._head is not None else b"{}"
        return pa.table(columns).replace_schema_metadata({METADATA_KEY: head})

    def to_pandas(self) -> Any:
        """`to_arrow` as a pandas.DataFrame. Raises `Invalid` where pandas is not installed."""
        _imported("pandas", "to_pandas")
        return self.to_arrow().to_pandas()

    def to_numpy(self, features: Sequence[str] | None = None) -> Any:
        """A float64 array of shape (symbols, window, features); symbols in the order of the mapping.

        The newest row of each symbol is last; where a symbol has fewer rows, the first are NaN, and so is what a row lacks.
        `features`: which, in this order; None: all of `self.features`. Raises `Invalid` where numpy is not installed, or a
        feature is in no row.
        """
        numpy = _imported("numpy", "to_numpy")
        wanted = self.features if features is None else tuple(features)
        values = numpy.full((len(self), self.window, len(wanted)), numpy.nan)
        layouts: dict[tuple[str, ...], tuple[list[int], list[int]]] = {}
        seen: set[str] = set()
        for at, rows in enumerate(self._packed.values()):
            for back, (_, _, _, names, packed, others) in enumerate(reversed(rows), 1):
                places = layouts.get(names)
                if places is None:
                    position = {name: index for index, name in enumerate(names)}
                    there = [index for index, name in enumerate(wanted) if name in position]
                    places = layouts[names] = there, [position[wanted[index]] for index in there]
                    seen.update(names)
                values[at, -back, places[0]] = numpy.frombuffer(packed, dtype=float)[places[1]]
                for name, value in others:
                    if name in wanted and isinstance(value, int | float):
                        seen.add(name)
                        values[at, -back, wanted.index(name)] = value
        if self._packed and (unknown := [name for name in wanted if name not in seen]):
            raise Invalid(f"no row has the feature {', '.join(unknown)}", hint=f"there are {', '.join(self.features[:20])}")
        return values


def _flat(row: Row) -> dict[str, Any]:
    flat = unpacked(row)
    flat["timestamp"] = datetime.fromisoformat(row[0].removesuffix("Z")[:_MICROSECONDS]).replace(tzinfo=UTC)
    return flat


def _float_columns(rows: Sequence[Row], features: Sequence[str]) -> dict[str, pa.Array]:
    if len({row[3] for row in rows}) == 1:
        names = rows[0][3]
        values = memoryview(b"".join(row[4] for row in rows)).cast("d")
        found = {name: pa.array(values[at :: len(names)].tolist(), pa.float64()) for at, name in enumerate(names)}
        return {name: found[name] for name in features}
    columns: dict[str, list[float | None]] = {name: [None] * len(rows) for name in features}
    for at, (_, _, _, names, packed, _) in enumerate(rows):
        for name, value in zip(names, array("d", packed), strict=True):
            columns[name][at] = value
    return {name: pa.array(column, pa.float64()) for name, column in columns.items()}


def _other_columns(rows: Sequence[Row]) -> dict[str, pa.Array]:
    columns: dict[str, list[Any]] = {}
    for at, row in enumerate(rows):
        for name, value in row[5]:
            columns.setdefault(name, [None] * len(rows))[at] = value
    return {name: _typed(columns[name]) for name in sorted(columns)}


def _typed(values: list[Any]) -> pa.Array:
    kinds = {type(value) for value in values if value is not None}
    for kind, type_ in ((str, pa.string()), (bool, pa.bool_()), (int, pa.int64())):
        if kinds == {kind}:
            return pa.array(values, type_)
    return pa.array([None if value is None else orjson.dumps(value).decode() for value in values], pa.string())


def _imported(name: str, method: str) -> ModuleType:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError:
        raise Invalid(
            f"{method} needs {name}", hint=f"pip install {name}; or use to_arrow(), which needs nothing more"
        ) from None
