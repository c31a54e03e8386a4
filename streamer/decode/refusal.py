"""Why one record cannot become a row, while it is being found out."""

from __future__ import annotations

from dataclasses import dataclass

from streamer.records import DeadLetterReason

DETAIL_MAX = 200
_EXCERPT_MAX = 60


class Refused(Exception):
    """This record becomes a dead letter. Raised and caught inside this room. `place`: of what is wrong within its field."""

    def __init__(self, reason: DeadLetterReason, detail: str, place: str = "") -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail[:DETAIL_MAX]
        self.place = place


@dataclass(frozen=True, slots=True)
class Refusal:
    """The record at `index` of the chunk becomes a dead letter."""

    index: int
    reason: DeadLetterReason
    detail: str


def excerpt(text: bytes | str) -> str:
    """The beginning of a value, for a detail."""
    shown = text[: _EXCERPT_MAX * 4].decode("utf-8", "replace") if isinstance(text, bytes) else text
    return shown if len(shown) <= _EXCERPT_MAX else shown[:_EXCERPT_MAX] + "…"
