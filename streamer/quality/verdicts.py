"""The checks of a layout over decoded rows: which rows stay, with which flags, and which become dead letters and why."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from streamer.layout import FLAGS, Check, Layout
from streamer.quality.checks import broken, shown, told, whole

DETAIL_MAX = 200


@dataclass(frozen=True, slots=True)
class Refusal:
    """The row of the record at `offset` must become a dead letter. `detail` begins with the rule's name."""

    offset: int
    rule: str
    detail: str


@dataclass(frozen=True, slots=True)
class Verdicts:
    """`table`: the rows that stay, flagged. `refusals`: of the others the first check that each breaks, by check."""

    table: pa.Table
    refusals: tuple[Refusal, ...] = ()


class Checks:
    """Executes the checks of one layout. Safe to call from several threads."""

    def __init__(self, layout: Layout) -> None:
        self._refusing = [check for check in layout.checks if check.on_violation == "dead-letter"]
        self._flagging = [check for check in layout.checks if check.on_violation == "flag"]

    def of(self, table: pa.Table) -> Verdicts:
        """What the checks say of rows in the columns of `Layout.decoded_schema`. Dead letters are found first, so that no flag
        is about a row that is not there."""
        refusals: list[Refusal] = []
        for check in self._refusing:
            mask = broken(check, table)
            if not pc.any(mask).as_py():
                continue
            refusals += _refusals(check, table.filter(mask))
            table = table.filter(pc.invert(mask))
        if refusals:
            table = table.combine_chunks()
        if self._flagging and table.num_rows:
            table = self._flagged(table)
        return Verdicts(table, tuple(refusals))

    def _flagged(self, table: pa.Table) -> pa.Table:
        flags: pa.Array | None = None
        for check in self._flagging:
            mask = broken(check, table)
            if not pc.any(mask).as_py():
                continue
            names = pc.if_else(whole(mask), check.name, pa.scalar(None, pa.string()))
            flags = names if flags is None else _joined(flags, names)
        if flags is None:
            return table  # the column is there already, all null
        return table.set_column(table.schema.get_field_index(FLAGS), table.schema.field(FLAGS), flags)


def _joined(some: pa.Array, more: pa.Array) -> pa.Array:
    """Two columns of names as one: both with a comma, or the one that is there."""
    return pc.coalesce(pc.binary_join_element_wise(some, more, ","), some, more)


def _refusals(check: Check, rows: pa.Table) -> list[Refusal]:
    return [Refusal(row["_offset"], check.name, f"{check.name}: {told(check, row)}"[:DETAIL_MAX]) for row in shown(rows, check)]
