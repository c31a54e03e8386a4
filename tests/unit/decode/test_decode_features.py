"""Features: flat or nested, numbers only, in the order of their names."""

from __future__ import annotations

import pytest
from decoding import chunk_of, feature, quickly, refusal, row, same, slowly

from streamer.decode.decoder import make_decoder
from streamer.errors import Invalid
from streamer.layout import Layout, Rule
from streamer.records import DeadLetterReason as Reason
from streamer.schemas import columns_of


def test_flat_numbers_are_features_and_everything_else_is_extra() -> None:
    found = row(
        feature(), b'{"symbol":"B","rsi":55.5,"macd":"-0.25","gone":null,"mode":"fast","on":true,"deep":{"a":1},"regime":3}'
    )

    assert found["features"] == [("macd", -0.25), ("rsi", 55.5)]
    assert found["regime"] == "3"
    assert found["extra"] == '{"mode":"fast","on":true,"deep":{"a":1}}'


def test_nested_numbers_are_features_and_the_rest_keeps_its_place() -> None:
    found = row(feature(), b'{"symbol":"B","loose":1.5,"features":{"rsi":1,"mode":"fast","gone":null,"spread":0.5},"v":null}')

    assert found["features"] == [("rsi", 1.0)]
    assert found["spread"] == 0.5
    assert found["extra"] == '{"loose":1.5,"features":{"mode":"fast"},"v":null}'


def test_a_declared_column_is_taken_from_the_message_before_the_nested_features() -> None:
    found = row(feature(), b'{"symbol":"B","spread":1,"features":{"spread":2,"spr":3,"rsi":4}}')

    assert found["spread"] == 1.0
    assert found["features"] == [("rsi", 4.0)]
    assert found["extra"] == '{"features":{"spread":2,"spr":3}}'


@pytest.mark.parametrize("value", [b'{"symbol":"B"}', b'{"symbol":"B","features":null}', b'{"symbol":"B","features":{}}'])
def test_a_message_without_features_has_an_empty_map(value: bytes) -> None:
    assert row(feature(), value)["features"] == []


def test_features_that_are_no_object_are_refused() -> None:
    assert refusal(feature(), b'{"symbol":"B","features":[1,2]}')[0] == Reason.WRONG_TYPE


def test_a_feature_beyond_float64_is_refused() -> None:
    assert refusal(feature(), b'{"symbol":"B","rsi":1e400}') == ("out_of_range", "rsi: 1e400 is more than the column can hold")


@pytest.mark.parametrize("wrap", ["{%s}", '{"symbol":"B","features":{%s}}'])
def test_uniform_messages_are_gathered_in_columns(wrap: str) -> None:
    head = '"symbol":"B",' if wrap == "{%s}" else ""
    values: list[bytes | None] = [
        (wrap % f'{head}"rsi":{at}.5,"macd":{at if at % 3 else "null"},"é":"{at}"').encode() for at in range(300)
    ]
    values[7] = (wrap % f'{head}"é":"1","macd":2').encode()  # another order, one absent
    chunk = chunk_of(values)

    quick, slow = quickly(feature(), chunk), slowly(feature(), chunk)

    assert quick is not None
    assert same(quick, slow)
    assert quick.table["features"].to_pylist()[7] == [("macd", 2.0), ("é", 1.0)]
    assert make_decoder(feature()).decode(chunk).slow_records == 0


def test_a_rule_on_what_holds_no_numbers_is_a_mistake_of_the_configuration() -> None:
    for column in ("features", "symbol", "nowhere"):
        layout = Layout("f", "feature", columns_of("feature"), "date={date}", rules=(Rule(column, ">", 0.0),))
        with pytest.raises(Invalid):
            make_decoder(layout)
