"""What the data of one kind of documents must be, before it is kept: fields with their types, and rules about them. Pure.

Types, conversions and rules are those of streams (`decode/values.py`, `decode/rules.py`, `quality/checks.py`): what could not
be a row there, or would become a dead letter, is refused here. The data stays as it was given; nothing is converted.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from streamer.decode.refusal import Refused
from streamer.decode.rules import apply_rules, check_rules
from streamer.decode.values import NULL, converter, to_array
from streamer.errors import Invalid
from streamer.layout import Check, Column, Layout, Rule, arrow_type
from streamer.quality.checks import broken, problem, shown, told

_HINT = "correct the data; `streamer documents kinds` shows the fields and rules of the configuration"
_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_objects = msgspec.json.Decoder(list[dict[str, msgspec.Raw]]).decode


@dataclass(frozen=True)
class DocumentSchema:
    """columns: the fields that have a type. rules: short ones, `price > 0`. checks: those with a name, about one record each.

    Raises `Invalid` where a type is unknown, or a rule cannot be applied to these fields.
    """

    columns: tuple[Column, ...]
    rules: tuple[Rule, ...] = ()
    checks: tuple[Check, ...] = ()

    def __post_init__(self) -> None:
        schema = pa.schema([pa.field(column.name, arrow_type(column.type)) for column in self.columns])
        if not self.columns:
            raise Invalid("rules need fields with types", hint='declare them under schema: {"price": "float64"}')
        known = ", ".join(schema.names)
        check_rules(self._as_layout)
        for check in self.checks:
            if why := problem(check, schema):
                raise Invalid(f"quality.{check.name}: {why}", hint=f"the fields are {known}; declare others under schema")

    @cached_property
    def _as_layout(self) -> Layout:
        return Layout("documents", "raw", self.columns, "", rules=self.rules)

    def judge(self, body: bytes) -> None:
        """body: JSON, an object or a list of objects, each of which is judged. Fields of no column are nobody's business, and
        a null passes all but `required`. Raises `Invalid` with the first field that is wrong, the rule, the value and its row.
        """
        many = body[:1] == b"["
        try:
            rows = _objects(body) if many else [_object(body)]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise Invalid("the data is neither an object nor a list of objects", hint=_HINT) from None
        table = pa.table({column.name: self._column(column, rows, many) for column in self.columns})
        for check in self.checks:
            mask = broken(check, table)
            if pc.any(mask).as_py():
                at = pc.indices_nonzero(mask).to_pylist()
                (row,) = shown(table.slice(at[0], 1), check)
                field = next((name for name in check.columns if row[name] is None), check.columns[0])
                raise _refused(f"{check.name}: {told(check, row)}", field, check.name, at[0] if many else None, len(at))
        for rule in self.rules:
            _, refusals = apply_rules([rule], table, range(table.num_rows))
            if refusals:
                first = refusals[0]
                raise _refused(first.detail, rule.column, str(rule), first.index if many else None, len(refusals))

    def _column(self, column: Column, rows: list[dict[str, Any]], many: bool) -> pa.Array:
        kind = arrow_type(column.type)
        convert, values = converter(kind), []
        for at, row in enumerate(rows):
            text = bytes(row.get(column.name, NULL))
            try:
                values.append(None if text == NULL else convert(text))
            except Refused as refused:
                raise _refused(f"{column.name}: {refused.detail}", column.name, column.type, at if many else None, 1) from None
        return to_array(values, kind)


def _refused(message: str, field: str, rule: str, row: int | None, rows: int) -> Invalid:
    return Invalid(message, hint=_HINT, field=field, rule=rule, row=row, rows=rows if rows > 1 else None)
