"""What is put is got until it expires; what is torn, altered or of another version is a miss."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.cache.disk import DiskTier
from streamer.cache.memory import MemoryTier
from streamer.cache.tiers import TieredCache
from streamer.cache.versions import CachedVersions
from streamer.store.contract import Overwrite
from streamer.store.memory import MemoryStore
from streamer.testing.manual_clock import ManualClock


def tiers(folder: Path, clock: ManualClock, ttl_seconds: float | None = None) -> TieredCache:
    return TieredCache(MemoryTier(4000), DiskTier(folder, 100_000), clock, ttl_seconds=ttl_seconds)


async def test_a_value_is_found_in_memory_then_on_the_disk_and_counted(tmp_path: Path) -> None:
    clock = ManualClock()
    first, second = tiers(tmp_path, clock), tiers(tmp_path, clock)

    assert await first.get("a") is None
    await first.put("a", b"1")
    assert await first.get("a") == b"1"
    assert await second.get("a") == b"1"  # another process
    assert await second.get("a") == b"1"

    stats = await second.stats()
    assert (stats.memory_hits, stats.disk_hits, stats.misses) == (1, 1, 0)
    assert (await first.stats()).hit_ratio == 0.5
    await first.clear()
    assert await first.get("a") is None
    assert await tiers(tmp_path, clock).get("a") is None


async def test_an_expired_value_is_a_miss_in_both_tiers(tmp_path: Path) -> None:
    clock = ManualClock()
    cache = tiers(tmp_path, clock, ttl_seconds=60)
    await cache.put("a", b"1")
    assert await tiers(tmp_path, clock, ttl_seconds=60).get("a") == b"1"

    await clock.advance(61)

    assert await cache.get("a") is None
    assert await tiers(tmp_path, clock).get("a") is None


@given(at=st.integers(0, 200), bit=st.integers(0, 7), cut=st.booleans())
def test_a_torn_or_altered_entry_is_a_miss_and_goes_away(
    tmp_path_factory: pytest.TempPathFactory, at: int, bit: int, cut: bool
) -> None:
    folder = tmp_path_factory.mktemp("cache")
    disk = DiskTier(folder, 100_000)
    disk.put("name", b"v" * 100, None, "token")
    [path] = [path for path in folder.rglob("*") if path.is_file()]
    content = bytearray(path.read_bytes())
    at %= len(content)
    if cut:
        del content[at:]
    else:
        content[at] ^= 1 << bit
    path.write_bytes(content)

    assert disk.get("name", 0) is None
    assert not path.exists()


def test_the_disk_keeps_to_its_budget_and_what_was_used_last(tmp_path: Path) -> None:
    disk = DiskTier(tmp_path, 10_000)
    for number in range(50):
        disk.put(f"n{number}", b"x" * 1000, None, f"t{number}")

    assert 0 < disk.size_bytes() <= 11_100
    assert disk.get("n49", 0) == b"x" * 1000
    disk.put("huge", b"x" * 9000, None, "huge")
    assert disk.get("huge", 0) is None


def test_memory_keeps_to_its_budget() -> None:
    memory = MemoryTier(1000)
    for number in range(10):
        memory.put(f"n{number}", b"x" * 200, None)

    assert memory.size_bytes == 1000
    assert memory.get("n4", 0) is None
    assert memory.get("n9", 0) == b"x" * 200
    memory.put("big", b"x" * 300, None)
    assert memory.get("big", 0) is None


def test_a_cache_that_cannot_be_written_is_empty(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    disk = DiskTier(tmp_path / "file" / "below", 1000)

    disk.put("a", b"1", None, "t")

    assert disk.get("a", 0) is None
    assert disk.size_bytes() == 0


async def test_a_changed_object_is_never_served_stale(tmp_path: Path) -> None:
    clock = ManualClock()
    store = MemoryStore(clock)
    versions = CachedVersions(store, tiers(tmp_path, clock))

    for body in (b"one", b"two"):
        await store.put("k", body, mode=Overwrite())
        info = await store.head("k")
        assert await versions.read(info) == body
        assert await versions.read_range(info, 1, 2) == body[1:]
    await store.delete("k")
    assert await versions.read(info) == b"two"  # the version that was listed


async def test_what_changed_behind_a_listing_is_not_kept_as_what_was_listed(tmp_path: Path) -> None:
    clock = ManualClock()
    store = MemoryStore(clock)
    cache = tiers(tmp_path, clock)
    await store.put("k", b"one", mode=Overwrite())
    info = await store.head("k")
    await store.put("k", b"two", mode=Overwrite())

    await CachedVersions(store, cache).read(info)

    assert (await cache.stats()).memory_bytes == 0


def _fill(folder: str, number: int) -> None:
    disk = DiskTier(folder, 50_000)
    for step in range(100):
        disk.put(f"n{step % 10}", bytes([step % 10]) * 1000, None, f"{number}-{step}")
        found = disk.get(f"n{(step * 7) % 10}", 0)
        assert found is None or found == bytes([(step * 7) % 10]) * 1000


def test_processes_share_one_directory(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_fill, args=(str(tmp_path), number)) for number in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)

    assert [process.exitcode for process in processes] == [0, 0]
    assert DiskTier(tmp_path, 50_000).get("n3", 0) == b"\x03" * 1000


async def test_a_value_from_the_disk_expires_in_memory_when_it_expires_there(tmp_path: Path) -> None:
    clock = ManualClock()
    await tiers(tmp_path, clock).put("a", b"1", expires=clock.now().timestamp() + 10)
    other = tiers(tmp_path, clock)
    assert await other.get("a") == b"1"  # from the disk, and now in its memory too

    await clock.advance(11)

    assert await other.get("a") is None
