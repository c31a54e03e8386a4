"""Is the archive of a day what its certificate says, and is it what the raw files say? Reads, and changes nothing.

Findings name the object and what to do. Memory: one archive file's row group, one data file, and the bars of one symbol.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Collection
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from streamer.archive.bars import BarFold
from streamer.archive.certificate import Certificate, Output, StreamPart
from streamer.archive.day_file import measured
from streamer.archive.day_rows import DayColumns, DayReader, RowSource
from streamer.archive.inputs import Stock
from streamer.archive.removed import read_entries
from streamer.archive.row_hash import RowHash
from streamer.errors import Damaged, NotFound
from streamer.keys import certificate_key
from streamer.lake.finding import Finding, FindingKind, NoteKind
from streamer.lake.inventory import LakeFile
from streamer.store.big_objects import StoredContent, hash_content, read_content
from streamer.store.contract import Store
from streamer.workers import Workers

_AGAIN = "`streamer verify --repair`, or restore the object from a backup"


async def prove_outputs(store: Store, certificate: Certificate, workers: Workers) -> None:
    """Every object that the certificate lists is there, byte for byte. Raises `Damaged` for the first that is not."""
    for output in certificate.outputs:
        finding = await check_bytes(store, output, workers)
        if finding is not None:
            raise Damaged(finding.detail, hint=finding.hint, key=output.place)


async def check_bytes(store: Store, output: Output, workers: Workers, *, deep: bool = True) -> Finding | None:
    """What is wrong with an object of the archive: it is gone, or is not the one that was certified.

    deep: by its hash; else by its size.
    """
    try:
        size_bytes = (await store.head(output.place)).size_bytes
        if size_bytes == output.bytes and not deep:
            return None
        if (
            size_bytes == output.bytes
            and await hash_content(StoredContent(store, output.place, size_bytes), workers) == output.sha256
        ):
            return None
    except NotFound:
        return Finding(FindingKind.ARCHIVE_MISSING, "the certificate lists it, and it is not there", _AGAIN, output.place)
    detail = "it is not the object that was certified: its SHA-256 is another"
    return Finding(FindingKind.ARCHIVE_WRONG, detail, _AGAIN, output.place)


class DayProof:
    """Proves one certified day."""

    def __init__(self, store: Store, stock: Stock, workers: Workers, *, budget_bytes: int = 64 << 20) -> None:
        self._store = store
        self._stock = stock
        self._workers = workers
        self._budget_bytes = budget_bytes

    async def findings(
        self, certificate: Certificate, *, deep: bool, streams: Collection[str] | None = None
    ) -> AsyncIterator[Finding]:
        """Everything wrong with the day, of `streams` alone where given.

        deep: read the rows, of the archive and of the raw files that are there; without it only sizes are compared.
        """
        key = certificate_key(certificate.day)
        if certificate.publishing:
            detail = "its newest revision is not under its own keys yet: readers of certificates have it, others not all of it"
            yield Finding(NoteKind.ARCHIVE_PUBLISHING, detail, "the next close ends it; or `streamer verify --repair`", key)
        if not certificate.complete:
            yield Finding(NoteKind.ARCHIVE_INCOMPLETE, "not every partition was complete when the day was closed", "", key)
        late = await self._workers.run(self._stock.late_days, {certificate.day: certificate})
        if late:
            yield Finding(NoteKind.ARCHIVE_LATE, "data of the day came after it was closed", "the daemon closes it again", key)
        wrong = set[str | None]()
        for output in certificate.outputs:
            if streams is not None and output.stream is not None and output.stream not in streams:
                continue
            if (finding := await check_bytes(self._store, output, self._workers, deep=deep)) is not None:
                wrong.add(output.stream)
                yield finding
        for name, part in certificate.streams.items() if deep else ():
            if name in wrong or (streams is not None and name not in streams):
                continue  # the rows would only say it again
            try:
                async for finding in self._stream(certificate, name, part):
                    yield finding
            except Damaged as error:
                yield Finding(FindingKind.ARCHIVE_WRONG, error.message, error.hint, str(error.context.get("key", key)))

    async def _stream(self, certificate: Certificate, name: str, part: StreamPart) -> AsyncIterator[Finding]:
        total = RowHash()
        rows_of = {output.symbol: output for output in part.outputs if output.kind not in ("bars", "summary")}
        bars_of = {output.symbol: output for output in part.outputs if output.kind == "bars"}
        schema: pa.Schema | None = None
        for symbol, output in rows_of.items():
            with tempfile.TemporaryDirectory(prefix="streamer-verify-") as folder:
                path = await self._fetch(output, Path(folder) / "rows.parquet")
                bars = bars_of.get(symbol)
                expected = await self._fetch(bars, Path(folder) / "bars.parquet") if bars is not None else None
                found, schema, bars_right = await self._workers.run(_read, path, expected, certificate)
            total += found
            if str(found) != output.row_hash or found.rows != output.rows:
                yield Finding(FindingKind.ARCHIVE_WRONG, "its rows are not those that were certified", _AGAIN, output.place)
            if bars is not None and not bars_right:
                yield Finding(FindingKind.BARS_WRONG, "its bars are not those of the day's ticks", _AGAIN, bars.place)
        if total != part.hash:
            detail = f"the files of {name} do not add up to what was certified"
            yield Finding(FindingKind.ARCHIVE_WRONG, detail, _AGAIN, certificate_key(certificate.day))
        if schema is not None:
            async for finding in self._against_raw(certificate, name, part, schema):
                yield finding

    async def _against_raw(
        self, certificate: Certificate, name: str, part: StreamPart, schema: pa.Schema
    ) -> AsyncIterator[Finding]:
        entries = {entry.key: entry for entry in await read_entries(self._store, part.inputs) if not entry.dead_letters}
        files = [f for f in await self._workers.run(self._stock.raw_files, name, certificate.day) if f.key in entries]
        if len(files) < len(entries):
            if "raw" not in part.removed:
                first = min(entries.keys() - {file.key for file in files})
                detail = f"{len(entries) - len(files)} certified data files are gone, and not by retention"
                yield Finding(FindingKind.RAW_MISSING, detail, "find out who deletes; restore them from a backup", first)
            return
        total = RowHash()
        columns = DayColumns(schema, tuple(sorted({_source(file) for file in files})))
        reader = DayReader(self._store, certificate.day, self._workers, budget_bytes=self._budget_bytes)
        async for found in reader.rows(files, columns):
            total += found.hash
        if total != part.hash:
            detail = f"the archive of {name} has other rows than the raw files: {part.rows}, not {total.rows}, or others"
            yield Finding(FindingKind.ARCHIVE_WRONG, detail, "close the day again", certificate_key(certificate.day))

    async def _fetch(self, output: Output, path: Path) -> Path:
        with path.open("wb") as file:
            async for piece in read_content(StoredContent(self._store, output.place, output.bytes)):
                await self._workers.run(file.write, piece)
        if await self._workers.run(measured, path) != (output.bytes, output.sha256):
            raise Damaged("it changed while it was read", hint="run `streamer verify` again", key=output.place)
        return path


def _read(rows: Path, bars: Path | None, certificate: Certificate) -> tuple[RowHash, pa.Schema, bool]:
    """The hash of a file's rows, its columns, and whether its bars are those in the other file."""
    total, fold = RowHash(), BarFold(certificate.recipe.intervals, fill=certificate.recipe.fill)
    with pq.ParquetFile(rows) as parquet:
        for number in range(parquet.num_row_groups):
            table = parquet.read_row_group(number)
            total += RowHash.of(table)
            if bars is not None:
                fold.add(table)
        schema = parquet.schema_arrow.remove_metadata()
    if bars is None:
        return total, schema, True
    with pq.ParquetFile(bars) as parquet:
        stored = parquet.read()
    return total, schema, bool(fold.table(stored.schema.remove_metadata()).equals(stored))


def _source(file: LakeFile) -> RowSource:
    return RowSource(file.range.source.topic, file.range.lineage, file.range.source.partition)
