"""What every store refuses alike: keys and metadata that one of them could not hold, or would give back changed.

A lake can move between a bucket and a directory only if neither accepts what the other cannot. Pure text; it must not
know where anything is stored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from streamer.errors import Invalid

KEY_BYTES = 1024
METADATA_BYTES = 2048

_CONTROL = re.compile("[\x00-\x1f\x7f]")
_METADATA_NAME = re.compile(r"[a-z][a-z0-9_]*")
_METADATA_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")


def check_key(key: str) -> None:
    """Raise `Invalid` unless `key` names an object in every store.

    1 to 1024 bytes of UTF-8 without control characters, in segments joined by `/` none of which is empty, `.` or `..`:
    anything else leaves a directory, or is rewritten by an HTTP client on its way.
    """
    if not key:
        raise Invalid("an object needs a key", hint="give a key such as raw/ticks/file.parquet")
    if problem := _problem(key) or _segment_problem(key.split("/")):
        raise Invalid(f"a key {problem}", hint="use segments of visible text, joined by single slashes", key=repr(key))


def check_prefix(prefix: str) -> None:
    """Raise `Invalid` where no key can start with `prefix`. Its last segment may be the start of a name."""
    whole_segments = prefix.split("/")[:-1]
    if problem := _problem(prefix) or _segment_problem(whole_segments):
        raise Invalid(f"a prefix {problem}", hint="use segments of visible text, joined by single slashes", prefix=repr(prefix))


def check_metadata(metadata: Mapping[str, str]) -> None:
    """Raise `Invalid` unless every store gives `metadata` back as it is.

    Names are lower-case ASCII letters, digits and `_`; values are visible ASCII, not empty, without blanks at the ends (HTTP
    strips them); 2 KiB in all.
    """
    for name, value in metadata.items():
        if not _METADATA_NAME.fullmatch(name):
            raise Invalid("a metadata name has other than lower-case letters, digits and _", hint="rename it", name=repr(name))
        if not _METADATA_VALUE.fullmatch(value):
            raise Invalid("a metadata value is empty or has other than visible ASCII", hint="encode it", name=name)
    if sum(len(name) + len(value) for name, value in metadata.items()) > METADATA_BYTES:
        raise Invalid(f"metadata of more than {METADATA_BYTES} bytes", hint="keep what is long in the object itself")


def _problem(text: str) -> str | None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return "is not valid Unicode"
    if size > KEY_BYTES:
        return f"has more than {KEY_BYTES} bytes"
    return "has a control character" if _CONTROL.search(text) else None


def _segment_problem(segments: list[str]) -> str | None:
    if "" in segments:
        return "has an empty segment"
    return "has a segment . or .." if "." in segments or ".." in segments else None
