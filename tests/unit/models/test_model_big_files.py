"""Files of any size pass in bounded memory, and what nobody completes does not stay for ever."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from model_world import QuickClock, assert_whole, models_of, write

from streamer.store.big_objects import UNDER_WAY, StoredContent, put_content, read_content
from streamer.store.contract import Create, Part, Store, Upload
from streamer.store.memory import MemoryStore
from streamer.testing.failing_store import FailingStore
from streamer.testing.manual_clock import ManualClock
from streamer.workers import InlineWorkers

CONTENT = bytes(range(256)) * 10


class Counting(FailingStore):
    """How many parts and ranges were under way together."""

    now = most = 0

    async def put_part(self, upload: Upload, number: int, body: bytes) -> Part:
        with self:
            return await super().put_part(upload, number, body)

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        with self:
            return await super().get_range(key, start, length)

    def __enter__(self) -> None:
        self.now += 1
        self.most = max(self.most, self.now)

    def __exit__(self, *_: object) -> None:
        self.now -= 1


@pytest.mark.usefixtures("small_parts")
async def test_only_a_few_parts_are_under_way_in_either_direction(store: Store, tmp_path: Path) -> None:
    up, down = Counting(store, ManualClock()), Counting(store, ManualClock())

    await models_of(up).push(write(tmp_path / "net.pt", CONTENT))
    await models_of(down).pull("net", tmp_path / "out.pt")

    assert (tmp_path / "out.pt").read_bytes() == CONTENT
    assert 1 < up.most <= UNDER_WAY
    assert 1 < down.most <= UNDER_WAY
    await assert_whole(store, {"net": [CONTENT]}, suffix=".pt")


async def test_a_slow_reader_is_not_read_ahead_of_without_end() -> None:
    counting = Counting(MemoryStore(ManualClock()), ManualClock())
    await counting.put("big", CONTENT, mode=Create())
    asked: list[int] = []
    async for piece in read_content(StoredContent(counting, "big", len(CONTENT)), piece_bytes=100):
        asked.append(sum(call.operation == "get_range" for call in counting.calls) - len(asked))
        assert len(piece) in (100, 60)

    assert len(asked) == 26
    assert max(asked) <= UNDER_WAY


@pytest.mark.parametrize("size", [0, 1, 99, 100, 101, 200, 1000, 1001])
async def test_every_size_around_the_border_of_a_part_comes_back(store: Store, size: int, small_parts: int) -> None:
    import hashlib

    content = CONTENT[:size]
    memory = MemoryStore(ManualClock())
    await memory.put("source", content, mode=Create())

    await put_content(
        store, "target", StoredContent(memory, "source", size), sha256=hashlib.sha256(content).hexdigest(), mode=Create(),
        workers=InlineWorkers(),
    )  # fmt: skip

    assert (await store.get("target")).body == content
    pieces = [piece async for piece in read_content(StoredContent(store, "target", size))]
    assert b"".join(pieces) == content
    assert all(len(piece) <= small_parts for piece in pieces)


async def test_uploads_that_nobody_completes_are_aborted_after_a_day_and_no_earlier(store: Store) -> None:
    await store.begin_upload("models/versions/net_v1.pt", part_bytes=100)
    await store.begin_upload("raw/other", part_bytes=100)
    clock = QuickClock() if isinstance(store, MemoryStore) else None
    if clock is None:
        from streamer.clock import SystemClock

        start = SystemClock().now()
        clock = QuickClock(start=start)
    models = models_of(store, clock)

    assert (await models.recover()).uploads == 0
    await clock.sleep(25 * 3600)
    assert (await models.recover()).uploads == 1

    assert [upload.key async for upload in store.list_uploads()] == ["raw/other"]


@pytest.mark.skipif(sys.platform != "linux", reason="counts resident memory as Linux does")
def test_a_file_is_pushed_and_pulled_in_less_memory_than_it_has_bytes(tmp_path: Path) -> None:
    """In a process of its own, limited by nothing: the high-water mark of its resident memory tells."""
    (tmp_path / "lake").mkdir()
    with open(tmp_path / "net.bin", "wb") as file:
        os.truncate(file.fileno(), 128 << 20)
    script = textwrap.dedent("""
        import resource, sys
        from streamer import Lake
        folder = sys.argv[1]
        with Lake.open(folder + "/lake", cache=None) as lake:
            lake.models.names()
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            lake.models.push(folder + "/net.bin")
            lake.models.pull("net", folder + "/out.bin")
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """)
    run = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True, timeout=100)

    assert int(run.stdout) < 70 << 10
    assert (tmp_path / "out.bin").stat().st_size == 128 << 20
