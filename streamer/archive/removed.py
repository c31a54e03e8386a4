"""What retention took: input files of certified days that are no longer there, and whose rows are in the archive.

Whoever proves that ranges abut, or that a batch has all its files, counts these as there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any

import orjson
import pyarrow as pa

from streamer.archive.certificate import InputList
from streamer.archive.certificates import certified_days, read_certificate
from streamer.commit.position import Gap
from streamer.documents import typed
from streamer.errors import Damaged, NotFound
from streamer.keys import DEAD_LETTERS, parse_data_key
from streamer.lake.inventory import Inventory, Lineage
from streamer.lake.stored_file import decompressed
from streamer.store.contract import Store


@dataclass(frozen=True, slots=True)
class InputEntry:
    """One input file. rows: in the file, or dead letters. day_rows: those of the day. refused_by: of dead letters, how many
    each quality rule made."""

    key: str
    rows: int
    day_rows: int
    digest: str
    layout: str
    refused_by: Mapping[str, int] = field(default_factory=dict)

    @property
    def dead_letters(self) -> bool:
        return self.key.startswith(DEAD_LETTERS)

    def document(self) -> dict[str, Any]:
        """For JSON."""
        found = asdict(self)
        if not self.refused_by:
            del found["refused_by"]  # as before there were rules: a day closed again must come out the same
        return found


@dataclass(frozen=True, slots=True)
class RemovedFiles:
    """The files of one batch that are gone, added up."""

    files: int = 0
    rows: int = 0
    dead_letters: int = 0


NOTHING = RemovedFiles()


@dataclass(frozen=True, slots=True)
class RemovedBatches:
    """By lineage and range. Damaged certificates are left out: `unreadable` names their days."""

    batches: Mapping[Lineage, Mapping[tuple[int, int], RemovedFiles]] = field(default_factory=dict)
    unreadable: tuple[date, ...] = ()

    @classmethod
    async def read(cls, store: Store, inventory: Inventory) -> RemovedBatches:
        """From the certificates that say that something was removed; what of it `inventory` has is not gone."""
        entries: dict[str, InputEntry] = {}
        unreadable = []
        async for day in certified_days(store):
            try:
                stored = await read_certificate(store, day)
                for part in stored.certificate.streams.values() if stored is not None else ():
                    if part.removed:
                        entries |= {entry.key: entry for entry in await read_entries(store, part.inputs)}
            except Damaged:
                unreadable.append(day)
        if entries:
            for file in inventory.all_files():
                entries.pop(file.key, None)
        return cls(_added_up(entries), tuple(unreadable))

    def of(self, lineage: Lineage, start: int, end: int) -> RemovedFiles:
        """What is gone of one batch."""
        return self.batches.get(lineage, {}).get((start, end), NOTHING)

    def as_gaps(self, lineage: Lineage) -> tuple[Gap, ...]:
        """The ranges of which something is gone, as whoever looks for holes takes them."""
        return tuple(Gap(start, end, "retention", "") for start, end in sorted(self.batches.get(lineage, {})))


async def read_entries(store: Store, inputs: InputList) -> list[InputEntry]:
    """The input files that a certificate lists. Raises `Damaged` where the list is not the one that was certified."""
    try:
        body = (await store.get(inputs.key)).body
    except NotFound:
        body = b""
    if hashlib.sha256(body).hexdigest() != inputs.sha256:
        raise Damaged("a list of inputs is not the one that was certified", hint="restore it from a backup", key=inputs.key)
    try:
        return [typed(orjson.loads(line), InputEntry) for line in decompressed(body, "gz").splitlines()]
    except (ValueError, OSError, pa.ArrowException) as error:
        raise Damaged(f"not a list of inputs: {error!r}"[:300], hint="restore it from a backup", key=inputs.key) from error


def _added_up(entries: Mapping[str, InputEntry]) -> dict[Lineage, dict[tuple[int, int], RemovedFiles]]:
    found: dict[Lineage, dict[tuple[int, int], RemovedFiles]] = {}
    for key, entry in entries.items():
        parsed = parse_data_key(key)
        if parsed is None:
            continue
        batches = found.setdefault(Lineage(parsed.range.source, parsed.range.lineage), {})
        place = (parsed.range.start, parsed.range.end)
        had = batches.get(place, NOTHING)
        rows, letters = (0, entry.rows) if entry.dead_letters else (entry.rows, 0)
        batches[place] = RemovedFiles(had.files + 1, had.rows + rows, had.dead_letters + letters)
    return found
