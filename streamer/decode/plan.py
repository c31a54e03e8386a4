"""How a run of records will be read in columns, drawn up from a few sample messages.

A plan is a guess about form only: what does not fit it fails to parse, and is decoded one by one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from streamer.decode.fields import Target, Targets
from streamer.decode.one_by_one import parse_object
from streamer.decode.readings import FLOAT64, Declined, Reading, default_reading, reading_of, wider
from streamer.decode.refusal import Refused
from streamer.decode.values import ARRAY, NULL, OBJECT, QUOTE, members

_OTHER_TYPES = {QUOTE: pa.string(), ord("t"): pa.bool_(), ord("f"): pa.bool_()}


@dataclass(slots=True)
class Level:
    """The fields of the messages themselves, or of their object of features."""

    known: dict[str, Reading] = field(default_factory=dict)  # fields that a column names
    features: dict[str, Reading] = field(default_factory=dict)
    others: dict[str, Reading] = field(default_factory=dict)  # unknown fields that are dropped

    nulls: set[str] = field(default_factory=set)  # those that no sample so far says more about than null or []

    def readings(self) -> dict[str, Reading]:
        return {**self.known, **self.features, **self.others}

    def drops(self) -> list[str]:
        """The fields of columns that have more in them than their columns take."""
        return [name for name, reading in self.known.items() if reading.drops]

    def add(self, readings: dict[str, Reading], name: str, text: bytes, type_: pa.DataType) -> bool:
        """Plan to read `name` as `type_`, in a way that does for this sample too; False where there is none."""
        planned = None if name in self.nulls else readings.get(name)
        if text == NULL or (pa.types.is_list(type_) and _is_empty(text)):
            reading = planned or default_reading(type_)
            if planned is None:
                self.nulls.add(name)
        else:
            reading = reading_of(text, type_)
            if reading is not None and planned is not None:
                reading = wider(planned, reading)
            self.nulls.discard(name)
        if reading is None:
            return False
        readings[name] = reading
        return True


@dataclass(slots=True)
class Plan:
    """`nested` is the name of the field that holds the features; None: there is none, or they lie flat in the message."""

    top: Level
    inner: Level
    nested: str | None

    @property
    def schema(self) -> pa.Schema:
        """The explicit schema for pyarrow's reader. Fields that are not in it fail the run."""
        fields = [(name, reading.json_type) for name, reading in self.top.readings().items()]
        if self.nested is not None:
            inside = [(name, reading.json_type) for name, reading in self.inner.readings().items()]
            fields.append((self.nested, pa.struct(inside)))
        return pa.schema(fields)

    def suits(self, blob: bytes | bytearray) -> bool:
        """Whether pyarrow's decimals, which wrap around silently, can hold every number in the fields that are read as such."""
        limits = {
            name: reading.digits_max
            for level in (self.top, self.inner)
            for name, reading in level.readings().items()
            if reading.digits_max is not None
        }
        if limits and b"\\" in blob:  # a name may be spelt with escapes: any number will do
            return _too_large(rb"[:,\[]", min(limits.values())).search(blob) is None
        return all(
            _too_large(b'"%s"\\s*:' % re.escape(name.encode()), most).search(blob) is None for name, most in limits.items()
        )


def _too_large(before: bytes, digits_max: int) -> re.Pattern[bytes]:
    """A number with more digits before its point, or with an exponent."""
    return re.compile(rb"%s\s*-?(?:[0-9]{%d}|[0-9]+(?:\.[0-9]*)?[eE])" % (before, digits_max + 1))


class Planner:
    """Draws up plans for one layout."""

    def __init__(self, targets: Targets, *, keeps_extra: bool) -> None:
        self._targets = targets
        self._keeps_extra = keeps_extra
        self._types = {name: target.type for target in targets.columns for name in target.names}

    def plan(self, samples: Sequence[bytes]) -> Plan:
        """Raises `Declined` where no plan would do for these messages."""
        seen: list[tuple[dict[str, bytes], str | None, dict[str, bytes]]] = []
        for value in samples:
            try:
                fields = {name: bytes(raw) for name, raw in parse_object(value).items()}
                seen.append(self._divided(fields))
            except Refused:
                continue
        if not seen:
            raise Declined("no sample is an object")
        nested = {name for _, name, _ in seen}
        if len(nested) > 1:
            raise Declined("features lie in different places")
        plan = Plan(Level(), Level(), nested.pop())
        unplanned = 0
        for fields, _, inside in seen:
            unplanned += not (
                self._add(plan.top, fields, flat=plan.nested is None) and self._add(plan.inner, inside, flat=True)
            )
        if unplanned:
            raise Declined("fields that no column names", hopeless=unplanned == len(seen))
        if any(self._lacks(plan, target) for target in self._targets.columns):
            raise Declined("no sample has what is required", hopeless=True)
        if not plan.top.readings():
            raise Declined("messages without fields")
        return plan

    def _lacks(self, plan: Plan, target: Target) -> bool:
        known = {*plan.top.known, *plan.inner.known}
        return target.required and not target.falls_back and known.isdisjoint(target.names)

    def _divided(self, fields: dict[str, bytes]) -> tuple[dict[str, bytes], str | None, dict[str, bytes]]:
        """The fields of the message, the name of its object of features, and the fields of that."""
        target = self._targets.features
        if target is None:
            return fields, None, {}
        present = [name for name in target.names if fields.get(name, NULL) != NULL]
        top = {name: text for name, text in fields.items() if name not in target.names}
        if not present:
            return top, None, {}
        if len(present) > 1 or fields[present[0]][0] != OBJECT:
            raise Declined("features that are no single object")
        return top, present[0], members(fields[present[0]])

    def _add(self, level: Level, fields: Mapping[str, bytes], *, flat: bool) -> bool:
        """Plan for these fields; False where some of them cannot be read in columns."""
        for name, text in fields.items():
            if (type_ := self._types.get(name)) is not None:
                readings = level.known
            elif self._targets.features is not None and flat:
                readings, type_ = level.features, FLOAT64
            elif not self._keeps_extra:
                # Read although it is dropped: invalid JSON in it makes the message invalid.
                readings, type_ = level.others, _OTHER_TYPES.get(text[0], FLOAT64)
            else:
                return False
            if not level.add(readings, name, text, type_) or (self._keeps_extra and readings[name].drops):
                return False
        return True


def _is_empty(text: bytes) -> bool:
    return text[0] == ARRAY and not text[1:-1].strip()
