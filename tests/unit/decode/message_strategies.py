"""Generated messages: mostly such as real topics have, some odd, some broken."""

from __future__ import annotations

import json
from datetime import datetime

from decoding import KAFKA_TIME, chunk_of
from hypothesis import strategies as st

from streamer.layout import Layout
from streamer.records import RecordChunk

_numbers = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.integers(0, 10**19).map(str),
    st.integers(0, 200).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**25), max_value=10**25).map(str),
    st.decimals(places=8, min_value=0, max_value=100_000).map(str),
    st.sampled_from(
        [
            "0",
            "-0",
            "0.0",
            "-0.0",
            "1e400",
            "-1e400",
            "1e-400",
            "1.10",
            "1e3",
            "1E+2",
            "1e-05",
            "9.2E-7",
            "1.5",
            "1.0",
            "9007199254740993",
            "9223372036854775807",
            "9223372036854775808",
            "-9223372036854775808",
            "18446744073709551616",
            "3.4028235e38",
            "3.5e38",
            "123456789012345678901234567",
            "123456789012345678901234567890123456789",
            "0.1234567890123456789",
            "1.50000000000000000000000",
            "2147483648",
            "12345678901.123456789",
            "340282366920938463463374607431768211456",
            "5316911983139663491615228241121378304",
            "1e37",
            "1e57",
            "0e9",
            "1e999999999999999999999",
            "1619093543708.2642",
            "1618678142.557535",
            "1618678142",
            "1618677785116",
            "1618677785116123",
            "1618677785116123456",
            "99999999999",
            "100000000000",
            "1618677785116.123456789",
            "9223372036.854775807",
            "9223372036.854775808",
            "9223372036854775807.5",
            "-1",
        ]
    ),
)
_odd_numbers = st.sampled_from(
    [
        " 1",
        "1 ",
        "",
        ".",
        ".5",
        "5.",
        "+1",
        "+1.5",
        "--1",
        "1_0",
        "0x10",
        "inf",
        "NaN",
        "nan",
        "٣",
        "1e",
        "007",
        "1,5",
        "-",
        "e5",
    ]
)
_times = st.one_of(
    st.datetimes().map(str),
    st.datetimes().map(lambda t: t.isoformat() + "Z"),
    st.from_regex(
        r"\A(19|20)[0-9]{2}-(0[1-9]|1[0-3])-[0-3][0-9][T ][0-2][0-9](:[0-6][0-9](:[0-6][0-9](\.[0-9]{1,10})?)?)?"
        r"(Z|[+-][0-2][0-9](:?[0-6][0-9])?)?\Z"
    ),
    st.sampled_from(
        [
            "2021-04-17T16:43:30.244075Z",
            "2022-01-01 00:00:00.000000",
            "2021-01-01",
            "2021-01-01T01",
            "2021-02-30",
            "0001-01-01",
            "9999-12-31",
            "0000-01-01",
            "2262-04-11T23:47:16.854775807",
            "2262-04-11T23:47:16.854775808",
            "1677-09-21T00:12:43.145224193+23:59",
            "1970-01-01T00:00:00+01:00",
            "1969-12-31T23:00:00-01:00",
            "2021-01-01T24:00:00",
            "2021-01-01T23:59:60",
            "2021-01-01T00:00:00.",
            "2021-01-01T00:00:00z",
            "20210101",
            "yesterday",
        ]
    ),
)
_texts = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["BTCUSDT", "BTC/USDT", "../../etc", "", "x" * 300, "🚀", "a\x00b", "NaN", "}\n{"]),
    _odd_numbers,
    _numbers,
    _times,
)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=len(text) % 2 == 0)


SCALARS = st.one_of(
    _numbers, _texts.map(_quoted), _numbers.map(_quoted), _times.map(_quoted), st.sampled_from(["true", "false", "null"])
)
TEXTS_OF_VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda parts: "[" + ", ".join(parts) + "]"),
        st.dictionaries(st.sampled_from(["a", "b", "x y", "é"]), inner, max_size=3).map(
            lambda members: "{" + ",".join(f"{_quoted(name)} : {text}" for name, text in members.items()) + "}"
        ),
    ),
    max_leaves=4,
)

_price = st.decimals(places=2, min_value=1, max_value=99999).map(str)
_quoted_price = _price.map(_quoted)
_double = st.floats(0, 1e9).map(repr)


def _side(price: st.SearchStrategy[str], form: str) -> st.SearchStrategy[str]:
    """One side of a book, all levels in the same form."""
    level = st.tuples(price, price).map(lambda pair: form % pair)
    return st.lists(level, max_size=3).map(lambda levels: "[" + ", ".join(levels) + "]")


SIDES = [
    _side(_quoted_price, "[%s,%s]"),
    _side(_double, "[%s, %s]"),
    _side(_quoted_price, '{"price":%s,"size":%s}'),
    _side(_quoted_price, '[%s,%s,"0","4"]'),
    _side(_double, '{"sz":%s, "px":%s}'),
    _side(_quoted_price, '{"price":%s,"quantity":%s,"orders":3}'),
]

_FITTING: dict[str, list[st.SearchStrategy[str]]] = {
    # for each field some forms; within one chunk mostly one of them, as real topics have it
    "symbol": [st.sampled_from(["BTCUSDT", "ETH", "é"]).map(_quoted)],
    "ticker": [st.sampled_from(["BTCUSDT", "ETH"]).map(_quoted)],
    "price": [_price, _quoted_price],
    "p": [_price],
    "quantity": [_price, _quoted_price],
    "volume": [_price],
    "side": [st.sampled_from(["buy", "sell"]).map(_quoted)],
    "trade_id": [
        st.integers(0, 10**12).map(str),
        st.integers(10**25, 10**26).map(str),
        st.integers(0, 10**12).map(str).map(_quoted),
    ],
    "timestamp": [
        st.integers(1_600_000_000_000, 1_700_000_000_000).map(str),
        st.integers(1_600_000_000_000, 1_700_000_000_000).map(str).map(_quoted),
        st.integers(16 * 10**17, 17 * 10**17).map(str),
        st.decimals(places=4, min_value=1_600_000_000_000, max_value=1_700_000_000_000).map(str).map(_quoted),
        st.decimals(places=6, min_value=1_600_000_000, max_value=1_700_000_000).map(str),
        st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(2261, 1, 1)).map(
            lambda t: _quoted(t.isoformat() + "Z")
        ),
    ],
    "ts": [st.integers(1_600_000_000, 1_700_000_000).map(str)],
    "bid": [_price, _quoted_price],
    "fee": [_price, _quoted_price],
    "count": [st.integers(-5, 2**40).map(str), st.integers(-5, 2**40).map(str).map(_quoted)],
    "level": [st.integers(-5, 2**31).map(str)],
    "ratio": [_price, _quoted_price],
    "is_maker": [st.sampled_from(["true", "false"])],
    "day": [st.dates().map(str).map(_quoted)],
    "blob": [st.text(max_size=5).map(_quoted)],
    "tags": [st.lists(st.sampled_from(['"a"', '"b"', "null"]), max_size=3).map(lambda parts: "[" + ",".join(parts) + "]")],
    "sizes": [
        st.lists(st.one_of(_price, st.just("null")), max_size=3).map(lambda parts: "[" + ",".join(parts) + "]"),
        st.lists(_quoted_price, max_size=3).map(lambda parts: "[" + ",".join(parts) + "]"),
    ],
    "received": [st.integers(16 * 10**17, 17 * 10**17).map(str)],
    "regime": [st.integers(0, 5).map(str)],
    "confidence": [st.floats(-0.2, 1.2).map(repr)],
    "stress": [_price],
    "spread": [_price],
    "spr": [_price],
    "update_id": [st.integers(0, 10**12).map(str)],
    "u": [st.integers(0, 10**12).map(str)],
    "bids": SIDES,
    "b": SIDES,
    "asks": SIDES,
    "a": [*SIDES[:2], st.just("[]")],
    "checksum": [st.integers(-(2**31), 2**31).map(str)],
    "rsi": [_price, _quoted_price],
    "macd": [st.floats(-1, 1).map(repr)],
    "é": [_price],
}
_UNKNOWN = ["zz", "rsi", "macd", "é"]
_FEATURE_NAMES = ["rsi", "macd", "é", "spread", "z1"]


@st.composite
def objects(draw: st.DrawFn, layout: Layout, forms: dict[str, int], unknown: bool, damaged: bool) -> bytes:
    """A message of the layout: every field in its form, most of them there."""
    names = [name for column in layout.columns for name in (column.name, *column.aliases) if name in _FITTING and name in forms]
    parts = []
    for name in names:
        strategies = _FITTING[name]
        parts.append((name, draw(strategies[forms[name] % len(strategies)])))
    if layout.schema == "feature":
        numbers = [(name, draw(_FITTING.get(name, [_price])[0])) for name in _FEATURE_NAMES if name in forms]
        if forms.get("features"):
            parts.append(("features", "{" + ", ".join(f"{_quoted(name)}: {text}" for name, text in numbers) + "}"))
        else:
            known = {name for name, _ in parts}
            parts += [(name, text) for name, text in numbers if name not in known]
    if unknown:
        parts.append((draw(st.sampled_from(_UNKNOWN)), draw(TEXTS_OF_VALUES)))
    damage = draw(st.integers(0, 11)) if damaged else 3
    if damage == 0 and parts:
        at = draw(st.integers(0, len(parts) - 1))
        parts[at] = (parts[at][0], draw(TEXTS_OF_VALUES))
    elif damage == 1 and parts:
        parts.append((draw(st.sampled_from([name for name, _ in parts])), draw(TEXTS_OF_VALUES)))
    elif damage == 2 and parts:
        del parts[draw(st.integers(0, len(parts) - 1))]
    elif damage == 3:
        parts = draw(st.permutations(parts))
    return ("{" + draw(st.sampled_from([",", ", "])).join(f"{_quoted(name)}:{text}" for name, text in parts) + "}").encode()


_garbage = st.one_of(
    st.none(),
    st.binary(max_size=20),
    TEXTS_OF_VALUES.map(str.encode),
    st.sampled_from(
        [
            b"",
            b"  ",
            b"{",
            b"{}",
            b"{}{}",
            b"null",
            b"[1,2",
            b"\xff",
            b'{"symbol":"\xff"}',
            b'{"price":NaN,"symbol":"A"}',
            b'{"symbol":"A","price":1}\x00x}',
            b'{"symbol":"A","price":-Infinity}',
            b'{"symbol":"\\ud800","price":1}',
            b'{"symbol":"A","price":1}{"symbol":"B","price":2}',
            b'\xef\xbb\xbf{"symbol":"A"}',
            b'{"symbol":"A",\n"price":1}',
            b'{"symbol":"A","price":1}\n',
            b' {"symbol":"A","price":1} ',
            b'{"pri\\u0063e":1,"symbol":"A"}',
            b'{"symbol":"A","price":1,}',
            b'{"symbol":"A","price":[[[1]]]}',
            b'{"symbol":"A","price":1,"x":' + b"[" * 200 + b"]" * 200 + b"}",
            b"[" * 5000,
        ]
    ),
)


@st.composite
def chunks(draw: st.DrawFn, layout: Layout, max_size: int = 12) -> RecordChunk:
    """Records as a topic might have them: mostly alike, some odd, some broken."""
    names = list({name for column in layout.columns for name in (column.name, *column.aliases)} | {*_FEATURE_NAMES, "features"})
    optional = draw(st.sets(st.sampled_from(sorted(names)))) | set(
        draw(st.sampled_from([("symbol", "price"), ("symbol",), ("ticker", "p")]))
    )
    forms = {name: draw(st.integers(0, 5)) for name in sorted(optional)}
    unknown = draw(st.sampled_from([False, False, True]))
    broken = draw(st.integers(0, 3)) == 0
    damaged = draw(st.booleans())
    size = draw(st.integers(1, max_size))
    values: list[bytes | None] = []
    for _ in range(size):
        odd = broken and draw(st.integers(0, 4)) == 0
        values.append(draw(_garbage if odd else objects(layout, forms, unknown, damaged)))
    timestamps = [draw(st.sampled_from([KAFKA_TIME] * 8 + [-1, 0, 2**62])) if damaged else KAFKA_TIME for _ in values]
    return chunk_of(values, timestamps)
