"""Record by record: slower, accepts everything that can be accepted, and says what is wrong with the rest.

This is the definition; `columnar.py` may only be quicker.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pyarrow as pa

from streamer.decode.fields import Target, Targets, Unknown, object_text
from streamer.decode.levels import Side, sides_array, to_side
from streamer.decode.refusal import Refusal, Refused, excerpt
from streamer.decode.rows import Rows
from streamer.decode.times import NANOSECONDS_MAX
from streamer.decode.values import NULL, OBJECT, Convert, converter, is_number, members, to_array, to_float
from streamer.layout import Layout, is_levels
from streamer.records import DeadLetterReason, RecordChunk
from streamer.schemas import FEATURES_PER_ROW_MAX

DEPTH_MAX = 128
"""Deeper nesting is invalid: parsers give up somewhere, and where must not depend on the stack that is left."""

_BLANKS = b" \t\r\n"
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_NOT_MARKS = bytes(byte for byte in range(256) if byte not in b'[]{}"\\')

_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_document = msgspec.json.Decoder(msgspec.Raw).decode


def parse_object(value: bytes) -> dict[str, msgspec.Raw]:
    """The fields of a message with their exact text. Raises `Refused` where it is no single valid JSON object."""
    try:
        if not value.isascii():
            value.decode()
        if value.count(b"[") + value.count(b"{") > DEPTH_MAX and not _is_shallow(value) and _depth_exceeds(value, DEPTH_MAX):
            raise Refused(DeadLetterReason.INVALID_JSON, f"nested deeper than {DEPTH_MAX}")
        return _object(value)
    except UnicodeDecodeError as error:
        raise Refused(DeadLetterReason.INVALID_UTF8, f"byte {error.start}: {error.reason}") from None
    except msgspec.DecodeError:
        raise _no_object(value) from None


def _no_object(value: bytes) -> Refused:
    """Why this text, which is UTF-8, is not one JSON object."""
    text = value.strip(_BLANKS)
    if not text:
        return Refused(DeadLetterReason.EMPTY, "white space only" if value else "no bytes")
    try:
        _document(value)
    except msgspec.DecodeError as error:
        return Refused(DeadLetterReason.INVALID_JSON, str(error))
    return Refused(DeadLetterReason.NOT_AN_OBJECT, f"{excerpt(text)} is no object")


def _is_shallow(value: bytes) -> bool:
    """Whether this is surely nested no deeper than a dozen levels, as an order book of a thousand of them is. Quick."""
    marks = value.translate(None, _NOT_MARKS).replace(b'""', b"")
    if b'"' in marks or b"\\" in marks:
        return False  # a string with an escape or a bracket in it
    for _ in range(6):  # each turn takes away one level of nesting, or two
        marks = marks.replace(b"[]", b"").replace(b"{}", b"")
    return not marks


def _depth_exceeds(value: bytes, most: int) -> bool:
    depth = 0
    for byte in _STRING.sub(b"", value).translate(None, _NOT_BRACKETS):
        depth += 1 if byte in b"[{" else -1
        if depth > most:
            return True
    return False


class OneByOne:
    """Decodes the records of one layout, one at a time. Holds no state between calls."""

    def __init__(self, layout: Layout, targets: Targets) -> None:
        self._targets = targets
        self._keeps_extra = layout.keeps_extra
        self._columns: list[tuple[Target, Convert]] = [
            (target, to_side(target.type) if is_levels(target.type) else converter(target.type)) for target in targets.columns
        ]
        self._row: Callable[[dict[str, Any], int, Unknown], list[Any]] = self._plain_row
        if targets.features is not None:
            self._row = self._feature_row

    def decode(self, chunk: RecordChunk, indexes: Sequence[int]) -> Rows:
        """What becomes of the records at `indexes` of the chunk."""
        unknown, refusals, kept, rows = Unknown(), [], [], []
        for index in indexes:
            value = chunk.values[index]
            try:
                if value is None:
                    raise Refused(DeadLetterReason.TOMBSTONE, "the value is null")
                rows.append(self._row(parse_object(value), chunk.timestamps[index], unknown))
                kept.append(index)
            except Refused as refused:
                refusals.append(Refusal(index, refused.reason, refused.detail))
        types = self._targets.types
        values = list(zip(*rows, strict=True)) if rows else [()] * (len(types) + 1)
        columns = [(sides_array if is_levels(type_) else to_array)(values[at], type_) for at, type_ in enumerate(types)]
        if self._keeps_extra:
            columns.append(to_array(values[len(types)], pa.string()))
        return Rows(tuple(columns), kept, unknown, tuple(refusals), slow=len(indexes))

    def _plain_row(self, fields: dict[str, Any], kafka_time: int, unknown: Unknown) -> list[Any]:
        row = self._filled_row(fields, {}, kafka_time)
        if fields:
            rest = self._left(fields)
            row[-1] = self._extra(rest, rest, unknown)
        return row

    def _feature_row(self, fields: dict[str, Any], kafka_time: int, unknown: Unknown) -> list[Any]:
        target = self._targets.features
        assert target is not None
        at = next((name for name in target.names if _present(fields, name)), None)
        nested = None if at is None else _nested(at, bytes(fields[at]))
        row = self._filled_row(fields, nested or {}, kafka_time)
        rest = self._left(fields)
        if at is None or nested is None:
            features, others = self._divide(rest)
            extra = others
        else:
            features, inside = self._divide(self._left(nested))
            extra = {name: object_text(inside).encode() if name == at else text for name, text in rest.items()}
            if not inside:
                del extra[at]
            del rest[at]
            others = {**rest, **{f"{at}.{name}": text for name, text in inside.items()}}
        row[target.place] = features
        if others:
            row[-1] = self._extra(extra, others, unknown)
        return row

    def _filled_row(self, fields: dict[str, Any], nested: dict[str, Any], kafka_time: int) -> list[Any]:
        """A row with every declared column. What the columns take is removed from the fields; of levels the rest stays."""
        row: list[Any] = [None] * (len(self._targets.types) + 1)
        name = ""
        try:
            for target, convert in self._columns:
                for name in target.names:
                    raw = fields.get(name)
                    if raw is not None and (text := bytes(raw)) != NULL:
                        row[target.place] = value = convert(text)
                        if type(value) is Side and value.rest is not None:
                            fields[name] = value.rest  # at its place among the fields
                        else:
                            del fields[name]
                        break
                else:
                    at = next((name for name in target.names if _present(nested, name)), None)
                    name = at or target.name
                    if at is not None:
                        row[target.place] = value = convert(bytes(nested[at]))
                        if type(value) is Side and value.rest is not None:
                            nested[at] = value.rest
                        else:
                            del nested[at]
                    elif target.required:
                        row[target.place] = _fallback(target, kafka_time)
        except Refused as refused:
            raise Refused(refused.reason, f"{excerpt(name)}{refused.place}: {refused.detail}") from None
        return row

    def _left(self, fields: dict[str, Any]) -> dict[str, bytes]:
        """The fields that no column took, without the null ones that some column names."""
        left = {name: bytes(raw) for name, raw in fields.items()}
        if self._targets.known.isdisjoint(left):
            return left
        return {name: text for name, text in left.items() if text != NULL or name not in self._targets.known}

    def _divide(self, fields: dict[str, bytes]) -> tuple[dict[str, float], dict[str, bytes]]:
        """Features, their names ascending, and what is none. A field that a column names, but did not take, is none."""
        features: dict[str, float] = {}
        others: dict[str, bytes] = {}
        known = self._targets.known
        name = ""
        try:
            for name, text in fields.items():
                if name in known or not is_number(text):
                    if text != NULL or name in known:
                        others[name] = text
                else:
                    features[name] = to_float(text)
        except Refused as refused:
            raise Refused(refused.reason, f"{excerpt(name)}: {refused.detail}") from None
        if len(features) > FEATURES_PER_ROW_MAX:
            raise Refused(DeadLetterReason.TOO_MANY_FEATURES, f"{len(features)} features, more than {FEATURES_PER_ROW_MAX}")
        return dict(sorted(features.items())), others

    def _extra(self, extra: dict[str, bytes], others: dict[str, bytes], unknown: Unknown) -> str | None:
        """The text of `extra` where it is kept; `others` are the same fields as they are counted."""
        if self._keeps_extra:
            unknown.add(others)
            return object_text(extra) if extra else None
        dropped = [name for name, text in others.items() if text != NULL]
        unknown.add(dropped)
        unknown.dropped += len(dropped)
        return None


def _present(fields: dict[str, Any], name: str) -> bool:
    return name in fields and bytes(fields[name]) != NULL


def _nested(name: str, text: bytes) -> dict[str, bytes]:
    if text[0] != OBJECT:
        raise Refused(DeadLetterReason.WRONG_TYPE, f"{excerpt(name)}: {excerpt(text)} is not an object")
    return members(text)


def _fallback(target: Target, kafka_time: int) -> int:
    """What a required column holds where the message has nothing for it."""
    if not target.falls_back or kafka_time < 0:
        raise Refused(DeadLetterReason.MISSING_FIELD, "the message has no such field, or null")
    nanoseconds = kafka_time * 1_000_000
    if nanoseconds > NANOSECONDS_MAX:
        raise Refused(DeadLetterReason.BAD_TIMESTAMP, f"Kafka's timestamp {kafka_time} is not a time from 1970 to 2262")
    return nanoseconds // 1000 if target.type.unit == "us" else nanoseconds
