"""Dead-letter files: from a line anybody can make the record again, whatever was in it."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import duckdb
from decoded_tables import BUDGET, TICKS, letter
from hypothesis import given
from hypothesis import strategies as st

from streamer.records import DeadLetter, DeadLetterReason
from streamer.write.dead_letter_file import encode_dead_letters

_bytes = st.none() | st.binary(max_size=20)
letters = st.builds(
    DeadLetter,
    offset=st.integers(0, 2**63 - 1),
    timestamp=st.integers(-1, 2**63 - 1),
    key=_bytes,
    value=_bytes,
    headers=st.lists(st.tuples(st.text(max_size=8), _bytes), max_size=3).map(tuple),
    reason=st.sampled_from(DeadLetterReason),
    detail=st.text(max_size=200),
)


def _bytes_of(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text, validate=True)


def _record(line: dict[str, Any]) -> DeadLetter:
    assert (line["topic"], line["partition"]) == TICKS
    return DeadLetter(
        line["offset"],
        line["timestamp"],
        _bytes_of(line["key"]),
        _bytes_of(line["value"]),
        tuple((name, _bytes_of(value)) for name, value in line["headers"]),
        DeadLetterReason(line["reason"]),
        line["detail"],
    )


@BUDGET
@given(st.lists(letters, max_size=5))
def test_a_dead_letter_is_read_back_whole(written: list[DeadLetter]) -> None:
    text = gzip.decompress(encode_dead_letters(TICKS, written)).decode("ascii")

    assert written == [_record(json.loads(line)) for line in text.splitlines()]


def test_a_line_has_the_fields_that_layout_md_names() -> None:
    body = encode_dead_letters(TICKS, [letter(7, 1704067200000, key=None, headers=(("h", b"\x00"), ("n", None)))])

    expected = (
        '{"topic":"ticks","partition":3,"offset":7,"timestamp":1704067200000,"key":null,"value":"ew==",'
        '"headers":[["h","AA=="],["n",null]],"reason":"invalid_json","detail":"truncated"}\n'
    )
    assert expected == gzip.decompress(body).decode()


def test_many_dead_letters_are_all_there_in_order_and_the_bytes_are_the_same_again() -> None:
    written = [letter(offset) for offset in range(3000)]

    body = encode_dead_letters(TICKS, written)
    assert list(range(3000)) == [json.loads(line)["offset"] for line in gzip.decompress(body).splitlines()]
    assert body == encode_dead_letters(TICKS, list(written))
    assert body[4:8] == bytes(4)


def test_half_a_surrogate_pair_quoted_from_a_message_does_not_spoil_the_file(tmp_path: Path) -> None:
    path = tmp_path / "letters.ndjson.gz"
    path.write_bytes(encode_dead_letters(TICKS, [letter(1, detail="wrong_type: '\ud800'"), letter(2)]))

    found = duckdb.sql(f"SELECT \"offset\", detail FROM read_ndjson('{path}') ORDER BY 1").fetchall()
    assert found == [(1, "wrong_type: '\\ud800'"), (2, "truncated")]
