"""Keys of documents: whatever the fields hold, the key stays in its folder, sorts by time, and says what it was made of."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.docstore.kinds import BUILT_IN, declared
from streamer.docstore.template import Template
from streamer.errors import Invalid
from streamer.store.limits import check_key
from streamer.write.partition_value import is_cut

AT = datetime(2024, 1, 15, 10, 5, 0, 7, tzinfo=UTC)
NASTY = st.one_of(
    st.sampled_from(
        ["../../etc", "/", "", "x" * 300, "é" * 150, "😀", ".", "..", "_x", "~empty", "a%2Fb", "a/b", "a\\b", "\x00", "CON"]
    ),
    st.text(st.characters(codec="utf-8"), max_size=200),
)
TIMES = st.datetimes(timezones=st.just(UTC))
KINDS = st.sampled_from(sorted(BUILT_IN))


STAMP = "2024-01-15T10-05-00-000007"


@pytest.mark.parametrize(
    ("kind", "fields", "key"),
    [
        ("ohlcv", {"symbol": "BTCUSDT", "timeframe": "5m"}, f"market-data/ohlcv/BTCUSDT/5m/2024/01/15/{STAMP}.json"),
        ("orderbook", {"symbol": "BTC/USDT"}, f"market-data/orderbook/BTC%2FUSDT/2024/01/15/10/05_{STAMP}.json"),
        ("portfolio", {"user_id": "../../etc"}, f"user-data/%2E.%2F..%2Fetc/portfolio/2024/01/15/{STAMP}.json"),
        ("log", {"log_type": "error"}, f"logs/error/2024/01/15/{STAMP}_app.log"),
        ("raw", {"source": "binance", "ticker": "BTC"}, f"raw/binance/BTC/2024-01-15/{STAMP}.json"),
        ("processed", {"computation": "features", "ticker": "BTC"}, f"processed/features/BTC/2024-01-15/{STAMP}.json"),
        ("report", {"ticker": "NVDA"}, "reports/NVDA/2024-01-15.pdf"),
    ],
)
def test_the_built_in_keys_are_as_promised(kind: str, fields: dict[str, str], key: str) -> None:
    template = BUILT_IN[kind]

    assert template.key(template.texts(fields), AT) == key


def fields_for(data: st.DataObject, template: Template) -> dict[str, str]:
    return {name: data.draw(st.sampled_from(choice) if choice else NASTY) for name, choice in template.fields.items()}


@given(KINDS, TIMES, st.integers(1, 1000), st.sampled_from(["", ".gz", ".zst"]), st.data())
def test_any_fields_make_a_key_of_its_folder_that_says_them_again(
    kind: str, at: datetime, version: int, packed: str, data: st.DataObject
) -> None:
    template = BUILT_IN[kind]
    fields = fields_for(data, template)
    version = version if template.keeps_versions else 1

    key = template.key(template.texts(fields), at, version, packed)

    check_key(key)
    assert key.count("/") == template.text.count("/")
    assert key.startswith(template.text.split("{")[0])
    place = template.parse(key)
    assert place is not None
    assert (place.version, place.packed) == (version, packed)
    assert place.at == (at if template.keeps_versions else at.replace(hour=0, minute=0, second=0, microsecond=0))
    assert {name: value for name, value in place.fields.items() if not is_cut(place.texts[name])} == {
        name: value for name, value in fields.items() if not is_cut(place.texts[name])
    }


@given(KINDS, TIMES, st.data())
def test_different_fields_have_different_keys(kind: str, at: datetime, data: st.DataObject) -> None:
    template = BUILT_IN[kind]
    one, two = fields_for(data, template), fields_for(data, template)

    assert (template.key(template.texts(one), at) == template.key(template.texts(two), at)) == (one == two)


@given(KINDS, TIMES, TIMES, st.data())
def test_keys_of_the_same_fields_sort_by_time(kind: str, one: datetime, two: datetime, data: st.DataObject) -> None:
    template = BUILT_IN[kind]
    texts = template.texts(fields_for(data, template))
    first, second = sorted((one, two))

    assert template.key(texts, first) <= template.key(texts, second)
    assert template.key(texts, second) > template.from_instant(texts, first)[:-1]
    assert template.key(texts, first).startswith(template.prefix(texts))


@given(
    KINDS, st.one_of(st.text(), st.lists(st.sampled_from(["raw", "a", "~empty", "2024-01-15", "..", "", "%2e"])).map("/".join))
)
def test_no_other_text_is_taken_for_a_key(kind: str, text: str) -> None:
    assert BUILT_IN[kind].parse(text) is None


@pytest.mark.parametrize(
    "key",
    [
        "reports/NVDA/2024-02-31.pdf",
        "reports/NVDA/2024-01-15.pdf\n",
        "reports/NV%44A/2024-01-15.pdf",
        "reports/NVDA/٢٠٢٤-01-15.pdf",
        "market-data/trades/BTC/2024/01/16/2024-01-15T10-05-00-000007.json",
        "market-data/trades/BTC/2024/01/15/2024-01-15T10-05-00-000007~1.json",
        "market-data/trades/BTC/2024/01/15/2024-01-15T10-05-00-000007~02.json",
        "processed/other/BTC/2024-01-15/2024-01-15T10-05-00-000007.json",
    ],
)
def test_a_key_that_only_looks_like_one_is_none(key: str) -> None:
    assert [template.parse(key) for template in BUILT_IN.values()] == [None] * len(BUILT_IN)


@pytest.mark.parametrize(
    "template",
    [
        "",
        "a.json",
        "/a/{date}.json",
        "a//{date}",
        "a/../{date}",
        "a/{date}/{symbol}.json",
        "a/{symbol}_{date}.json",
        "a/{Y}.json",
        "a/{d}/{Y}/{timestamp}.json",
        "a/{x}/{x}/{date}",
        "a/{symbol/{date}",
        "a b/{date}",
        "_a/{date}",
        "a/{at}/{date}",
        "a/.b/{date}",
        "a/x{symbol}/{date}.json",
        "a/{symbol}",
    ],
)
def test_what_is_no_template_is_refused(template: str) -> None:
    with pytest.raises(Invalid):
        declared(template)


@pytest.mark.parametrize(
    "folder", ["raw", "models", "bundles", "_streamer", "archive", "state", "dead-letters", "cache", "ticks"]
)
def test_documents_cannot_be_declared_where_the_lake_keeps_other_things(folder: str) -> None:
    with pytest.raises(Invalid):
        declared(f"{folder}/{{x}}/{{date}}.json")


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"ticker": "a", "more": "b"},
        {"symbol": "a"},
        {"ticker": None},
        {"ticker": True},
        {"ticker": b"a"},
        {"ticker": "\ud800"},
    ],
)
def test_fields_that_are_missing_unknown_or_no_text_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(Invalid):
        BUILT_IN["report"].texts(fields)


@pytest.mark.parametrize("template", ["{desk}/{date}.json", "{desk}/x/{timestamp}.json", "{desk:fx|archive}/{date}.json"])
def test_no_field_decides_the_first_folder_because_it_could_be_one_of_the_lakes_own(template: str) -> None:
    with pytest.raises(Invalid, match=r"could be any|below archive/"):
        declared(template)

    assert declared("{desk:fx|bonds}/{date}.json").fields == {"desk": ("fx", "bonds")}
    assert declared("{date}/{timestamp}.json").fields == {}
    assert declared("alerts/{desk}/{date}.json").fields == {"desk": ()}
