"""Rows in order, however many: sorted runs on a local disk, merged block by block in bounded memory.

Synchronous; its callers run it in threads. Says nothing about what the rows are, except which columns order them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

BATCH_BYTES = 256 << 10
"""What of each run is in memory while runs are merged: a hundred of them take 25 MiB."""


class SortedRows:
    """Takes rows in any order and gives them back sorted by `keys`, ascending; keys have no nulls.

    Up to a quarter of `budget_bytes` waits in memory; more goes to files in `folder`. Sorting needs about three times what
    waits.
    """

    def __init__(self, folder: Path, keys: Sequence[str], *, budget_bytes: int) -> None:
        self._folder = folder
        self._keys = tuple(keys)
        self._run_bytes = max(BATCH_BYTES, budget_bytes // 4)
        self._waiting: list[pa.Table] = []
        self._waiting_bytes = 0
        self._runs: list[Path] = []

    def add(self, table: pa.Table) -> None:
        """Take in rows. All tables have one schema."""
        if not table.num_rows:
            return
        self._waiting.append(table)
        self._waiting_bytes += table.nbytes
        if self._waiting_bytes >= self._run_bytes:
            self._spill()

    def blocks(self) -> Iterator[pa.Table]:
        """All rows in order, in blocks of no promised size. Call once, after the last `add`."""
        if not self._runs:
            if self._waiting:
                yield self._take_sorted()
            return
        if self._waiting:
            self._spill()
        yield from merged([_read_run(path) for path in self._runs], self._keys)
        for path in self._runs:
            path.unlink()

    def _take_sorted(self) -> pa.Table:
        table = pa.concat_tables(self._waiting)
        self._waiting, self._waiting_bytes = [], 0
        return sorted_by(table, self._keys)

    def _spill(self) -> None:
        table = self._take_sorted()
        rows = max(1, BATCH_BYTES * table.num_rows // max(1, table.nbytes))
        path = self._folder / f"run-{id(self):x}-{len(self._runs):06d}.arrow"
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema, options=_OPTIONS) as writer:
            for batch in table.combine_chunks().to_batches(max_chunksize=rows):
                writer.write_batch(batch)
        self._runs.append(path)


def sorted_by(table: pa.Table, keys: Sequence[str]) -> pa.Table:
    """The rows of `table` in ascending order of `keys`."""
    order = pc.sort_indices(table, sort_keys=[(key, "ascending") for key in keys])
    return table.take(order)


def merged(runs: Sequence[Iterator[pa.Table]], keys: Sequence[str]) -> Iterator[pa.Table]:
    """The rows of sorted runs as one sorted sequence of blocks. Holds one block of each run, and what it gives out."""
    heads = [head for run in runs if (head := _Head.first(run, keys)) is not None]
    while heads:
        bound = min(head.last for head in heads)
        parts = [part for head in heads if head.least <= bound and (part := head.take(bound)) is not None]
        heads = [head for head in heads if head.refill()]
        yield parts[0] if len(parts) == 1 else sorted_by(pa.concat_tables(parts), keys)


class _Head:
    """The block of a run that is in memory, and the least and the last key in it."""

    def __init__(self, run: Iterator[pa.Table], block: pa.Table, keys: Sequence[str]) -> None:
        self._run = run
        self._keys = keys
        self._block = block
        self._set(block)

    @classmethod
    def first(cls, run: Iterator[pa.Table], keys: Sequence[str]) -> _Head | None:
        block = next(run, None)
        return cls(run, block, keys) if block is not None else None

    def take(self, bound: tuple[Any, ...]) -> pa.Table | None:
        """The rows up to `bound`, which leave the block."""
        count = bisect_right(range(self._block.num_rows), bound, key=self._key)
        part, rest = self._block.slice(0, count), self._block.slice(count)
        self._block = rest
        if rest.num_rows:
            self.least = self._key(0)
        return part if count else None

    def refill(self) -> bool:
        """Whether there is a block: the next one of the run, where this one is used up."""
        if not self._block.num_rows:
            block = next(self._run, None)
            if block is None:
                return False
            self._set(block)
        return True

    def _set(self, block: pa.Table) -> None:
        self._block = block
        self.least, self.last = self._key(0), self._key(block.num_rows - 1)

    def _key(self, at: int) -> tuple[Any, ...]:
        return tuple(_value(self._block[key][at]) for key in self._keys)


def _value(scalar: Any) -> Any:
    return scalar.value if pa.types.is_timestamp(scalar.type) else scalar.as_py()


def _read_run(path: Path) -> Iterator[pa.Table]:
    with pa.OSFile(str(path), "rb") as file:
        reader = pa.ipc.open_file(file)
        for number in range(reader.num_record_batches):
            yield pa.Table.from_batches([reader.get_batch(number)])


_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")
