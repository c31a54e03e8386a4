"""Decoding as the pipeline sees it: a chunk of records in, rows and dead letters out.

Pure and safe to call from any thread. Decoding one record never depends on its neighbours: however a range is divided
into chunks, the rows and the dead letters are the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import pyarrow as pa

from streamer.records import DeadLetter, RecordChunk

ALLOCATED = 1.1
"""Memory that Arrow's allocator holds for a byte of a table, freed pages on their way back to the system included."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """What became of a chunk: `table.num_rows + len(dead_letters)` is the number of its records.

    `table` has the columns of `Layout.decoded_schema`, in offset order. `unknown_fields` are names of fields that no column
    names (at most 50, sorted), `dropped_fields` how many such values were dropped (`unknown = "drop"`).
    `slow_records` were not decoded in columns alone; they cost three to ten times as much as the others.
    """

    table: pa.Table = field(repr=False)
    dead_letters: tuple[DeadLetter, ...] = ()
    unknown_fields: tuple[str, ...] = ()
    dropped_fields: int = 0
    slow_records: int = 0
    size_bytes: int = field(init=False)
    """Memory that this holds, as the budget counts it. Counted where it is made: that takes longer than it looks."""

    def __post_init__(self) -> None:
        letters = sum(letter.size_bytes for letter in self.dead_letters)
        object.__setattr__(self, "size_bytes", int(self.table.nbytes * ALLOCATED) + letters)


class Decoder(Protocol):
    """Executes the schema part of one layout."""

    def decode(self, chunk: RecordChunk) -> Decoded:
        """Rows and dead letters of `chunk`. Never raises for anything a message contains."""
        ...
