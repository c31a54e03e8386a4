"""Closing one day: with `stream_close.py`, the only code that knows the order of the steps.

Read what is committed, check it, write the compacted day, its bars and summaries, and last the certificate. Each step may be
done again by anybody: the same records give the same bytes, and until the certificate is replaced nothing of the present
revision is touched.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import orjson

from streamer.archive.certificate import Certificate, Output
from streamer.archive.certificates import read_certificate, write_certificate
from streamer.archive.day_file import measured
from streamer.archive.inputs import Stock
from streamer.archive.lease import Lease
from streamer.archive.placing import Placing
from streamer.archive.settings import ArchiveSettings
from streamer.archive.stream_close import OtherRows, Progress, StreamCloser
from streamer.errors import Damaged
from streamer.keys import summary_key
from streamer.store.contract import Store
from streamer.workers import Workers


@dataclass(frozen=True, slots=True)
class Closed:
    """What closing a day came to. changed: whether its content is another than before. others: rows of other days that were
    seen on the way, in folders that name no day."""

    certificate: Certificate
    changed: bool
    others: tuple[OtherRows, ...] = ()


class DayCloser:
    """Closes days of one lake. The caller holds the lease."""

    def __init__(self, store: Store, lease: Lease, settings: ArchiveSettings, workers: Workers) -> None:
        self._store = store
        self._lease = lease
        self._settings = settings
        self._placing = Placing(store, lease, workers)
        self._streams = StreamCloser(store, self._placing, settings, workers)

    async def close(
        self,
        day: date,
        stock: Stock,
        streams: Collection[str] | None = None,
        progress: Progress | None = None,
        *,
        rewrite: Collection[str] = (),
    ) -> Closed:
        """Close `day`, of `streams` alone where given: what the certificate says of the others stays. rewrite: keys that the
        certificate lists, under which there is something else by now.

        Idempotent. Raises `Damaged` where the day's files are not whole (nothing is certified then), `Fenced` where another
        process closes days now, `Invalid` where a column changed its type, `Unavailable` and `Denied`.
        """
        stored = await read_certificate(self._store, day)
        if stored is not None:
            try:
                stored = await self._placing.publish(stored)
            except Damaged:  # what waited is gone; it is made again
                rewrite = {*rewrite, *(output.key for output in stored.certificate.outputs if output.staged is not None)}
        known = stored.certificate if stored is not None else None
        parts = dict(known.streams) if known is not None else {}
        listed = known.without(rewrite) if known is not None else None
        closing = {stream.name for stream in self._settings.streams if streams is None or stream.name in streams}
        summaries = await self._summaries(known) if parts.keys() - closing else {}
        others: list[OtherRows] = []
        with tempfile.TemporaryDirectory(prefix="streamer-archive-") as folder:
            for stream in self._settings.streams:
                if stream.name in closing:
                    before = parts.get(stream.name)
                    closed = await self._streams.close(stream, day, stock, before, listed, Path(folder), progress)
                    parts[stream.name], summaries[stream.name], seen = closed
                    others += seen
            summary = await self._place_summary(day, listed, summaries, Path(folder))
        new = Certificate(day, known.revision if known is not None else 1, self._settings.recipe, parts, summary)
        changed = known is None or not _same_content(known, new)
        if known is not None and changed:
            new = replace(new, revision=known.revision + 1)
        elif known is not None and new.complete == known.complete and not known.publishing:
            return Closed(known, changed=False, others=tuple(others))
        await self._lease.demand()
        written = await write_certificate(self._store, new, stored)
        published = (await self._placing.publish(written)).certificate
        await self._forget_inputs(known, published)
        return Closed(published, changed, tuple(others))

    async def _summaries(self, known: Certificate | None) -> dict[str, Any]:
        if known is None or known.summary is None:
            return {}
        return dict(orjson.loads((await self._store.get(known.summary.place)).body)["streams"])

    async def _place_summary(self, day: date, listed: Certificate | None, streams: Mapping[str, Any], folder: Path) -> Output:
        document = {"version": 1, "date": day.isoformat(), "streams": dict(sorted(streams.items()))}
        path = folder / "summary.json"
        path.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2))
        size_bytes, sha256 = measured(path)
        output = Output(summary_key(day), "summary", None, None, 0, size_bytes, sha256)
        return await self._placing.place(output, listed, path)

    async def _forget_inputs(self, before: Certificate | None, now: Certificate) -> None:
        """Remove the lists of inputs that only the revision before spoke of."""
        kept = {part.inputs.key for part in now.streams.values()}
        for part in before.streams.values() if before is not None else ():
            if part.inputs.key not in kept:
                await self._store.delete(part.inputs.key)


def _same_content(one: Certificate, other: Certificate) -> bool:
    return (
        one.recipe == other.recipe
        and one.streams.keys() == other.streams.keys()
        and all(part.same_content(other.streams[name]) for name, part in one.streams.items())
        and (one.summary and one.summary.content) == (other.summary and other.summary.content)
    )
