"""Where the files of a closed day came from, as its certificate and its list of inputs have it.

Rows were made of the data files that can hold them, bars of the ticks of their symbol, the summary of all rows of the day.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import date

from streamer.archive.certificate import Certificate, Output, StreamPart
from streamer.archive.certificates import read_certificate
from streamer.archive.removed import InputEntry, read_entries
from streamer.errors import Invalid
from streamer.keys import SUMMARIES, parse_data_key
from streamer.lake.layouts import read_layouts
from streamer.lake.path_filter import PathFilter
from streamer.layout import Layout
from streamer.lineage.derivation import Source, digest_of
from streamer.lineage.graph import Kind, Offsets
from streamer.lineage.origin import Origin
from streamer.store.contract import ObjectInfo, Store

COMPUTATION = "day close"


class ArchiveOrigins:
    """Reads each certificate, each list of inputs and the layouts once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._certificates: dict[date, Certificate | None] = {}
        self._entries: dict[str, list[InputEntry]] = {}
        self._layouts: dict[str, Layout] | None = None
        self._reading = asyncio.Lock()

    async def certificate(self, day: date) -> Origin:
        """Of a day's certificate: it speaks of the day's files. Raises `Damaged`."""
        found = await self._certified(day)
        if found is None:
            return Origin("certificate")
        return Origin(
            "certificate",
            COMPUTATION,
            f"revision {found.revision}",
            offsets=tuple(each for name in sorted(found.streams) for each in _offsets(found.streams[name])),
            sources=_of(found.outputs),
            about={"complete": str(found.complete).lower()},
        )

    async def output(self, day: date, key: str, info: ObjectInfo | None) -> Origin:
        """Of one of the day's files. Raises `Damaged`."""
        kind: Kind = "summary" if key.startswith(SUMMARIES) else "archive"
        found = await self._certified(day)
        output = found.output(key) if found is not None else None
        if found is None or output is None:
            # A day that is being closed, or a file that its last revision did not need any more.
            why = "the day has no certificate" if found is None else "the certificate of its day does not list it"
            return Origin(kind, COMPUTATION, problem=why)
        part = found.streams.get(output.stream or "")
        said = digest_of(info.metadata) if info is not None else None
        other = output.staged is None and said is not None and output.row_hash not in (None, said)
        return Origin(
            kind,
            COMPUTATION,
            f"revision {found.revision}",
            offsets=_offsets(part) if part is not None else (),
            sources=await self._sources(found, part, output),
            about={"rows": str(output.rows), "sha256": output.sha256},
            problem="its rows are not those that the certificate of its day lists" if other else None,
        )

    async def _sources(self, certificate: Certificate, part: StreamPart | None, output: Output) -> tuple[Source, ...]:
        if output.kind == "summary" or part is None:
            return _of(each for each in certificate.outputs if each.kind not in ("bars", "summary"))
        if output.kind == "bars":
            return _of(each for each in part.outputs if each.kind == "ticks" and each.symbol == output.symbol)
        entries = [e for e in await self._inputs(part) if e.day_rows and not e.dead_letters]
        if output.symbol is not None:
            layouts = await self._by_fingerprint()
            entries = [entry for entry in entries if _may_hold(layouts.get(entry.layout), entry.key, output.symbol)]
        return tuple(Source(entry.key, None, entry.digest) for entry in sorted(entries, key=lambda entry: entry.key))

    async def _certified(self, day: date) -> Certificate | None:
        async with self._reading:
            if day not in self._certificates:
                stored = await read_certificate(self._store, day)
                self._certificates[day] = stored.certificate if stored is not None else None
        return self._certificates[day]

    async def _inputs(self, part: StreamPart) -> list[InputEntry]:
        key = part.inputs.key
        async with self._reading:
            if key not in self._entries:
                self._entries[key] = await read_entries(self._store, part.inputs)
        return self._entries[key]

    async def _by_fingerprint(self) -> dict[str, Layout]:
        async with self._reading:
            if self._layouts is None:
                self._layouts = {layout.fingerprint: layout for layout in await read_layouts(self._store)}
        return self._layouts


def _may_hold(layout: Layout | None, key: str, symbol: str) -> bool:
    parsed = parse_data_key(key)
    if layout is None or parsed is None:
        return True
    try:
        return PathFilter.of(layout, None, None, [symbol]).may_hold(parsed.partition_path)
    except Invalid:
        return True


def _of(outputs: Iterable[Output]) -> tuple[Source, ...]:
    return tuple(Source(output.key, None, output.row_hash) for output in sorted(outputs, key=lambda each: each.key))


def _offsets(part: StreamPart) -> tuple[Offsets, ...]:
    return tuple(
        Offsets(each.topic, each.partition, each.lineage, start, end) for each in part.partitions for start, end in each.ranges
    )
