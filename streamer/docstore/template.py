"""The keys of documents: a template, the key that fields and an instant make of it, and back. Pure text.

Every field is one whole segment, encoded as values in partition paths are (docs/layout.md), so that different fields have
different keys, whatever they hold, and none leads elsewhere. What tells the time comes behind all fields and sorts by time.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from streamer.errors import Invalid
from streamer.write.partition_value import decode_value, encode_value, is_cut

_PLACE = re.compile(r"\{([a-zA-Z_]+)(?::([A-Za-z0-9_|-]+))?\}")
_LITERAL = re.compile(r"[A-Za-z0-9._/-]*")
_TIMES = {
    "Y": r"\d{4}", "m": r"\d{2}", "d": r"\d{2}", "H": r"\d{2}", "minute": r"\d{2}", "date": r"\d{4}-\d{2}-\d{2}",
    "timestamp": r"\d{4}-\d{2}-\d{2}T\d{2}-\d{2}-\d{2}-\d{6}(?:~[2-9]|~[1-9]\d{1,3})?",
}  # fmt: skip
WORDS = frozenset({"at", "packing", "metadata", "tags", "version", "self", "sources", "computation_version"})
"""Of the methods that take fields."""

_ORDER = ("Y", "date", "m", "d", "H", "minute", "timestamp")
PACKED = ("", ".gz", ".zst")
_HINT = "write it as market-data/trades/{symbol}/{Y}/{m}/{d}/{timestamp}.json"


@dataclass(frozen=True, slots=True)
class Place:
    """What a key says. texts: the fields as they stand in the key. version: 1 for the first document of its instant."""

    texts: Mapping[str, str]
    at: datetime
    version: int
    packed: str

    @property
    def fields(self) -> dict[str, str]:
        """The fields as they were given; of one longer than 120 bytes the text that stands for it."""
        return {name: text if is_cut(text) else decode_value(text) or "" for name, text in self.texts.items()}


@dataclass(frozen=True)
class Template:
    """A checked template."""

    text: str

    def __post_init__(self) -> None:
        names = [match[1] for match in _PLACE.finditer(self.text)]
        times = [name for name in names if name in _TIMES]
        segments = self.text.split("/")
        whole = all(_PLACE.fullmatch(part) for part in segments for match in _PLACE.finditer(part) if match[1] not in _TIMES)
        if (
            _LITERAL.fullmatch(_PLACE.sub("", self.text)) is None
            or any(part in ("", ".", "..") or part.startswith((".", "_")) for part in segments)
            or len(set(names)) != len(names)
            or WORDS & set(names)
            or not whole
            or names[-len(times) :] != times
            or times != sorted(times, key=_ORDER.index)
            or not {"timestamp", "date"} & set(times)
        ):
            raise Invalid(
                f"{self.text!r} is no template of keys: each field is a whole segment, then comes the time", hint=_HINT
            )

    @property
    def keeps_versions(self) -> bool:
        """Whether documents of one instant are kept apart; else the newer replaces the older."""
        return "{timestamp}" in self.text

    @functools.cached_property
    def fields(self) -> dict[str, tuple[str, ...]]:
        """The names of the fields, in order, each with the values that it may have; none: any."""
        found = {match[1]: tuple((match[2] or "").split("|")) for match in _PLACE.finditer(self.text)}
        return {name: () if choice == ("",) else choice for name, choice in found.items() if name not in _TIMES}

    @property
    def globs(self) -> tuple[str, ...]:
        """What all keys of this template match, with `*` for anything, also several segments: for policies."""
        short = re.sub(r"\*(?:/?\*)+", "*", _PLACE.sub("*", self.text))
        return tuple(short + packed for packed in PACKED)

    def texts(self, fields: Mapping[str, object], *, some: bool = False) -> dict[str, str]:
        """The fields as keys have them. some: whether any may be missing. Raises `Invalid`."""
        if (unknown := fields.keys() - self.fields.keys()) or (not some and fields.keys() != self.fields.keys()):
            given = (
                f"there is no {', '.join(sorted(unknown))}" if unknown else f"given are {', '.join(sorted(fields)) or 'none'}"
            )
            raise Invalid(f"the fields of {self.text} are {', '.join(self.fields)}; {given}", hint="name each of them")
        found = {}
        for name, value in fields.items():
            text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else None
            choice = self.fields[name]
            if text is None or (choice and text not in choice):
                raise Invalid(f"{name} cannot be {str(value)[:80]!r}", hint=f"give {' or '.join(choice) or 'text'}")
            try:
                found[name] = encode_value(text, at_segment_start=True)
            except UnicodeEncodeError:
                raise Invalid(f"{name} is no valid Unicode", hint="give text that can be written as UTF-8") from None
        return found

    def key(self, texts: Mapping[str, str], at: datetime, version: int = 1, packed: str = "") -> str:
        """The key of a document."""
        return self._filled(self.text, texts, at, version) + packed

    def prefix(self, texts: Mapping[str, str]) -> str:
        """What all keys with these fields begin with: up to the first field that is not given, or the time."""
        missing = (match.start() for match in _PLACE.finditer(self.text) if match[1] not in texts)
        return self._filled(self.text[: next(missing)], texts, _EPOCH, 1)

    def from_instant(self, texts: Mapping[str, str], at: datetime) -> str:
        """What keys with all these fields and of `at` begin with; those of later instants sort behind it."""
        end = max(match.end() for match in _PLACE.finditer(self.text))
        return self._filled(self.text[:end], texts, at, 1)

    def parse(self, key: str) -> Place | None:
        """What a key says; None for a key that is none of this template."""
        match = self._pattern.fullmatch(key)
        if match is None:
            return None
        found = match.groupdict()
        packed = found.pop("packed_") or ""
        stamp, _, number = (found.get("timestamp") or "").partition("~")
        texts = {name: found[name] for name in self.fields}
        try:
            at = _instant(stamp or f"{found['date']}T00-00-00-000000")
            version = int(number or 1)
            for name, choice in self.fields.items():
                value = None if is_cut(texts[name]) else decode_value(texts[name])
                if choice and value not in choice:
                    return None
        except ValueError:
            return None
        place = Place(texts, at, version, packed)
        return place if self.key(texts, at, version, packed) == key else None

    @functools.cached_property
    def _pattern(self) -> re.Pattern[str]:
        parts, done = [], 0
        for match in _PLACE.finditer(self.text):
            parts += [re.escape(self.text[done : match.start()]), f"(?P<{match[1]}>{_TIMES.get(match[1], '[^/]+')})"]
            done = match.end()
        return re.compile("".join(parts) + re.escape(self.text[done:]) + r"(?P<packed_>\.gz|\.zst)?", re.ASCII)

    def _filled(self, text: str, texts: Mapping[str, str], at: datetime, version: int) -> str:
        times = _times(at, version)
        return _PLACE.sub(lambda match: times[match[1]] if match[1] in times else texts[match[1]], text)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _times(at: datetime, version: int) -> dict[str, str]:
    day = f"{at.year:04d}-{at.month:02d}-{at.day:02d}"
    clock = f"{at.hour:02d}-{at.minute:02d}-{at.second:02d}-{at.microsecond:06d}"
    again = f"~{version}" if version > 1 else ""
    return {
        "Y": f"{at.year:04d}", "m": f"{at.month:02d}", "d": f"{at.day:02d}", "H": f"{at.hour:02d}",
        "minute": f"{at.minute:02d}", "date": day, "timestamp": f"{day}T{clock}{again}",
    }  # fmt: skip


def _instant(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H-%M-%S-%f").replace(tzinfo=UTC)
