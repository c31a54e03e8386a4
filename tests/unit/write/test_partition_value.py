"""A value in a key: it comes back, it cannot be taken for another, and it cannot leave its folder."""

from __future__ import annotations

import pytest
from decoded_tables import BUDGET, symbols
from hypothesis import given
from hypothesis import strategies as st

from streamer.write.partition_value import ALPHABET, VALUE_BYTES_MAX, decode_value, encode_value, is_cut

values = st.none() | symbols


@BUDGET
@given(values, st.booleans())
def test_a_value_is_read_back_from_its_text_unless_it_was_cut(value: str | None, at_start: bool) -> None:
    text = encode_value(value, at_segment_start=at_start)

    if is_cut(text):
        with pytest.raises(ValueError, match="cut"):
            decode_value(text)
    else:
        assert decode_value(text) == value


@BUDGET
@given(values, values)
def test_different_values_have_different_texts(one: str | None, other: str | None) -> None:
    assert (encode_value(one) == encode_value(other)) == (one == other)


@BUDGET
@given(st.text("x~%_.é", min_size=80, max_size=160), st.text("x~%_.é", min_size=80, max_size=160))
def test_different_long_values_have_different_texts(one: str, other: str) -> None:
    assert (encode_value(one) == encode_value(other)) == (one == other)


@BUDGET
@given(values, st.booleans())
def test_a_text_is_a_safe_short_piece_of_a_path(value: str | None, at_start: bool) -> None:
    text = encode_value(value, at_segment_start=at_start)

    assert 0 < len(text) <= VALUE_BYTES_MAX
    assert ALPHABET.issuperset(text)
    assert text[0] != "."
    assert text[0] != "_" or (value is None and not at_start)


@BUDGET
@given(st.text(st.sampled_from("aZ0._-%~4F2"), max_size=12))
def test_a_text_is_accepted_only_as_the_one_spelling_of_its_value(text: str) -> None:
    try:
        value = decode_value(text)
    except ValueError:
        return
    assert text in (encode_value(value), encode_value(value, at_segment_start=True))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("BTCUSDT", "BTCUSDT"),
        ("BTC-USD.P_1", "BTC-USD.P_1"),
        ("BTC/USDT", "BTC%2FUSDT"),
        ("../../etc", "%2E.%2F..%2Fetc"),
        (".", "%2E"),
        ("_hidden", "%5Fhidden"),
        ("a=b%c~d e", "a%3Db%25c%7Ed%20e"),
        ("😀", "%F0%9F%98%80"),
        ("", "~empty"),
        (None, "__HIVE_DEFAULT_PARTITION__"),
        ("__HIVE_DEFAULT_PARTITION__", "%5F_HIVE_DEFAULT_PARTITION__"),
        ("x" * 120, "x" * 120),
        ("x" * 300, "x" * 87 + "~0d4e2ca9e9cbced7a7a5380eb29e1a37"),
        ("é" * 300, "%C3%A9" * 14 + "~7250b66610f8b7dbd6f5e5426d2143bc"),
    ],
)
def test_the_spelling_that_layout_md_promises(value: str | None, text: str) -> None:
    assert encode_value(value) == text


def test_a_null_that_opens_a_segment_does_not_hide_its_folder() -> None:
    assert encode_value(None, at_segment_start=True) == "~null"
