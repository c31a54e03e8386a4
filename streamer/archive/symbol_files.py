"""Rows in order become the files of the day: one a symbol with its bars, or one for all signals; and their summaries.

Synchronous; its callers run it in threads. Holds one symbol at a time, a row group of it, and its shortest bars.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from streamer.archive.bars import BarFold, bar_schema
from streamer.archive.day_file import DayFile, WrittenFile
from streamer.archive.day_rows import SOURCE, DayColumns
from streamer.archive.settings import PLAIN_NAMES, ArchivedStream, Recipe
from streamer.archive.summary import QualitySummary, SignalSummary, TimeSummary, blocks_of, prices_of_day
from streamer.errors import Damaged
from streamer.keys import ArchiveKind, archive_key
from streamer.layout import TIMESTAMP
from streamer.quality.fitting import fitting
from streamer.quality_rules import QualityRules
from streamer.write.partition_value import encode_value

SYMBOL = "symbol"


@dataclass(frozen=True, slots=True)
class ProducedFile:
    """A file that waits to be put under `key`."""

    key: str
    kind: ArchiveKind
    symbol: str | None
    file: WrittenFile


class Sink(Protocol):
    """Takes the day's rows in order."""

    keys: tuple[str, ...]
    """The columns by which the rows must be sorted."""

    def add(self, block: pa.Table) -> list[ProducedFile]:
        """The next rows, in the columns of `DayColumns.sortable_schema`. Files that are finished by now."""
        ...

    def finish(self) -> list[ProducedFile]:
        """The files that were still open."""
        ...

    def summary(self) -> dict[str, Any]:
        """The stream's part of the day's summary, for JSON, without `quality`."""
        ...

    @property
    def rules(self) -> QualityRules:
        """The quality rules that rows were held against."""
        ...

    @property
    def violations(self) -> Mapping[str, int]:
        """How many rows broke each of them."""
        ...


class FirstOfEach:
    """Drops rows whose source and offset are those of the row before."""

    def __init__(self, *, refuse: bool) -> None:
        """refuse: raise `Damaged` instead: no two rows may have the same offset."""
        self._refuse = refuse
        self._last: tuple[int, int] | None = None
        self.dropped = 0

    def of(self, block: pa.Table) -> pa.Table:
        """`block` without them."""
        source, offset = _whole(block[SOURCE]), _whole(block["_offset"])
        again = pc.and_(pc.equal(source[1:], source[:-1]), pc.equal(offset[1:], offset[:-1]))
        first = (source[0].as_py(), offset[0].as_py()) == self._last
        self._last = source[-1].as_py(), offset[-1].as_py()
        if not first and not pc.any(again).as_py():
            return block
        kept = block.filter(pa.concat_arrays([pa.array([not first]), pc.invert(again)]))
        self.dropped += block.num_rows - kept.num_rows
        if self._refuse:
            raise Damaged("an offset is there twice", hint="run `streamer verify`: it names the files")
        return kept


class SymbolFiles:
    """A file a symbol, and for ticks a second one with its bars. Rows come sorted by symbol and then by event time."""

    keys: tuple[str, ...] = (SYMBOL, TIMESTAMP, SOURCE, "_offset")

    def __init__(self, stream: ArchivedStream, day: date, columns: DayColumns, recipe: Recipe, folder: Path) -> None:
        self._stream = stream
        self._day = day
        self._columns = columns
        self._recipe = recipe
        self._folder = folder
        self._kind = PLAIN_NAMES[stream.schema]
        self._open: _Symbol | None = None
        self.rules = _fitting(stream, columns)
        self._order = self.rules.of_a_day(SOURCE)
        self.violations: Counter[str] = Counter()
        self._summaries: dict[str, Any] = {}
        self._bars = None
        if stream.schema == "tick" and recipe.intervals:
            names = columns.schema.names
            quantity = columns.schema.field("quantity").type if "quantity" in names else pa.float64()
            self._bars = bar_schema(columns.schema.field("price").type, quantity)

    def add(self, block: pa.Table) -> list[ProducedFile]:
        done = []
        for symbol, rows in blocks_of(block, SYMBOL):
            if self._open is not None and self._open.symbol != symbol:
                done += self.finish()
            if self._open is None:
                self._open = self._begin(symbol)
            self._open.add(rows, self._columns)
        return done

    def finish(self) -> list[ProducedFile]:
        if self._open is None:
            return []
        symbol, self._open = self._open, None
        self._summaries[symbol.symbol] = symbol.summary(self._bars)
        if symbol.quality is not None:
            self.violations += symbol.quality.counts
        return list(self._finished(symbol))

    def summary(self) -> dict[str, Any]:
        return {"symbols": dict(sorted(self._summaries.items()))}

    def _begin(self, symbol: str) -> _Symbol:
        file = self._file(self._kind, symbol, self._columns.schema)
        fold = BarFold(self._recipe.intervals, fill=self._recipe.fill) if self._bars is not None else None
        quality = QualitySummary(self._order) if self.rules else None
        return _Symbol(symbol, file, fold, TimeSummary(self._recipe.gap_seconds), quality)

    def _finished(self, symbol: _Symbol) -> Iterator[ProducedFile]:
        yield self._produced(self._kind, symbol.symbol, symbol.file)
        if symbol.fold is not None and self._bars is not None:
            file = self._file("bars", symbol.symbol, self._bars)
            file.add(symbol.fold.table(self._bars))
            yield self._produced("bars", symbol.symbol, file)

    def _file(self, kind: ArchiveKind, symbol: str, schema: pa.Schema) -> DayFile:
        text = encode_value(symbol, at_segment_start=True)
        facts = file_facts(self._stream, self._day, kind) | {"symbol": text}
        return DayFile(self._folder / f"{kind}-{text[:100]}-{len(self._summaries)}.parquet", schema, facts)

    def _produced(self, kind: ArchiveKind, symbol: str, file: DayFile) -> ProducedFile:
        text = encode_value(symbol, at_segment_start=True)
        return ProducedFile(archive_key(kind, self._day, text, stream=plain_name(self._stream)), kind, symbol, file.finish())


@dataclass(slots=True)
class _Symbol:
    symbol: str
    file: DayFile
    fold: BarFold | None
    times: TimeSummary
    quality: QualitySummary | None

    def add(self, rows: pa.Table, columns: DayColumns) -> None:
        self.file.add(columns.archived(rows))
        self.times.add(rows[TIMESTAMP])
        if self.quality is not None:
            self.quality.add(rows)
        if self.fold is not None:
            self.fold.add(rows)

    def summary(self, bars: pa.Schema | None) -> dict[str, Any]:
        found = self.times.document()
        if self.quality is not None and self.quality.counts:
            found["quality"] = dict(sorted(self.quality.counts.items()))
        return found | prices_of_day(self.fold.base(), bars) if self.fold is not None and bars is not None else found


class SignalFile:
    """One file for all signals of the day, by event time."""

    keys: tuple[str, ...] = (TIMESTAMP, SOURCE, "_offset")

    def __init__(self, stream: ArchivedStream, day: date, columns: DayColumns, folder: Path) -> None:
        self._key = archive_key("signals", day, stream=plain_name(stream))
        self._columns = columns
        self._file = DayFile(folder / "signals.parquet", columns.schema, file_facts(stream, day, "signals"))
        self._summary = SignalSummary()
        self.rules = _fitting(stream, columns)
        self._quality = QualitySummary(self.rules.of_a_day(SOURCE))
        self._rows = 0

    def add(self, block: pa.Table) -> list[ProducedFile]:
        self._rows += block.num_rows
        self._file.add(self._columns.archived(block))
        self._summary.add(block)
        self._quality.add(block)
        return []

    def finish(self) -> list[ProducedFile]:
        file = self._file.finish()
        return [ProducedFile(self._key, "signals", None, file)] if self._rows else []

    def summary(self) -> dict[str, Any]:
        return self._summary.document()

    @property
    def violations(self) -> Mapping[str, int]:
        return self._quality.counts


def sink_of(stream: ArchivedStream, day: date, columns: DayColumns, recipe: Recipe, folder: Path) -> Sink:
    """Where the rows of a stream go."""
    if stream.schema == "signal":
        return SignalFile(stream, day, columns, folder)
    return SymbolFiles(stream, day, columns, recipe, folder)


def _fitting(stream: ArchivedStream, columns: DayColumns) -> QualityRules:
    """The rules that the day's columns allow: a column may be younger than the day."""
    return fitting(stream.quality, columns.sortable_schema)


def file_facts(stream: ArchivedStream, day: date, kind: ArchiveKind) -> dict[str, str]:
    """What a file of the archive says of itself, beside its rows and their hash."""
    return {"version": "1", "stream": stream.name, "date": day.isoformat(), "kind": kind}


def plain_name(stream: ArchivedStream) -> str:
    """Nothing for the stream whose archive has the plain keys of its schema; else the stream's name."""
    return "" if PLAIN_NAMES[stream.schema] == stream.name else stream.name


def _whole(column: pa.ChunkedArray) -> pa.Array:
    whole = column.combine_chunks()
    return pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole
