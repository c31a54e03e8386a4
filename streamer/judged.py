"""Decoding with the layout's quality checks behind it: rows that break one become dead letters, or are flagged.

What comes out is as pure as what the decoder gives: a function of each record alone, so a range that is written again after a
crash comes out the same.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import replace
from heapq import merge

from streamer.decode.contract import Decoded, Decoder
from streamer.layout import Layout
from streamer.quality.verdicts import Checks, Refusal
from streamer.records import DeadLetter, DeadLetterReason, RecordChunk


class JudgingDecoder:
    """A decoder, and the checks over what it gives."""

    def __init__(self, decoder: Decoder, checks: Checks) -> None:
        self._decoder = decoder
        self._checks = checks

    def decode(self, chunk: RecordChunk) -> Decoded:
        """See `Decoder.decode`."""
        decoded = self._decoder.decode(chunk)
        verdicts = self._checks.of(decoded.table)
        refused = sorted((_dead_letter(chunk, each) for each in verdicts.refusals), key=_offset)
        letters = tuple(merge(decoded.dead_letters, refused, key=_offset)) if refused else decoded.dead_letters
        return replace(decoded, table=verdicts.table, dead_letters=letters)


def judged(make_decoder: Callable[[Layout], Decoder], layout: Layout) -> Decoder:
    """The decoder of `layout`, checks included. Raises `Invalid` as `make_decoder` does."""
    decoder = make_decoder(layout)
    return JudgingDecoder(decoder, Checks(layout)) if layout.checks else decoder


def _dead_letter(chunk: RecordChunk, refusal: Refusal) -> DeadLetter:
    at = bisect_left(chunk.offsets, refusal.offset)
    headers = chunk.headers[at] if chunk.headers is not None else ()
    return DeadLetter(
        refusal.offset,
        chunk.timestamps[at],
        chunk.keys[at],
        chunk.values[at],
        headers,
        DeadLetterReason.RULE,
        refusal.detail,
        refusal.rule,
    )


def _offset(letter: DeadLetter) -> int:
    return letter.offset
