"""The demo's market: the same for the same seed, and told so that the real decoder understands exactly what it should."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import pytest

from streamer.config import load
from streamer.config.stream_layouts import streams
from streamer.decode.decoder import make_decoder
from streamer.embedded.demo_folder import config_text
from streamer.embedded.market import BAD_EVERY, FEATURES, SIGNALS, TICKS, TOPICS, Market, Message
from streamer.layout import Layout
from streamer.records import DeadLetterReason, RecordChunk, TopicPartition

START = datetime(2026, 1, 3, 23, 59, 55, tzinfo=UTC)


def messages(seed: int, count: int, rate: float = 100.0) -> list[Message]:
    return [message for _, message in islice(Market(seed, START, rate).messages(), count)]


@pytest.fixture(scope="module")
def layouts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Layout]:
    folder = tmp_path_factory.mktemp("demo")
    config = folder / "streamer.toml"
    config.write_text(config_text("localhost:9092", folder / "lake"))
    return {stream.topic: stream.layout for stream in streams(load(config, environment={}))}


def test_a_seed_decides_every_byte() -> None:
    assert messages(7, 2000) == messages(7, 2000)
    assert messages(7, 2000) != messages(8, 2000)


def test_messages_are_due_one_after_the_other_at_the_rate_asked_for() -> None:
    due = [(at, m) for at, m in islice(Market(7, START, 250.0).messages(), 3000)]

    times = [at for at, _ in due]
    assert times == sorted(times)
    ticks = [at for at, m in due if m.topic == TICKS]
    assert ticks[249] == pytest.approx(1.0)


@pytest.mark.parametrize("seed", [0, 7, 11, 1234])
@pytest.mark.parametrize("topic", list(TOPICS))
def test_the_real_decoder_makes_rows_of_the_good_ones_and_dead_letters_of_the_bad_ones(
    seed: int, topic: str, layouts: dict[str, Layout]
) -> None:
    sent = [m for m in messages(seed, 4000) if m.topic == topic]
    count = len(sent)
    chunk = RecordChunk(
        TopicPartition(topic, 0), 0, count, [*range(count)], [0] * count, [m.key for m in sent], [m.value for m in sent]
    )

    decoded = make_decoder(layouts[topic]).decode(chunk)

    good = [(offset, m.symbol) for offset, m in enumerate(sent) if m.refusal is None]
    assert good == list(zip(decoded.table["_offset"].to_pylist(), decoded.table["symbol"].to_pylist(), strict=True))
    bad = [(offset, m.refusal) for offset, m in enumerate(sent) if m.refusal is not None]
    assert bad == [(letter.offset, letter.reason) for letter in decoded.dead_letters]


def test_the_aliases_bring_every_exchange_to_the_same_columns(layouts: dict[str, Layout]) -> None:
    sent = [m for m in messages(7, 1500) if m.topic == TICKS and m.refusal is None]
    count = len(sent)
    chunk = RecordChunk(
        TopicPartition(TICKS, 0), 0, count, [*range(count)], [0] * count, [None] * count, [m.value for m in sent]
    )

    table = make_decoder(layouts[TICKS]).decode(chunk).table

    assert set(table["exchange"].to_pylist()) == {"binance", "coinbase", "kraken"}
    for name in ("price", "quantity", "trade_id", "timestamp"):
        assert table[name].null_count == 0, name


def test_every_way_to_be_wrong_is_seen_within_a_thousand_ticks() -> None:
    ticks = [m for m in messages(7, 1400) if m.topic == TICKS][: 5 * BAD_EVERY]

    reasons = [m.refusal for m in ticks if m.refusal is not None]
    assert sorted(reasons) == sorted(set(reasons))
    assert DeadLetterReason.TOMBSTONE in reasons
    assert len(reasons) == 5


def test_all_symbols_are_in_all_topics_and_one_of_them_needs_encoding_in_a_path() -> None:
    sent = messages(7, 2000)
    for topic in (TICKS, SIGNALS, FEATURES):
        assert {m.symbol for m in sent if m.topic == topic} == set(Market(7, START, 100.0).symbols)
    assert any("/" in symbol for symbol in Market(7, START, 100.0).symbols)


def test_prices_of_one_asset_on_two_exchanges_move_together() -> None:
    market = Market(7, START, 100.0)
    list(islice(market.messages(), 20_000))
    prices = {i.symbol: i.price for i in market._instruments}

    assert 0.9 < prices["BTCUSDT"] / prices["BTC/USDT"] < 1.1
    assert all(price > 0 for price in prices.values())


def test_the_configuration_shown_to_newcomers_is_accepted_at_awkward_places(tmp_path: Path) -> None:
    lake = tmp_path / 'a "lake" 🌊 with spaces\\'
    config = tmp_path / "streamer.toml"
    config.write_text(config_text("127.0.0.1:9092", lake), encoding="utf-8")

    assert load(config, environment={}).lake.url == str(lake)
