"""Records with fields that no column names: those are taken out one by one, with their exact text, and what is left is read in
columns. In between the two others: it holds the GIL for a third of the time that one by one takes.
"""

from __future__ import annotations

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


class Sieved:
    """Decodes runs of records of one layout that keeps `extra` and gathers no features. Holds no state between calls."""

    def __init__(self, columnar: Columnar, targets: Targets) -> None:
        self._columnar = columnar
        self._named = {name: b"," + name_text(name) for name in targets.known}

    def decode(self, values: Sequence[bytes], timestamps: Sequence[int], indexes: Sequence[int]) -> Rows:
        """What becomes of these records, all of which must become rows. Raises `Declined`."""
        unknown = Unknown()
        named, others = self._named, dict[str, bytes]()
        sieved: list[bytes] = []
        extras: list[str | None] = []
        for value in values:
            try:
                fields = parse_object(value)
            except Refused as refused:
                raise Declined(refused.detail) from None
            # Names and values in turn: joining copies each once, and asks for no object of its own.
            kept: list[Any] = []
            rest: list[Any] = []
            for name, raw in fields.items():
                if (before := named.get(name)) is not None:
                    kept += (before, raw)
                    continue
                if (before := others.get(name)) is None:
                    before = others[name] = b"," + name_text(name)
                    unknown.add([name for name in fields if name not in named])
                rest += (before, raw)
            sieved.append(b"{" + b"".join(kept)[1:] + b"}")
            extras.append((b"{" + b"".join(rest)[1:] + b"}").decode() if rest else None)
        rows = self._columnar.decode(sieved, timestamps, indexes)
        columns = (*rows.columns[:-1], pa.array(extras, pa.string()))
        return replace(rows, columns=columns, unknown=unknown, slow=len(values))
