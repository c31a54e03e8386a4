"""From sample messages to the columns to declare: types that every sampled value converts to exactly. Pure.

Careful rather than clever: where the values of a field disagree, the answer is the wider type, and text in the end. A field
that cannot be a column (nested, of mixed kinds) stays in `extra`, and the reader is told so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from streamer.layout import EXTRA, LEVELS, Column

_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")
_INTEGER = re.compile(r"-?(?:0|[1-9]\d*)")
_ISO = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(?::\d{2}(?:[.,](\d+))?)?(?:Z|[+-]\d{2}:?\d{2})?")
_TIME_NAME = re.compile(r"(?:^|_)(?:ts|time|timestamp|date|at)$|(?:Time|Timestamp|At|Ts)$|^[TE]$")
_LEVELS_NAME = re.compile(r"(?:^|_)(?:bids?|asks?|buys|sells)$|^[ab]$")
_ID_NAME = re.compile(r"(?:^|_)id$|(?:Id|ID)$")
_SAFE = re.compile(r"[^A-Za-z0-9_]+")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
EXAMPLES = 3
FIELDS_MAX = 500


@dataclass(slots=True)
class _Seen:
    """The values of one field."""

    kinds: set[str] = field(default_factory=set)
    present: int = 0
    nulls: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, value: Any) -> None:
        self.present += 1
        if value is None:
            self.nulls += 1
            return
        self.kinds.add(_kind(value))
        text = json.dumps(value, default=str, ensure_ascii=False)[:40]
        if len(self.examples) < EXAMPLES and text not in self.examples:
            self.examples.append(text)


@dataclass(frozen=True, slots=True)
class InferredColumn:
    """What one field of the messages is.

    `type` is None where it cannot be a column. `covered_by` is the column that takes it already. `name` is what to call it:
    the field's own name unless that is taken ignoring case, or no name for a column; then the field is its alias.
    `null_share` counts records in which it is null or absent.
    """

    field: str
    name: str
    type: str | None
    null_share: float
    examples: tuple[str, ...]
    covered_by: str | None = None
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Inference:
    """What a sample says: the fields in the order of their first appearance, and how many values were no JSON object."""

    columns: tuple[InferredColumn, ...]
    records: int
    not_objects: int

    @property
    def to_declare(self) -> tuple[InferredColumn, ...]:
        """Those that a configuration should name."""
        return tuple(column for column in self.columns if column.type is not None and column.covered_by is None)


def infer(values: Iterable[bytes | None], columns: Sequence[Column]) -> Inference:
    """Look at message values, and at the columns that the stream has already (none for an unknown stream)."""
    seen: dict[str, _Seen] = {}
    records = not_objects = 0
    for value in values:
        try:
            body = json.loads(value or b"", parse_float=Decimal)
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            not_objects += 1
            continue
        records += 1
        for name, item in body.items():
            if name in seen or len(seen) < FIELDS_MAX:
                seen.setdefault(name, _Seen()).add(item)
    covering = _covering(columns, seen)
    taken = {column.name.lower() for column in columns} | {EXTRA}
    asked = {name.lower() for name in seen}  # nobody's new name may be the name of another field: that one would be its alias
    return Inference(
        tuple(_column(name, each, records, covering, taken, asked) for name, each in seen.items()), records, not_objects
    )


def _covering(columns: Sequence[Column], seen: dict[str, _Seen]) -> dict[str, str]:
    """Field to column: each column takes the first of its names that a message has."""
    return {name: column.name for column in columns for name in (column.name, *column.aliases) if name in seen}


def _column(name: str, seen: _Seen, records: int, covering: dict[str, str], taken: set[str], asked: set[str]) -> InferredColumn:
    null_share = 1 - (seen.present - seen.nulls) / records if records else 1.0
    examples = tuple(seen.examples)
    if name in covering:
        return InferredColumn(name, covering[name], None, null_share, examples, covering[name])
    type_, remark = _type(name, seen) if _is_text(name) else (None, "its name is no text that TOML can hold")
    column = _free_name(name, taken, asked) if type_ is not None else name
    taken.add(column.lower())
    return InferredColumn(name, column, type_, null_share, examples, None, remark)


def _is_text(name: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in name)


def _free_name(name: str, taken: set[str], asked: set[str]) -> str:
    plain = _SAFE.sub("_", name).strip("_") or "column"
    number, found = 2, plain
    while found.lower() in taken or (found != name and found.lower() in asked):
        found, number = f"{plain}_{number}", number + 1
    return found


def _kind(value: Any) -> str:
    """The narrowest word for one value."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int" if -(2**53) <= value <= 2**53 else "long" if -(2**63) <= value < 2**63 else "huge"
    if isinstance(value, Decimal):
        return "float"
    if isinstance(value, str):
        return _text_kind(value)
    if isinstance(value, list):
        inner = {_kind(item) for item in value}
        if inner <= {"int", "float"}:
            return "numbers" if inner else "empty list"
        if all(isinstance(item, list) and len(item) == 2 and {_kind(each) for each in item} <= _NUMBERS for item in value):
            return "levels"
        return "texts" if all(isinstance(item, str) for item in value) else "nested"
    return "map" if value and {_kind(item) for item in value.values()} <= {"int", "float"} else "nested"


_NUMBERS = frozenset({"int", "float", "text int", "text float"})


def _text_kind(text: str) -> str:
    if _INTEGER.fullmatch(text) and len(text) <= 15:
        return "text int"
    if _NUMBER.fullmatch(text) and text.isascii():
        # 15 digits go through a float64 and come back the same; more would not.
        return "text float" if len(Decimal(text).as_tuple().digits) <= 15 else "text decimal"
    if match := _ISO.fullmatch(text):
        return "text ns" if len(match[1] or "") > 6 else "text us" if _is_time(text) else "text"
    return "text"


def _is_time(text: str) -> bool:
    try:
        return 1970 <= datetime.fromisoformat(text.replace(",", ".")).year < 2262
    except ValueError:
        return False


def _type(name: str, seen: _Seen) -> tuple[str | None, str]:
    kinds = seen.kinds
    if not kinds:
        return None, "always null in the sample"
    if "levels" in kinds and kinds <= {"levels", "empty list"} and _LEVELS_NAME.search(name):
        return LEVELS, 'one side of an order book; schema = "orderbook" has both'
    if "levels" in kinds:
        kinds = kinds - {"levels"} | {"nested"}
    if (kinds <= {"nested", "map", "empty list"} and "map" not in kinds) or "nested" in kinds:
        return None, "nested: it stays in `extra`, as JSON text"
    if kinds == {"bool"}:
        return "bool", ""
    if kinds <= {"text us", "text ns"}:
        return ("timestamp[ns, UTC]" if "text ns" in kinds else "timestamp[us, UTC]"), ""
    if kinds == {"map"}:
        return "map<string, float64>", ""
    if kinds <= {"numbers", "empty list"}:
        return "list<float64>", ""
    if kinds <= {"texts", "empty list"}:
        return "list<string>", ""
    return _scalar_type(name, kinds, seen)


def _scalar_type(name: str, kinds: set[str], seen: _Seen) -> tuple[str | None, str]:
    integers, texts = {"int", "long"}, {"text int", "text float", "text decimal"}
    if _ID_NAME.search(name) and kinds <= {*integers, "huge", "text int", "text"}:
        return "string", "an identifier: its exact text is kept"
    if kinds <= integers:
        if _TIME_NAME.search(name) and all(len(example) >= 9 for example in seen.examples):
            return "timestamp[us, UTC]", "taken for an epoch time by its name"
        return "int64", ""
    if kinds <= {*integers, "text int"}:
        return "int64", "integers written as JSON strings"
    if kinds <= {"int", "float", "text int", "text float"}:
        return "float64", "decimal128(38,18) keeps every digit" if kinds & {"text int", "text float"} else ""
    if kinds <= {*integers, "huge", "float", *texts}:
        return "decimal128(38,18)", "more digits than a float64 keeps"
    if all(kind.startswith("text") for kind in kinds):
        return "string", ""
    return None, f"values of several kinds ({', '.join(sorted(kinds))}): they stay in `extra`"


def toml(inference: Inference, stream: str) -> str:
    """The lines to put into the configuration; empty where nothing is to be declared."""
    wanted = inference.to_declare
    if not wanted:
        return ""
    lines = [f"[streams.{stream}.columns]"]
    lines += [f"{_key(column.name)} = {json.dumps(column.type)}{_comment(column)}" for column in wanted]
    renamed = [column for column in wanted if column.name != column.field]
    if renamed:
        lines += ["", f"[streams.{stream}.aliases]"]
        lines += [f"{_key(column.name)} = [{_quoted(column.field)}]" for column in renamed]
    return "\n".join(lines) + "\n"


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else _quoted(name)


def _quoted(text: str) -> str:
    """A TOML string. Not JSON's: TOML has no pairs of surrogates, and wants DEL escaped."""
    safe = (c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08x}" for c in text)
    return f'"{"".join(safe)}"'


def _comment(column: InferredColumn) -> str:
    parts = [", ".join(column.examples[:2]), column.remark]
    if column.null_share:
        parts.append(f"{column.null_share:.0%} null")
    text = "; ".join(part for part in parts if part)
    return f"  # {''.join(c if c.isprintable() else '?' for c in text)}" if text else ""
