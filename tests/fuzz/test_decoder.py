"""Messages as exchanges send them, torn and rewritten: both ways to decode agree, and none raises, hangs or loses a record.

The properties for generated messages are in tests/unit/decode; here are real shapes, and what becomes of them on the way.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.decode.decoder import make_decoder
from tests.fuzz.mutations import as_json, changed, nested, torn
from tests.fuzz.profile import examples
from tests.unit.decode.decoding import LAYOUTS, check_invariants, chunk_of, quickly, same, slowly

MESSAGES: list[dict[str, Any]] = [
    {"symbol": "BTCUSDT", "price": 64000.5, "quantity": 0.25, "timestamp": "2026-01-03T10:00:00Z"},
    {"e": "trade", "E": 1767434400000, "s": "BNBBTC", "t": 12345, "p": "0.001", "q": "100", "T": 1767434400123, "m": True},
    {
        "ticker": "BTC-USD",
        "price": "64000.50",
        "size": 1e-8,
        "side": "buy",
        "time": "2026-01-03T10:00:00.123456Z",
        "trade_id": 7,
    },
    {"symbol": "ETH", "timestamp": 1767434400, "features": {"rsi": 55.5, "macd": -0.25, "deep": {"a": 1}}, "regime": 3},
    {
        "symbol": "BTC",
        "price": 1,
        "tags": ["a", None],
        "sizes": [1, "2"],
        "bid": "12345678901234567890.123",
        "day": "2026-01-03",
    },
]
MESSAGES += [
    {"s": "BNBBTC", "T": 1672515782136, "u": 160, "b": [["0.0024", "10"], ["0.0023", "1"]], "a": [["0.0026", "100"]]},
    {"symbol": "B", "seq": 7, "bids": [{"price": 1.5, "size": "2"}], "asks": [[1, 2.5], ["3", "4", "0", 1]]},
]
TORN_TEXTS = [
    b'{"symbol":"B","symbol":"C","price":1,"price":2}',
    b'{"symbol":"B\\u0000","price":1e308,"timestamp":1e18}',
    b'{"symbol":"\\ud83d\\ude00","price":"1_000","quantity":"0x10"}',
    b'{"symbol":"B","price":-0,"quantity":"-0.0","count":9223372036854775808}',
    b'\xef\xbb\xbf{"symbol":"B","price":1}',
    b'{"symbol":"B","price":1}{"symbol":"B","price":1}',
    b'{"symbol":"B","price":' + b"9" * 5000 + b"}",
    b'{"symbol":"B","price":1,"' + b"k" * 5000 + b'":1}',
]

VALUES = st.one_of(
    st.sampled_from(MESSAGES).flatmap(lambda message: changed(message)).map(as_json),
    st.sampled_from(MESSAGES).flatmap(lambda message: torn(json.dumps(message, separators=(",", ":")).encode())),
    st.sampled_from(MESSAGES).flatmap(nested),
    st.sampled_from(TORN_TEXTS),
    st.sampled_from(TORN_TEXTS).flatmap(torn),
    st.sampled_from(MESSAGES).map(as_json),
    st.none(),
)


@pytest.mark.parametrize("name", list(LAYOUTS))
@examples(25)
@given(values=st.lists(VALUES, min_size=1, max_size=5))
def test_messages_that_were_right_once(name: str, values: list[bytes | None]) -> None:
    layout = LAYOUTS[name]
    chunk = chunk_of(values)

    slow = slowly(layout, chunk)

    check_invariants(layout, chunk, slow)
    assert same(make_decoder(layout).decode(chunk), slow)
    if (quick := quickly(layout, chunk)) is not None:
        assert same(quick, slow)
