"""Validation rules of a stream, over finished rows."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from streamer.decode.refusal import Refusal, excerpt
from streamer.errors import Invalid
from streamer.layout import Layout, Rule, arrow_type
from streamer.records import DeadLetterReason

_COMPARISONS = {
    ">": pc.greater,
    ">=": pc.greater_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    "==": pc.equal,
    "!=": pc.not_equal,
}


def check_rules(layout: Layout) -> None:
    """Raises `Invalid` where a rule names a column that is not there or holds no numbers."""
    for rule in layout.rules:
        column = layout.column(rule.column)
        if column is None:
            raise Invalid(
                f"rule {rule}: no column {rule.column!r}", hint=f"there are {', '.join(c.name for c in layout.columns)}"
            )
        type_ = arrow_type(column.type)
        if not (pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_decimal(type_)):
            raise Invalid(f"rule {rule}: {rule.column} holds no numbers", hint="rules compare numbers; remove it")


def apply_rules(rules: Sequence[Rule], table: pa.Table, kept: Sequence[int]) -> tuple[pa.Table, list[Refusal]]:
    """The rows that keep every rule, and for each other the first rule that it breaks. `kept` are the rows' indexes in the
    chunk. Values are compared as float64."""
    refusals: list[Refusal] = []
    for rule in rules:
        if not table.num_rows:
            break
        values = table.column(rule.column)
        holds = _COMPARISONS[rule.operator](values.cast(pa.float64(), safe=False), pa.scalar(float(rule.limit)))
        broken = pc.fill_null(pc.invert(holds), False)
        if not pc.any(broken).as_py():
            continue
        for at in pc.indices_nonzero(broken).to_pylist():
            detail = f"{rule} is false for {excerpt(str(values[at].as_py()))}"
            refusals.append(Refusal(kept[at], DeadLetterReason.RULE, detail[:200]))
        fine = pc.invert(broken)
        kept = [kept[at] for at in pc.indices_nonzero(fine).to_pylist()]
        table = table.filter(fine)
    return table.combine_chunks() if refusals else table, refusals
