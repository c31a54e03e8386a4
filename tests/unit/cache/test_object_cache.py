"""Named caches: written through to the lake, found by other machines, computed once."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from streamer import AsyncLake, Lake
from streamer.cache.lake_cache import AsyncLakeCache
from streamer.errors import Invalid
from streamer.store.memory import MemoryStore
from streamer.testing.manual_clock import ManualClock


def caches(store: MemoryStore, clock: ManualClock, folder: Path) -> AsyncLakeCache:
    return AsyncLakeCache(store, clock, None, str(folder))


async def test_a_value_goes_through_to_the_lake_and_expires_everywhere(tmp_path: Path) -> None:
    clock = ManualClock()
    store = MemoryStore(clock)
    here, there = (caches(store, clock, tmp_path / name)("reports", ttl="1h") for name in "ab")
    await here.put("2026/01", b"report")

    assert list(store.bodies) == ["cache/reports/2026%2F01"]
    assert "expires_at" in (await store.head("cache/reports/2026%2F01")).metadata  # type: ignore[operator]
    assert await there.get("2026/01") == b"report"
    await store.delete("cache/reports/2026%2F01")
    assert await there.get("2026/01") == b"report"  # filled from the lake before

    await here.put("2026/01", b"report")
    await clock.advance(3601)
    assert await here.get("2026/01") is None
    assert await caches(store, clock, tmp_path / "c")("reports", ttl="1h").get("2026/01") is None


async def test_a_name_of_several_parts_is_folders_and_no_part_leads_elsewhere(tmp_path: Path) -> None:
    store = MemoryStore(ManualClock())
    reports = caches(store, ManualClock(), tmp_path)("reports")
    names = [("BTC/USDT", "2026-01-03", "report.json"), ("BTC", "USDT", "2026-01-03", "report.json"), ("../..", ""), "../.."]
    for number, name in enumerate(names):
        await reports.put(name, b"%d" % number)

    assert [await reports.get(name) for name in names] == [b"0", b"1", b"2", b"3"]
    assert sorted(store.bodies) == [
        "cache/reports/%2E.%2F..",
        "cache/reports/%2E.%2F../~empty",
        "cache/reports/BTC%2FUSDT/2026-01-03/report.json",
        "cache/reports/BTC/USDT/2026-01-03/report.json",
    ]
    with pytest.raises(Invalid, match="no name"):
        await reports.get(())


async def test_of_many_who_ask_one_computes(tmp_path: Path) -> None:
    store = MemoryStore(ManualClock())
    computed = []

    async def compute() -> bytes:
        computed.append(1)
        await asyncio.sleep(0)
        return b"value"

    async with await AsyncLake.open(str(tmp_path / "lake"), cache=tmp_path / "cache", create=True) as lake:
        found = await asyncio.gather(*(lake.cache("r").get_or_compute("k", compute) for _ in range(5)))

    assert found == [b"value"] * 5
    assert computed == [1]
    assert not store.bodies


def test_threads_share_one_flight_and_a_failure_is_the_callers_own(tmp_path: Path) -> None:
    computed: list[int] = []

    def fail() -> bytes:
        raise RuntimeError("no")

    def compute() -> bytes:
        computed.append(1)
        return b"value"

    with Lake.open(str(tmp_path / "lake"), cache=tmp_path / "cache", create=True) as lake:
        reports = lake.cache("reports", ttl=60)
        with pytest.raises(RuntimeError, match="no"):
            reports.get_or_compute("k", fail)
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda _: reports.get_or_compute("k", compute), range(4)))
        assert found == [b"value"] * 4
        assert computed == [1]
        reports.remove("k")
        assert reports.get("k") is None
        with pytest.raises(Invalid, match="is a str"):
            reports.get_or_compute("k", lambda: "text")  # type: ignore[arg-type, return-value]
        reports.put("k", b"1")
        lake.cache.clear()
        assert reports.get("k") == b"1"  # the lake still has it
        assert lake.cache.stats().hit_ratio == 0


@pytest.mark.parametrize("ttl", ["soon", 0, -1, "0s"])
def test_a_time_to_live_is_a_time(tmp_path: Path, ttl: object) -> None:
    with Lake.open(str(tmp_path / "lake"), cache=None, create=True) as lake, pytest.raises(Invalid):
        lake.cache("reports", ttl=ttl)  # type: ignore[arg-type]


def test_lakes_that_share_a_machine_do_not_share_values(tmp_path: Path) -> None:
    with (
        Lake.open(str(tmp_path / "one"), cache=tmp_path / "cache", create=True) as one,
        Lake.open(str(tmp_path / "two"), cache=tmp_path / "cache", create=True) as two,
    ):
        one.cache("reports").put("k", b"of one")

        assert two.cache("reports").get("k") is None
        two.cache("reports").put("k", b"of two")
        assert (one.cache("reports").get("k"), two.cache("reports").get("k")) == (b"of one", b"of two")


def test_two_times_to_live_of_one_cache_are_one_cache(tmp_path: Path) -> None:
    with Lake.open(str(tmp_path / "lake"), cache=tmp_path / "cache", create=True) as lake:
        lake.cache("reports", ttl=60).put("k", b"1")
        lake.cache("reports", ttl=90).put("k", b"2")

        assert lake.cache("reports", ttl=60).get("k") == b"2"
        lake.cache("reports", ttl=90).remove("k")
        assert lake.cache("reports", ttl=60).get("k") is None


def test_the_counts_are_shown_among_the_metrics_of_the_process(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    with Lake.open(str(tmp_path / "lake"), cache=tmp_path / "cache", create=True) as lake:
        lake.cache.export(registry)
        reports = lake.cache("reports")
        assert reports.get("k") is None
        reports.put("k", b"12345")
        assert reports.get("k") == b"12345"

        text = generate_latest(registry).decode()

    assert 'streamer_cache_reads_total{cache="values",outcome="memory"} 1.0' in text
    assert 'streamer_cache_reads_total{cache="values",outcome="miss"} 1.0' in text
    assert 'streamer_cache_memory_bytes{cache="values"} 5.0' in text
