"""One value of a column as a piece of a key, and back.

Whatever a message says, its text stays inside its folder, different values give different texts, and the text is printable
ASCII of at most 120 bytes. Readers use `encode_value` to find the folder of a symbol. The grammar is a promise
(docs/layout.md): changing it is a new `CODE_REVISION`.
"""

from __future__ import annotations

import hashlib
import re

VALUE_BYTES_MAX = 120
"""The longest text that a value becomes. Eight of them still fit a key with its file name into S3's 1024 bytes."""

NULL = "__HIVE_DEFAULT_PARTITION__"
"""A null. Hive's own word, so that Spark, Trino, Athena, DuckDB and pyarrow read it as null. No value becomes this text,
because a leading `_` is always encoded."""

NULL_AT_SEGMENT_START = "~null"
"""A null with nothing before it in its path segment, where the `_` of Hive's word would hide the folder from SQL engines."""

EMPTY = "~empty"
"""The empty string. Nothing at all would make Spark refuse the table (`symbol=/`) or an empty segment (`//`)."""

ALPHABET = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-%~")
"""Every character that can be in the text of a value."""

_HASH_DIGITS = 32
_PREFIX_BYTES_MAX = VALUE_BYTES_MAX - 1 - _HASH_DIGITS
_PLAIN = re.compile(r"[A-Za-z0-9-][A-Za-z0-9._-]*")
_ENCODED = re.compile(r"(?:[A-Za-z0-9-]|(?:%[0-9A-F]{2})+)(?:[A-Za-z0-9._-]|%[0-9A-F]{2})*")
_CUT = re.compile(rf"[A-Za-z0-9._%-]{{1,{_PREFIX_BYTES_MAX}}}~[0-9a-f]{{{_HASH_DIGITS}}}")
_BYTE_TEXTS = [chr(byte) if re.fullmatch(r"[A-Za-z0-9._-]", chr(byte)) else f"%{byte:02X}" for byte in range(256)]


def encode_value(value: str | None, *, at_segment_start: bool = False) -> str:
    """The text of `value` in a partition path.

    UTF-8, percent-encoded except for `A-Z a-z 0-9 . _ -`; a leading `.` or `_` is encoded too, so nothing is hidden and nothing
    climbs. What is longer than 120 bytes then is cut to whole characters, and gets `~` and 32 hexadecimal digits of the SHA-256
    of the whole value. `at_segment_start`: whether the text opens a path segment; it matters for a null alone.
    """
    if value is None:
        return NULL_AT_SEGMENT_START if at_segment_start else NULL
    if not value:
        return EMPTY
    if _PLAIN.fullmatch(value) and len(value) <= VALUE_BYTES_MAX:
        return value
    raw = value.encode()
    # A value of 120 characters or more is too long even where it is plain; the rest of it need not be spelt out.
    characters = ["".join(map(_BYTE_TEXTS.__getitem__, character.encode())) for character in value[: VALUE_BYTES_MAX + 1]]
    if value[0] in "._":
        characters[0] = f"%{ord(value[0]):02X}"
    if sum(map(len, characters)) <= VALUE_BYTES_MAX:
        return "".join(characters)
    prefix = ""
    for character in characters:
        if len(prefix) + len(character) > _PREFIX_BYTES_MAX:
            break
        prefix += character
    return f"{prefix}~{hashlib.sha256(raw).hexdigest()[:_HASH_DIGITS]}"


def decode_value(text: str) -> str | None:
    """The value that `encode_value` wrote as `text`; None for a null.

    Raises `ValueError` for a text that `encode_value` never returns, and for the text of a value that was cut: that one is
    only in the file's own column (`is_cut` tells).
    """
    if text in (NULL, NULL_AT_SEGMENT_START):
        return None
    if text == EMPTY:
        return ""
    if _ENCODED.fullmatch(text):
        value = _unquoted(text)
        if encode_value(value) == text:
            return value
    raise ValueError(f"{text!r} is {'a cut value' if is_cut(text) else 'not the text of a value'}")


def is_cut(text: str) -> bool:
    """Whether `text` stands for a value too long to be spelt out."""
    return _CUT.fullmatch(text) is not None


def _unquoted(text: str) -> str:
    head, *rest = text.split("%")
    return (head.encode() + b"".join(bytes([int(part[:2], 16)]) + part[2:].encode() for part in rest)).decode()
