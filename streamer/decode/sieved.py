"""Records with fields that no column names: those are taken out one by one, with their exact text, and what is left is read in
columns. In between the two others, in what it costs, too.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from streamer.decode.columnar import Columnar
from streamer.decode.fields import Targets, Unknown, name_text
from streamer.decode.one_by_one import parse_object
from streamer.decode.readings import Declined
from streamer.decode.refusal import Refused
from streamer.decode.rows import Rows

Parted = tuple[bytes, str | None, tuple[str, ...]]
"""Of a record: an object with the fields that columns name, one with the others, and their names."""


class Sieve:
    """Decodes runs of records of one chunk, of a layout that keeps `extra` and gathers no features. Remembers how it parted
    what was declined, which comes again, divided."""

    def __init__(self, columnar: Columnar, targets: Targets) -> None:
        self._columnar = columnar
        self._named = {name: b"," + name_text(name) for name in targets.known}
        self._others: dict[str, bytes] = {}
        self._declined: list[tuple[Sequence[int], list[Parted]]] = []

    def decode(self, values: Sequence[bytes], timestamps: Sequence[int], indexes: Sequence[int]) -> Rows:
        """What becomes of these records (at `indexes` of the chunk), all of which must become rows. Raises `Declined`."""
        run = self._again(indexes) or self._part(values)
        try:
            rows = self._columnar.decode([named for named, _, _ in run], timestamps, indexes)
        except Declined:
            self._declined.append((indexes, run))
            raise
        unknown = Unknown()
        for names in dict.fromkeys(names for _, _, names in run):
            unknown.add(names)
        columns = (*rows.columns[:-1], pa.array([extra for _, extra, _ in run], pa.string()))
        return replace(rows, columns=columns, unknown=unknown, slow=len(run))

    def _again(self, indexes: Sequence[int]) -> list[Parted] | None:
        """What is remembered of these records: they are part of a run, without a hole."""
        for whole, run in self._declined:
            if whole[0] <= indexes[0] and indexes[-1] <= whole[-1]:
                at = bisect_left(whole, indexes[0])
                return run[at : at + len(indexes)]
        return None

    def _part(self, values: Sequence[bytes]) -> list[Parted]:
        run: list[Parted] = []
        for value in values:
            try:
                fields = parse_object(value)
            except Refused as refused:
                raise Declined(refused.detail) from None
            # Names and values in turn: joining copies each once, and asks for no object of its own.
            kept: list[Any] = []
            rest: list[Any] = []
            names: list[str] = []
            for name, raw in fields.items():
                if (before := self._named.get(name)) is not None:
                    kept += (before, raw)
                    continue
                if (before := self._others.get(name)) is None:
                    before = self._others[name] = b"," + name_text(name)
                rest += (before, raw)
                names.append(name)
            extra = (b"{" + b"".join(rest)[1:] + b"}").decode() if names else None
            run.append((b"{" + b"".join(kept)[1:] + b"}", extra, tuple(names)))
        return run
