"""What damage looks like: any bytes, any JSON, and documents that were right until somebody changed one thing or a few."""

from __future__ import annotations

import copy
import json
from typing import Any

import orjson
from hypothesis import strategies as st

NUMBERS = st.one_of(
    st.integers(-3, 3), st.integers(-(2**70), 2**70), st.floats(), st.sampled_from([2**31, 2**53, 2**63, 2**64, -(2**63) - 1])
)
TIMES = st.sampled_from(
    [
        "2026-01-03T10:00:00+00:00", "2026-01-03T10:00:00", "2026-01-03", "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59", "2026-01-03T24:00:00Z", "2026-02-30T00:00:00Z", "now", "20260103T100000Z", "2026-W01-1",
    ]
)  # fmt: skip
TEXTS = st.one_of(
    st.text(max_size=6),
    TIMES,
    st.sampled_from(["", "..", "../../x", "/etc/passwd", "x\x00y", "\u0660\u0661", "0" * 64]),
)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
DEEP = st.integers(200, 1100).map(lambda depth: "[" * depth + "]" * depth)
"""JSON text that is nested further than some parsers, and all writers, go."""


def places(document: Any) -> list[tuple[Any, ...]]:
    """The path of every value within `document`, itself included."""
    found: list[tuple[Any, ...]] = [()]
    inner = document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    for name, value in inner:
        found += [(name, *below) for below in places(value)]
    return found


@st.composite
def changed(draw: st.DrawFn, document: Any) -> Any:
    """`document` with one to three values replaced, removed, added or doubled."""
    body = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from(places(body)))
        if not place:
            if isinstance(body, dict):
                body[draw(TEXTS)] = draw(ANYTHING)
            continue
        here = body
        for name in place[:-1]:
            here = here[name]
        last = place[-1]
        what = draw(st.sampled_from(["replace", "replace", "replace", "remove", "double", "elsewhere"]))
        if what == "replace":
            here[last] = draw(ANYTHING)
        elif what == "remove":
            del here[last]
        elif isinstance(here, list):
            here.append(copy.deepcopy(here[last]))
        else:
            here[draw(TEXTS)] = here[last]
    return body


@st.composite
def torn(draw: st.DrawFn, body: bytes) -> bytes:
    """`body` as a bad disk or a bad copy leaves it: cut, flipped, with something put in or left out."""
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(body)))
        what = draw(st.sampled_from(["cut", "flip", "insert", "leave out", "repeat"]))
        if what == "cut":
            body = body[:at]
        elif what == "flip" and at < len(body):
            body = body[:at] + bytes([body[at] ^ draw(st.integers(1, 255))]) + body[at + 1 :]
        elif what == "insert":
            body = body[:at] + draw(st.binary(min_size=1, max_size=4)) + body[at:]
        elif what == "leave out":
            body = body[:at] + body[at + draw(st.integers(1, 20)) :]
        else:
            body = body[:at] + body[at : at + draw(st.integers(1, 40))] + body[at:]
    return body


@st.composite
def nested(draw: st.DrawFn, document: Any) -> bytes:
    """`document` with one value replaced by very deep JSON."""
    marker = "\x1a deep \x1a"
    body = copy.deepcopy(document)
    place = draw(st.sampled_from([place for place in places(body) if place] or [()]))
    if place:
        here = body
        for name in place[:-1]:
            here = here[name]
        here[place[-1]] = marker
    return json.dumps(body).replace(json.dumps(marker), draw(DEEP)).encode()


def damaged(body: bytes) -> st.SearchStrategy[bytes]:
    """Any bytes, any JSON, or the JSON document `body`, damaged."""
    document = orjson.loads(body)
    return st.one_of(
        changed(document).map(as_json),
        changed(document).map(as_json),
        torn(body),
        nested(document),
        ANYTHING.map(as_json),
        st.binary(max_size=60),
    )


def as_json(value: Any) -> bytes:
    """JSON as any tool may write it: Python's own also has NaN, Infinity and lone surrogates."""
    return json.dumps(value).encode()
