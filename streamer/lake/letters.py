"""Dead letters as they are read back from the lake: the inverse of `write/dead_letter_file.py`.

Pure. A line that is not a dead letter is an error with its number, because a letter that nobody can read is lost.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import Any

from streamer.documents import Count, Int64, parsed, typed
from streamer.records import Headers, TopicPartition


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter, with the place it had in Kafka. `reason` stays text: a newer release may know more of them."""

    source: TopicPartition
    offset: int
    timestamp: int  # Kafka's, milliseconds
    key: bytes | None
    value: bytes | None
    headers: Headers
    reason: str
    detail: str

    def document(self) -> dict[str, Any]:
        """For JSON: bytes that are text as text, and always as base64."""
        return {
            "topic": self.source.topic,
            "partition": self.source.partition,
            "offset": self.offset,
            "timestamp": self.timestamp,
            "key": _text(self.key),
            "value": _text(self.value),
            "key_base64": _base64(self.key),
            "value_base64": _base64(self.value),
            "headers": [[name, _text(value)] for name, value in self.headers],
            "reason": self.reason,
            "detail": self.detail,
        }


def parse_letters(text: bytes) -> tuple[Letter, ...]:
    """The letters of a decompressed file, in its order. Raises `ValueError` with the number of the first line that is none."""
    if text and not text.endswith(b"\n"):
        raise ValueError("the last line is cut short")
    return tuple(_letter(number, line) for number, line in enumerate(text[:-1].split(b"\n") if text else (), 1))


def _letter(number: int, line: bytes) -> Letter:
    try:
        body = parsed(line)
        letter = Letter(
            TopicPartition(typed(body["topic"], str), typed(body["partition"], Count)),
            typed(body["offset"], Count),
            typed(body["timestamp"], Int64),
            _bytes(body["key"]),
            _bytes(body["value"]),
            tuple((str(name), _bytes(value)) for name, value in body["headers"]),
            str(body["reason"]),
            str(body["detail"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"line {number} is not a dead letter: {error!r}") from error
    return letter


def _bytes(text: str | None) -> bytes | None:
    if text is None:
        return None
    try:
        return b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from error


def _base64(data: bytes | None) -> str | None:
    return None if data is None else b64encode(data).decode("ascii")


def _text(data: bytes | None) -> str | None:
    return None if data is None else data.decode("utf-8", "replace")
