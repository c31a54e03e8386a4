"""The quality rules of a stream. Values only; the configuration makes them, and the room `quality/` says what they mean."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from streamer.layout import TIMESTAMP, Check

SequenceKind = Literal["monotonic", "jump", "sequence", "silent"]


@dataclass(frozen=True, slots=True)
class Sequence:
    """A quality rule that looks at rows in their order. `by`: the columns whose values part rows into groups. `limit`: percent
    for `jump`, seconds for `silent`."""

    name: str
    kind: SequenceKind
    column: str
    by: tuple[str, ...] = ("symbol",)
    limit: float = 0.0

    @property
    def columns(self) -> tuple[str, ...]:
        return (*self.by, self.column)

    def of_a_day(self, source: str) -> Sequence:
        """The rule for rows in the order of their event time, as the archive has them. What steps back there is the offset,
        within one source; a silence is one of event times."""
        if self.kind == "monotonic":
            return replace(self, column="_offset", by=(*self.by, source))
        return replace(self, column=TIMESTAMP) if self.kind == "silent" else self


@dataclass(frozen=True, slots=True)
class QualityRules:
    """All rules of a stream. Those of `checks` that do more than count are in its layout as well."""

    checks: tuple[Check, ...] = ()
    sequences: tuple[Sequence, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.checks or self.sequences)

    def __iter__(self) -> Iterator[Check | Sequence]:
        yield from self.checks
        yield from self.sequences

    def of_a_day(self, source: str) -> QualityRules:
        """The same rules for rows in the order of their event time. source: the column that tells partitions apart."""
        return QualityRules(self.checks, tuple(rule.of_a_day(source) for rule in self.sequences))


NO_RULES = QualityRules()
