"""Closing a day: what is written, that it is the raw rows, and that doing it again changes nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import orjson
import pytest

from streamer.archive.interval import Interval
from streamer.archive.settings import ArchivedStream, Recipe
from streamer.errors import Damaged
from streamer.keys import certificate_key, summary_key
from streamer.store.contract import Overwrite
from streamer.store.memory import MemoryStore
from streamer.testing.manual_clock import ManualClock
from tests.unit.archive.archive_lake import (
    DAY,
    SETTINGS,
    archived,
    at,
    certificate,
    close,
    everything_complete,
    layout_of,
    partition,
    tick,
)

NEXT = DAY + timedelta(days=1)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(ManualClock())


async def test_a_day_of_ticks_becomes_one_sorted_file_a_symbol_whatever_partition_and_order_they_came_in(
    store: MemoryStore,
) -> None:
    one, other = partition(store), partition(store, number=1)
    await one.batch([tick(30, price=3), tick(10, price=1), None, tick(5, "ETH/USDT"), tick(90_000, price=9)])
    await other.batch([tick(20, price=2), tick(10, price=1.5), tick(7, "삼성")])
    await everything_complete(one, other)

    closed = await close(store)

    btc = await archived(store, "ticks/BTC/2026-01-03.parquet")
    assert [(row["price"], row["_partition"], row["_offset"]) for row in btc.to_pylist()] == [
        (1.0, 0, 1),
        (1.5, 1, 1),
        (2.0, 1, 0),
        (3.0, 0, 0),
    ]
    assert set(btc["_topic"].to_pylist()) == {"ticks"}
    assert (closed.changed, closed.certificate.revision, closed.certificate.complete) == (True, 1, True)
    part = closed.certificate.streams["ticks"]
    assert (part.rows, part.dead_letters) == (6, 1)
    assert [(p.partition, p.ranges, p.rows, p.dead_letters) for p in part.partitions] == [
        (0, ((0, 5),), 3, 1),
        (1, ((0, 3),), 3, 0),
    ]
    keys = sorted(output.key for output in closed.certificate.outputs)
    assert keys == [
        summary_key(DAY),
        "ohlcv/%EC%82%BC%EC%84%B1/2026-01-03.parquet",
        "ohlcv/BTC/2026-01-03.parquet",
        "ohlcv/ETH%2FUSDT/2026-01-03.parquet",
        "ticks/%EC%82%BC%EC%84%B1/2026-01-03.parquet",
        "ticks/BTC/2026-01-03.parquet",
        "ticks/ETH%2FUSDT/2026-01-03.parquet",
    ]


async def test_bars_summary_signals_and_features_are_written(store: MemoryStore) -> None:
    ticks, signals, features = partition(store), partition(store, "signal"), partition(store, "feature")
    await ticks.batch([tick(0, price=2, quantity=1), tick(59, price=4, quantity=3), tick(180, price=3, quantity=None)])
    regimes = ["calm", "calm", "storm", "calm"]
    await signals.batch(
        [{"symbol": "BTC", "timestamp": at(9 - n), "regime_name": r, "stress": n / 2} for n, r in enumerate(regimes)]
    )
    await features.batch([{"symbol": "BTC", "timestamp": at(n), "features": {"a": 1.0 * n, "b": None}} for n in (3, 1)])
    await everything_complete(ticks, signals, features)

    await close(store)

    bars = (await archived(store, "ohlcv/BTC/2026-01-03.parquet")).to_pylist()
    assert [
        (b["timestamp"], b["open"], b["high"], b["low"], b["close"], b["volume"], b["trades"], b["vwap"]) for b in bars
    ] == [
        (at(0), 2, 4, 2, 4, 4, 2, 3.5),
        (at(180), 3, 3, 3, 3, 0, 1, None),
    ]
    found = (await archived(store, "signals/2026-01-03/regime_signals.parquet")).to_pylist()
    assert [row["timestamp"] for row in found] == [at(6), at(7), at(8), at(9)]
    rows = (await archived(store, "features/BTC/2026-01-03.parquet")).to_pylist()
    assert [row["features"] for row in rows] == [[("a", 1.0), ("b", None)], [("a", 3.0), ("b", None)]]
    summary = orjson.loads((await store.get(summary_key(DAY))).body)["streams"]
    assert summary["ticks"]["symbols"]["BTC"] == {
        "rows": 3,
        "first": at(0).isoformat(),
        "last": at(180).isoformat(),
        "gap_count": 1,
        "gap_seconds": 121.0,
        "gaps": [{"from": at(59).isoformat(), "to": at(180).isoformat(), "seconds": 121.0}],
        "open": 2.0,
        "high": 4.0,
        "low": 2.0,
        "close": 3.0,
        "volume": 4.0,
        "trades": 3,
        "vwap": 3.5,
    }
    assert summary["signals"]["regimes"] == {"calm": 3, "storm": 1}
    assert summary["signals"]["transitions"] == 2
    assert summary["signals"]["stress"] == {"mean": 0.75, "max": 1.5}
    assert summary["features"]["symbols"]["BTC"]["rows"] == 2


async def test_closing_again_writes_nothing(store: MemoryStore) -> None:
    ticks = partition(store)
    await ticks.batch([tick(n, "AB"[n % 2]) for n in range(20)])
    await everything_complete(ticks)
    await close(store)
    before = {key: body for key, body in store.bodies.items() if "lease" not in key}

    again = await close(store)

    assert not again.changed
    assert {key: body for key, body in store.bodies.items() if "lease" not in key} == before


@pytest.mark.parametrize("path", ["date={date}", "symbol={symbol}", "", "date={date}/hour={hour}", "side={side}/%Y/%m"])
@pytest.mark.parametrize("format_", ["parquet", "ndjson.zst"])
async def test_any_path_and_format_make_the_same_archive(path: str, format_: str) -> None:
    bodies = []
    for layout in (layout_of("tick"), layout_of("tick", path=path, format=format_)):
        store = MemoryStore(ManualClock())
        ticks = partition(store, layout=layout)
        await ticks.batch([tick(86_399 - n * 3600 if n % 3 else 100 + n, "ABC"[n % 3], price=n / 4) for n in range(24)])
        await ticks.batch([tick(n, "ABC"[n % 3], day=NEXT if n % 2 else DAY) for n in range(24)])
        await everything_complete(ticks)
        await close(store)
        bodies.append({key: body for key, body in store.bodies.items() if key.startswith(("ticks/", "ohlcv/", "daily-"))})

    assert len(bodies[0]) == 7
    assert bodies[0] == bodies[1]


async def test_the_bytes_do_not_depend_on_the_budget_or_on_how_batches_were_cut() -> None:
    rows = [tick((n * 7919) % 86_400, "AB"[n % 2], price=n / 7, quantity=n / 3) for n in range(30_000)]
    found = []
    for size, budget in ((30_000, 64 << 20), (7_000, 1 << 20)):
        store = MemoryStore(ManualClock())
        ticks = partition(store)
        for start in range(0, len(rows), size):
            await ticks.batch(rows[start : start + size])
        await everything_complete(ticks)
        await close(store, settings=replace(SETTINGS, budget_bytes=budget))
        found.append({key: body for key, body in store.bodies.items() if key.startswith(("ticks/", "ohlcv/", "daily-"))})

    assert found[0] == found[1]


async def test_a_day_with_a_hole_is_not_certified(store: MemoryStore) -> None:
    ticks = partition(store)
    for n in range(3):
        await ticks.batch([tick(n), tick(n, "ETH")])
    for key in [key for key in store.bodies if "-00000000000000000002-" in key]:
        await store.delete(key)

    with pytest.raises(Damaged, match="offsets"):
        await close(store)

    assert certificate_key(DAY) not in store.bodies


async def test_a_file_that_is_not_what_it_says_is_not_certified(store: MemoryStore) -> None:
    ticks = partition(store)
    await ticks.batch([tick(1)])
    await ticks.batch([tick(2)])
    first, second = sorted(key for key in store.bodies if key.startswith("raw/"))
    await store.put(second, store.bodies[first], mode=Overwrite(), metadata=(await store.head(first)).metadata or {})

    with pytest.raises(Damaged):
        await close(store)

    assert certificate_key(DAY) not in store.bodies


async def test_rows_that_are_not_committed_are_not_in_the_archive(store: MemoryStore) -> None:
    ticks = partition(store)
    await ticks.batch([tick(1)])
    await ticks.batch([tick(2)], commit=False)

    closed = await close(store)

    assert closed.certificate.streams["ticks"].rows == 1
    assert not closed.certificate.complete


async def test_a_lagging_partition_keeps_the_day_incomplete_and_its_end_makes_it_complete_without_a_new_revision(
    store: MemoryStore,
) -> None:
    one, other = partition(store), partition(store, number=1)
    await one.batch([tick(1)])
    await other.take()
    await everything_complete(one)

    early = await close(store)
    await everything_complete(other)
    late = await close(store)

    assert (early.certificate.complete, late.certificate.complete) == (False, True)
    assert (late.changed, late.certificate.revision) == (False, 1)


async def test_one_stream_by_hand_leaves_what_is_certified_of_the_others(store: MemoryStore) -> None:
    ticks, signals = partition(store), partition(store, "signal")
    await ticks.batch([tick(1)])
    await signals.batch([{"timestamp": at(1), "regime": "1"}])
    await close(store, streams=["ticks"])
    assert set((await certificate(store)).streams) == {"ticks"}

    await close(store, streams=["signals"])

    now = await certificate(store)
    assert (now.revision, set(now.streams)) == (2, {"ticks", "signals"})
    assert set(orjson.loads((await store.get(summary_key(DAY))).body)["streams"]) == {"ticks", "signals"}
    assert (await archived(store, "ticks/BTC/2026-01-03.parquet")).num_rows == 1


async def test_a_second_stream_of_a_schema_has_keys_of_its_own(store: MemoryStore) -> None:
    ticks = partition(store)
    trades = partition(store, topic="trades", layout=layout_of("tick", stream="trades"))
    await ticks.batch([tick(1)])
    await trades.batch([tick(2)])
    settings = replace(SETTINGS, streams=(*SETTINGS.streams, ArchivedStream("trades", "trades", "tick")))

    await close(store, settings=settings)

    assert (await archived(store, "ticks/BTC/2026-01-03.parquet")).num_rows == 1
    assert (await archived(store, "streams/trades/ticks/BTC/2026-01-03.parquet")).num_rows == 1


async def test_a_day_without_data_has_a_certificate_too(store: MemoryStore) -> None:
    ticks = partition(store)
    await ticks.batch([tick(1)])
    empty = date(2026, 1, 1)

    closed = await close(store, empty)

    assert [(part.rows, part.outputs) for part in closed.certificate.streams.values()] == [(0, ())] * 3


async def test_columns_declared_in_the_middle_of_a_day_are_null_before(store: MemoryStore) -> None:
    ticks = partition(store)
    await ticks.batch([tick(1)])
    newer = partition(store, layout=layout_of("tick", columns={"bid": "float64"}))
    await newer.batch([{**tick(2), "bid": 7.0}])

    await close(store)

    rows = (await archived(store, "ticks/BTC/2026-01-03.parquet")).to_pylist()
    assert [row["bid"] for row in rows] == [None, 7.0]


async def test_decimals_stay_exact(store: MemoryStore) -> None:
    layout = layout_of("tick", types={"price": "decimal128(38,18)", "quantity": "decimal128(38,18)"})
    ticks = partition(store, layout=layout)
    from decimal import Decimal

    tiny = Decimal("0.000000000000000001")
    await ticks.batch([{**tick(1), "price": 1 + tiny, "quantity": tiny}, {**tick(2), "price": Decimal(1), "quantity": tiny}])

    await close(store, settings=replace(SETTINGS, recipe=Recipe((Interval(60), Interval(3600)), fill=True)))

    bars = (await archived(store, "ohlcv/BTC/2026-01-03.parquet")).to_pylist()
    assert [(b["interval"], b["high"], b["volume"]) for b in bars] == [("1m", 1 + tiny, 2 * tiny), ("1h", 1 + tiny, 2 * tiny)]
