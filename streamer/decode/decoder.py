"""The decoder of a layout: tries columns first, divides what they decline, sieves unknown fields out of what they decline
again, and decodes the rest one by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa

from streamer.decode.columnar import Columnar
from streamer.decode.contract import Decoded, Decoder
from streamer.decode.fields import Targets, Unknown
from streamer.decode.one_by_one import OneByOne
from streamer.decode.readings import Declined
from streamer.decode.refusal import Refusal
from streamer.decode.rows import Rows, table_of
from streamer.decode.rules import apply_rules, check_rules
from streamer.decode.sieved import Sieve
from streamer.layout import Layout
from streamer.packed import PackedBytes, picked
from streamer.records import DeadLetter, DeadLetterReason, RecordChunk

_COLUMNAR_ROWS_MIN = 128  # below, the fixed cost of pyarrow's reader (0.2 ms) is more than it saves
_COLUMNAR_ROWS_MAX = 65_536  # the reader has a limit of 100,000 rows in a block
_COLUMNAR_BYTES_MAX = 64 << 20  # text and columns of one run are in memory together
_ONE_BY_ONE_ROWS_MAX = 8_192  # as Python objects at a time
_PATIENCE = 16
"""Declined runs of one chunk after which the rest goes the next way. Finding the one bad record in 65,536 takes nine."""


def make_decoder(layout: Layout) -> Decoder:
    """The decoder that executes `layout`. Raises `Invalid` where a rule or a type cannot be executed."""
    check_rules(layout)
    if layout.schema == "raw":
        return RawDecoder(layout)
    return JsonDecoder(layout)


class JsonDecoder:
    """JSON messages. Safe to call from several threads at once.

    `columnar`, `one_by_one`: which ways may be taken; tests force either. Without `one_by_one`, `decode` raises `Declined`.
    """

    def __init__(self, layout: Layout, *, columnar: bool = True, one_by_one: bool = True) -> None:
        targets = Targets.of(layout)
        self._layout = layout
        self._targets = targets
        self._columnar = Columnar(layout, targets) if columnar else None
        self._one_by_one = OneByOne(layout, targets)
        self._may_fall_back = one_by_one

    def decode(self, chunk: RecordChunk) -> Decoded:
        """See `Decoder.decode`."""
        values = chunk.values
        live: Sequence[int] = range(len(values))
        without_bytes: list[Refusal] = []
        if not (values.all_filled() if isinstance(values, PackedBytes) else all(values)):
            live = [at for at, value in enumerate(values) if value]
            without_bytes = [_without_bytes(at, value) for at, value in enumerate(values) if not value]
        runs = list(self._runs(chunk, live))
        return _decoded(self._layout, chunk, runs, without_bytes)

    def _runs(self, chunk: RecordChunk, live: Sequence[int]) -> Iterator[Rows]:
        # A stack of what is left to do, next first: runs come out in the order of their records.
        left = list(reversed(list(_portions(chunk, live, _COLUMNAR_ROWS_MAX, _COLUMNAR_BYTES_MAX))))
        ways = self._ways()
        patience, least = (_PATIENCE, _COLUMNAR_ROWS_MIN) if self._may_fall_back else (1, 1)
        while left:
            indexes = left.pop()
            if not ways or len(indexes) < least:
                yield from self._slowly(chunk, indexes)
                continue
            try:
                yield self._quickly(ways[-1], chunk, indexes)
            except Declined as declined:
                if len(ways) == 1 and not self._may_fall_back:
                    raise
                patience -= 1
                if declined.hopeless or not patience:
                    ways.pop()
                    patience = _PATIENCE if self._may_fall_back else 1
                    left.append(indexes)
                else:
                    middle = len(indexes) // 2
                    left += [indexes[middle:], indexes[:middle]]

    def _ways(self) -> list[Columnar | Sieve]:
        """The ways that are quicker than one by one, the quickest last."""
        if self._columnar is None:
            return []
        sieves = self._layout.keeps_extra and self._targets.features is None
        return [*([Sieve(self._columnar, self._targets)] if sieves else []), self._columnar]

    def _quickly(self, way: Columnar | Sieve, chunk: RecordChunk, indexes: Sequence[int]) -> Rows:
        if len(indexes) == len(chunk):
            values, timestamps = chunk.values, chunk.timestamps
        elif indexes[-1] - indexes[0] == len(indexes) - 1:
            part = slice(indexes[0], indexes[-1] + 1)
            values, timestamps = chunk.values[part], chunk.timestamps[part]
        else:
            values, timestamps = picked(chunk.values, indexes), picked(chunk.timestamps, indexes)
        return way.decode(values, timestamps, indexes)  # type: ignore[arg-type]  # none of them is None

    def _slowly(self, chunk: RecordChunk, indexes: Sequence[int]) -> Iterator[Rows]:
        for start in range(0, len(indexes), _ONE_BY_ONE_ROWS_MAX):
            yield self._one_by_one.decode(chunk, indexes[start : start + _ONE_BY_ONE_ROWS_MAX])


class RawDecoder:
    """Values as they came. Only a tombstone is a dead letter."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def decode(self, chunk: RecordChunk) -> Decoded:
        """See `Decoder.decode`."""
        kept: Sequence[int] = range(len(chunk))
        tombstones: list[Refusal] = []
        values = chunk.values
        if not isinstance(values, PackedBytes) and None in values:
            kept = [at for at, value in enumerate(values) if value is not None]
            tombstones = [_without_bytes(at, value) for at, value in enumerate(values) if value is None]
            values = [values[at] for at in kept]
        column = values.arrow() if isinstance(values, PackedBytes) else pa.array(values, pa.binary())
        runs = [Rows((column,), kept, Unknown())]
        return _decoded(self._layout, chunk, runs, tombstones)


def _portions(chunk: RecordChunk, live: Sequence[int], rows_max: int, bytes_max: int) -> Iterator[Sequence[int]]:
    """`live` in portions of at most so many records, and as many bytes where one record alone has not more."""
    if len(live) <= rows_max and chunk.payload_bytes <= bytes_max:
        yield from [live] if live else []
        return
    start = size = 0
    for at, index in enumerate(live):
        length = len(chunk.values[index] or b"")
        if at - start == rows_max or (size + length > bytes_max and at > start):
            yield live[start:at]
            start, size = at, 0
        size += length
    if start < len(live):
        yield live[start:]


def _without_bytes(index: int, value: bytes | None) -> Refusal:
    if value is None:
        return Refusal(index, DeadLetterReason.TOMBSTONE, "the value is null")
    return Refusal(index, DeadLetterReason.EMPTY, "no bytes")


def _decoded(layout: Layout, chunk: RecordChunk, runs: Sequence[Rows], refusals: Sequence[Refusal]) -> Decoded:
    table, kept = table_of(layout, chunk, runs)
    table, broken = apply_rules(layout.rules, table, kept)
    refused = sorted([*refusals, *broken, *(r for run in runs for r in run.refusals)], key=lambda refusal: refusal.index)
    unknown = Unknown()
    for run in runs:
        unknown.add(run.unknown.names)
        unknown.dropped += run.unknown.dropped
    return Decoded(
        table=table,
        dead_letters=tuple(_dead_letter(chunk, refusal) for refusal in refused),
        unknown_fields=unknown.shown(),
        dropped_fields=unknown.dropped,
        slow_records=sum(run.slow for run in runs),
    )


def _dead_letter(chunk: RecordChunk, refusal: Refusal) -> DeadLetter:
    at = refusal.index
    headers = chunk.headers[at] if chunk.headers is not None else ()
    return DeadLetter(
        chunk.offsets[at], chunk.timestamps[at], chunk.keys[at], chunk.values[at], headers, refusal.reason, refusal.detail
    )
