"""Values in one buffer, as the source brings them, are decoded as values in a list are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from decoding import LAYOUTS, chunk_of, quickly, same, slowly, tick
from hypothesis import event, given, settings
from hypothesis import strategies as st
from message_strategies import chunks
from test_decode_properties import BUDGET

from streamer.decode.decoder import make_decoder
from streamer.packed import PackedBytes
from streamer.records import RecordChunk


def packed(chunk: RecordChunk) -> RecordChunk:
    """The same records, framed as in a batch of Kafka's; none of the values is null."""
    buffer, starts, ends = bytearray(), [], []
    for value in chunk.values:
        buffer += b"\x7d\x00\x02\xff"
        starts.append(len(buffer))
        buffer += value or b""
        ends.append(len(buffer))
    buffer += b"\x00"
    values = PackedBytes.blotting(buffer, np.array(starts, np.int64), np.array(ends, np.int64))
    return replace(chunk, values=values)


@pytest.mark.parametrize("name", LAYOUTS)
@settings(BUDGET, max_examples=25)
@given(data=st.data())
def test_packed_values_give_the_rows_and_dead_letters_of_the_others(name: str, data: st.DataObject) -> None:
    layout = LAYOUTS[name]
    chunk = data.draw(chunks(layout).filter(lambda chunk: None not in chunk.values))
    slow = slowly(layout, chunk)

    quick = quickly(layout, packed(chunk))

    event("in columns" if quick is not None else "declined")
    assert quick is None or same(quick, slow)
    assert same(slowly(layout, packed(chunk)), slow)
    at = data.draw(st.integers(chunk.start, chunk.end))
    for part, plain in zip(packed(chunk).split(at), chunk.split(at), strict=True):
        assert same(make_decoder(layout).decode(part), slowly(layout, plain))


PLAIN = b'{"symbol":"A","price":1}'


@pytest.mark.parametrize(
    "odd",
    [
        b'{"symbol":"A",\n"price":1}',
        b'{"symbol":"A","price":1}\n',
        b'\n{"symbol":"A","price":1}',
        b'{"symbol":"A","price":1}\n{"symbol":"A","price":2}',
        b'{"symbol":"A","price":1},{"symbol":"A","price":2}',
        b'{"symbol":"A","price":1,"x":{"y":2}',
        b'{"symbol":"A","price":1,\n}',
        b'{\n}',
        b"{}",
        b"{\n",
        b"}",
        b"",
        b'{"symbol":"A","price":1}}',
        b'{"symbol":"A\nB","price":1}',
        b'{"symbol":"A","price":1}\x00{"symbol":"A","price":2}',
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", [0, 150, 299])
def test_no_value_can_borrow_a_row_of_its_neighbours(odd: bytes, place: int) -> None:
    values: list[bytes | None] = [PLAIN] * 300
    values[place] = odd
    chunk = chunk_of(values)

    assert same(make_decoder(tick()).decode(packed(chunk)), slowly(tick(), chunk))
