"""The template of a partition path, taken apart and examined before the first record is read.

A template that this accepts is injective: rows that differ in one of its values differ in their path. It also cannot
leave the stream's folder, be hidden from SQL engines, or grow past what S3 and file systems take.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import pyarrow as pa

from streamer.errors import Invalid
from streamer.layout import TIMESTAMP, Column, arrow_type
from streamer.write.partition_value import ALPHABET, VALUE_BYTES_MAX

SEGMENT_BYTES_MAX = 254
PATH_BYTES_MAX = 500
"""`raw/`, a stream of 64, this, and a file name of 325 bytes (topic 249, two offsets of 20, ...) stay below 900."""

EXAMPLE = "symbol={symbol}/date={date}"
_DIRECTIVE_WIDTHS = {"Y": 4, "m": 2, "d": 2, "H": 2, "M": 2, "j": 3, "y": 2, "G": 4, "V": 2, "u": 1}
"""strftime's directives that are digits of a fixed width under every locale. No seconds: 86,400 files a day are a mistake."""

_NAMED_TIMES = {"date": "%Y-%m-%d", "hour": "%H"}
_TOKEN = re.compile(
    r"\{(?P<inner>[^{}]+)\}|%(?P<directive>[A-Za-z])|(?P<literal>[A-Za-z0-9._=+,@:!()/-]+)|(?P<wrong>.)", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Literal:
    """Text that is the same in every path."""

    text: str

    @property
    def bytes_max(self) -> int:
        return len(self.text)


@dataclass(frozen=True, slots=True)
class TimeField:
    """One strftime directive of the event time, such as `%Y`: digits, always as many."""

    directive: str

    @property
    def bytes_max(self) -> int:
        return _DIRECTIVE_WIDTHS[self.directive[1]]


@dataclass(frozen=True, slots=True)
class ColumnField:
    """The value of a column. `at_segment_start`: nothing stands before it in its segment."""

    column: str
    at_segment_start: bool

    @property
    def bytes_max(self) -> int:
        return VALUE_BYTES_MAX


Piece = Literal | TimeField | ColumnField


def parse_template(template: str, columns: Sequence[Column]) -> tuple[Piece, ...]:
    """The pieces of `template`, in order; none if it is empty. Raises `Invalid` with the reason, a hint and an example."""
    pieces = tuple(_pieces(template, template, columns))
    segments = _segments(pieces) if template else []
    for segment in segments:
        _check_segment(template, segment)
    if sum(piece.bytes_max for piece in pieces) > PATH_BYTES_MAX:
        raise _invalid(template, f"can become longer than {PATH_BYTES_MAX} bytes", "use fewer columns in it")
    return pieces


def _invalid(template: str, reason: str, hint: str) -> Invalid:
    return Invalid(f"path template {template!r} {reason}", hint=f"{hint}; for example path = {EXAMPLE!r}")


def _pieces(text: str, template: str, columns: Sequence[Column]) -> Iterator[Piece]:
    before = ""
    for match in _TOKEN.finditer(text):
        inner, directive, literal = match["inner"], match["directive"], match["literal"]
        if literal is not None:
            yield Literal(literal)
        elif directive is not None:
            if directive not in _DIRECTIVE_WIDTHS:
                known = " ".join(f"%{name}" for name in _DIRECTIVE_WIDTHS)
                raise _invalid(template, f"has %{directive}, which is not among {known}", "use {date}, {hour} or one of these")
            yield TimeField(f"%{directive}")
        elif inner is not None and (inner in _NAMED_TIMES or inner.startswith("%")):
            yield from _pieces(_NAMED_TIMES.get(inner, inner), template, columns)
        elif inner is not None:
            _check_column(template, inner, columns)
            yield ColumnField(inner, at_segment_start=not before or before.endswith("/"))
        else:
            raise _invalid(
                template,
                f"has {match['wrong']!r}, which cannot stand there",
                "outside of {column}, {date}, {hour} and %Y %m %d %H use letters, digits and . _ - = + , @ : ! ( ) /",
            )
        before = match[0]


def _check_column(template: str, name: str, columns: Sequence[Column]) -> None:
    column = next((c for c in columns if c.name == name), None)
    if column is None:
        known = ", ".join([*(c.name for c in columns if _fits_a_path(c)), "date", "hour"])
        raise _invalid(
            template, f"names {name!r}, which is no column of this stream", f"use one of {known}, or declare the column"
        )
    if not _fits_a_path(column):
        hint = (
            "use {date}, {hour} or %Y %m %d %H" if name == TIMESTAMP else "use a column of strings, integers, booleans or dates"
        )
        raise _invalid(template, f"names {name!r}, whose type {column.type} does not make folders", hint)


def _fits_a_path(column: Column) -> bool:
    kind, is_ = arrow_type(column.type), pa.types
    return bool(is_.is_string(kind) or is_.is_integer(kind) or is_.is_boolean(kind) or is_.is_date(kind))


def _segments(pieces: Sequence[Piece]) -> list[list[Piece]]:
    segments: list[list[Piece]] = [[]]
    for piece in pieces:
        if not isinstance(piece, Literal):
            segments[-1].append(piece)
            continue
        for number, text in enumerate(piece.text.split("/")):
            if number:
                segments.append([])
            if text:
                segments[-1].append(Literal(text))
    return segments


def _check_segment(template: str, segment: Sequence[Piece]) -> None:
    if not segment:
        raise _invalid(template, "has an empty segment", "write it without a leading, trailing or doubled /")
    first = segment[0]
    if isinstance(first, Literal) and first.text[0] in "._":
        raise _invalid(
            template, f"has a segment that starts with {first.text[0]!r}", "SQL engines hide such folders: rename it"
        )
    if sum(piece.bytes_max for piece in segment) > SEGMENT_BYTES_MAX:
        reason = f"has a segment that can become longer than {SEGMENT_BYTES_MAX} bytes (a value up to {VALUE_BYTES_MAX})"
        raise _invalid(template, reason, "put a / between the columns")
    for inseparable, run in groupby(_characters(segment), key=lambda part: isinstance(part, ColumnField) or part in ALPHABET):
        # Fixed texts and times can be told from one value beside them by their width alone, never from two.
        values = [part.column for part in run if isinstance(part, ColumnField)] if inseparable else []
        if len(values) > 1:
            named = " and ".join(f"{{{name}}}" for name in values)
            hint = "put a / between them, or one of = + , @ : ! ( ), which no encoded value contains"
            raise _invalid(template, f"does not tell where one of {named} ends and the next begins", hint)


def _characters(segment: Sequence[Piece]) -> Iterator[str | ColumnField]:
    for piece in segment:
        if isinstance(piece, Literal):
            yield from piece.text
        elif isinstance(piece, ColumnField):
            yield piece
        else:
            yield "0"  # a digit stands for the digits of a time
