"""The document of a history: what is written is plain JSON and is read back the same, in whatever pieces it comes."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.errors import Damaged
from streamer.features.document import Head, LineParser, Mark, encoded, parse, parsed_rows
from streamer.features.rows import packed, unpacked
from streamer.features.snapshots import Snapshots
from streamer.features.window import Frozen
from streamer.keys import feature_history_key, kept_key, parse_feature_history_key, parse_kept_key
from streamer.records import TopicPartition
from streamer.store.memory import MemoryStore
from streamer.testing.manual_clock import EPOCH, VirtualClock, run_virtual
from streamer.workers import InlineWorkers

SOURCE = TopicPartition("features", 3)
HEAD = Head("features", 20, {SOURCE: Mark(1, 123, EPOCH)})


def row(offset: int, **values: object) -> dict[str, object]:
    return {"timestamp": "2024-01-01T00:00:00.000000Z", "partition": 3, "offset": offset, **values}


rows = st.lists(
    st.builds(
        lambda offset, floats, others: row(offset, **(floats | others)),
        st.integers(0, 2**62),
        st.dictionaries(st.text().map(lambda t: "f" + t), st.floats(allow_nan=False, allow_infinity=False), max_size=4),
        st.dictionaries(
            st.text().map(lambda t: "o" + t), st.text() | st.integers(-(2**63), 2**63 - 1) | st.booleans(), max_size=3
        ),
    ),
    min_size=1,
    max_size=3,
)
ODD = st.text() | st.sampled_from(['a"', "a\\", 'a\\":[{', "a\nb", "}}", "", "😀", "\u2028"])


@settings(deadline=None)
@given(
    symbols=st.dictionaries(ODD.filter(lambda t: t.isprintable() or True), rows, max_size=6),
    cuts=st.lists(st.integers(1, 40), min_size=1),
)
def test_what_is_written_is_json_and_comes_back_from_any_pieces(
    symbols: dict[str, list[dict[str, object]]], cuts: list[int]
) -> None:
    body = b"".join(encoded(HEAD, [(symbol, [packed(each, {}) for each in found]) for symbol, found in symbols.items()]))
    plain = json.loads(body)
    assert plain["features"] == symbols
    assert plain["offsets"] == {"features": {"3": 123}}
    assert plain["lineage"] == {"features": {"3": 1}}

    parser, lines, at = LineParser("k"), [], 0
    for size in cuts * (len(body) + 1):
        if at >= len(body):
            break
        lines += parser.feed(body[at : at + size])
        at += size
    lines += parser.close()
    assert parser.head == HEAD
    assert {symbol: [unpacked(each) for each in parsed_rows(text, {}, key="k")] for symbol, text in lines} == symbols
    assert [symbol for symbol, _ in lines] == sorted(symbols, key=str.encode)


def document() -> bytes:
    return b"".join(encoded(HEAD, [("A", [packed(row(1, rsi=1.5), {})]), ("B", [packed(row(2, rsi=2.5), {})])]))


def test_what_another_tool_has_formatted_anew_is_read_too() -> None:
    for text in (json.dumps(json.loads(document()), indent=2), json.dumps(json.loads(document()))):
        head, lines = parse(text.encode(), key="k")
        assert head == HEAD
        assert [symbol for symbol, _ in lines] == ["A", "B"]


@given(cut=st.integers(0, len(document()) - 2))
def test_a_document_that_is_cut_short_is_damaged(cut: int) -> None:
    with pytest.raises(Damaged):
        parse(document()[:cut], key="k")


@pytest.mark.parametrize(
    ("find", "put"),
    [
        (b'"version":1', b'"version":2'),
        (b'"version":1', b'"vorsion":1'),
        (b'"offsets":{"features":{"3":123}}', b'"offsets":{"features":{"3":"x"}}'),
        (b'\n"A":', b'\n"C":'),
        (b'\n"A":', b"\nA:"),
    ],
)
def test_a_document_that_says_something_else_is_damaged(find: bytes, put: bytes) -> None:
    assert find in document()
    with pytest.raises(Damaged):
        parse(document().replace(find, put), key="k")


@pytest.mark.parametrize("text", [b"[{}]", b"[1]", b"{", b'[{"timestamp":1,"partition":0,"offset":1}]'])
def test_rows_that_are_none_are_damaged(text: bytes) -> None:
    with pytest.raises(Damaged):
        parsed_rows(text, {}, key="k")


def test_keys_are_read_back() -> None:
    assert parse_feature_history_key(feature_history_key(SOURCE)) == SOURCE
    moment = EPOCH + timedelta(microseconds=7)
    key = kept_key("state/x.json", moment)
    assert key.startswith("state/_kept/x/")
    assert parse_kept_key("state/x.json", key) == moment
    assert parse_kept_key("state/y.json", key) is None


@pytest.mark.parametrize("seed", range(10))
def test_nothing_older_ever_replaces_anything_newer(seed: int) -> None:
    """Several writers, requests that are lost before or after their effect: the newest place wins."""

    async def main(clock: VirtualClock) -> None:
        store = MemoryStore(clock)
        places = [(clock.random.randrange(3), clock.random.randrange(100)) for _ in range(30)]
        writers = [Snapshots(store, clock, InlineWorkers()) for _ in range(3)]
        newest = (-1, -1)
        for place in places:
            frozen = Frozen(*place, 5, (("A", [packed(row(place[1]), {})]),))
            saved = await writers[clock.random.randrange(3)].save(SOURCE, "features", frozen, clock.now())
            assert saved == (place >= newest)
            newest = max(newest, place)
            found = await writers[0].load(SOURCE, {})
            assert found is not None
            assert found.mark.place == newest
            await clock.sleep(1.0)

    run_virtual(main, seed=seed)
