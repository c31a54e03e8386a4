"""Dead letters as newline-delimited JSON, gzip: every byte that Kafka had, where it had it, and why it is here.

Pure. `streamer dead-letters redrive` and anybody's own script must be able to make the record again from a line; the format is
a promise (docs/layout.md).
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator, Sequence
from itertools import islice

from streamer.records import DeadLetter, TopicPartition
from streamer.write.compression import compress

_BLOCK_LETTERS = 1024


def encode_dead_letters(source: TopicPartition, letters: Sequence[DeadLetter]) -> bytes:
    """The file: one line each, in the order given."""
    return compress(_blocks(source, letters), "gz")


def _blocks(source: TopicPartition, letters: Sequence[DeadLetter]) -> Iterator[bytes]:
    lines = (_line(source, letter) for letter in letters)
    while block := "".join(islice(lines, _BLOCK_LETTERS)):
        yield block.encode("ascii")


def _line(source: TopicPartition, letter: DeadLetter) -> str:
    body = {
        "topic": source.topic,
        "partition": source.partition,
        "offset": letter.offset,
        "timestamp": letter.timestamp,
        "key": _base64(letter.key),
        "value": _base64(letter.value),
        "headers": [[name, _base64(value)] for name, value in letter.headers],
        "reason": letter.reason.value,
        # A detail may quote half a surrogate pair from a message. DuckDB would refuse the whole file for it.
        "detail": letter.detail.encode("utf-8", "backslashreplace").decode(),
    }
    return json.dumps(body, separators=(",", ":")) + "\n"


def _base64(data: bytes | None) -> str | None:
    return None if data is None else b64encode(data).decode("ascii")
