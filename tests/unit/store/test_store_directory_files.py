"""What a directory does beyond the contract: its files, its hidden ones, its locks, and a disk that fails."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import hashlib
import io
import os
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streamer.clock import SystemClock
from streamer.errors import Conflict, Denied, Invalid, NotFound, OutcomeUnknown, Unavailable
from streamer.store.contract import Create, NoSuchPlace, Overwrite, Replace
from streamer.store.directory import DirectoryStore
from streamer.testing.manual_clock import EPOCH, ManualClock
from streamer.workers import InlineWorkers


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "lake"


@pytest.fixture
async def store(root: Path) -> AsyncIterator[DirectoryStore]:
    store = DirectoryStore(root, ManualClock(), workers=InlineWorkers(), create=True)
    await store.prepare()
    yield store
    await store.close()


def files(root: Path) -> set[str]:
    """Every file, the hidden ones too, except the lock."""
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and path.name != "lock"}


def parquet(**footer: str) -> bytes:
    named = {f"streamer.{name}": value for name, value in footer.items()} | {"other": "x"}
    buffer = io.BytesIO()
    pq.write_table(pa.table({"price": [1.0]}).replace_schema_metadata(named), buffer)
    return buffer.getvalue()


async def keys_of(store: DirectoryStore, prefix: str = "") -> list[str]:
    return [info.key async for info in store.list(prefix)]


# Places.


async def test_a_directory_that_is_not_there_is_no_place(root: Path) -> None:
    store = DirectoryStore(root, ManualClock(), workers=InlineWorkers())

    with pytest.raises(NoSuchPlace, match="does not exist"):
        await store.prepare()
    assert not root.exists()
    with pytest.raises(Unavailable, match="gone"):
        await store.put("a", b"x", mode=Create())
    assert not root.exists()


async def test_a_lake_that_went_away_does_not_look_empty(root: Path, store: DirectoryStore) -> None:
    await store.put("a", b"x", mode=Create())
    root.rename(root.with_name("unmounted"))

    for ask in (store.get("a"), store.head("a"), keys_of(store), store.delete("a"), store.put("b", b"x", mode=Overwrite())):
        with pytest.raises(Unavailable, match="gone"):
            await ask


async def test_modes_are_not_wider_than_promised(root: Path, store: DirectoryStore) -> None:
    before = os.umask(0)
    try:
        await store.put("raw/a.ndjson.gz", b"x", mode=Create(), metadata={"rows": "1"})
    finally:
        os.umask(before)

    for path in root.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o750 if path.is_dir() else 0o640), path


# Metadata.


async def test_a_parquet_footer_that_says_it_needs_no_twin(root: Path, store: DirectoryStore) -> None:
    metadata = {"topic": "ticks", "batch_rows": "7"}
    await store.put("raw/a.parquet", parquet(**metadata), mode=Create(), metadata=metadata)

    assert files(root) == {"raw/a.parquet"}
    assert (await store.head("raw/a.parquet")).metadata == metadata
    assert (await store.get("raw/a.parquet")).info.metadata == metadata


async def test_a_footer_that_says_something_else_gets_a_twin(root: Path, store: DirectoryStore) -> None:
    await store.put("raw/a.parquet", parquet(topic="ticks"), mode=Create(), metadata={"topic": "signals"})

    assert files(root) == {"raw/a.parquet", "raw/.a.parquet.metadata.json"}
    assert (await store.head("raw/a.parquet")).metadata == {"topic": "signals"}


async def test_a_parquet_file_that_somebody_copied_in_is_read_by_its_footer(root: Path, store: DirectoryStore) -> None:
    (root / "raw").mkdir()
    (root / "raw" / "a.parquet").write_bytes(parquet(topic="ticks"))

    assert (await store.head("raw/a.parquet")).metadata == {"topic": "ticks"}


async def test_a_twin_goes_with_its_object_and_without_metadata_there_is_none(root: Path, store: DirectoryStore) -> None:
    await store.put("a", b"x", mode=Create())
    await store.put("d/b.gz", b"x", mode=Create(), metadata={"rows": "1"})
    assert files(root) == {"a", "d/b.gz", "d/.b.gz.metadata.json"}
    assert await keys_of(store) == ["a", "d/b.gz"]

    await store.delete("d/b.gz")
    assert files(root) == {"a"}
    assert not (root / "d").exists()


async def test_a_twin_that_was_spoiled_costs_the_metadata_and_nothing_else(root: Path, store: DirectoryStore) -> None:
    await store.put("a", b"x", mode=Create(), metadata={"rows": "1"})
    for spoiled in (b"", b"[]", b"{}", b'{"objects": 1}', b"\xff"):
        (root / ".a.metadata.json").write_bytes(spoiled)
        found = await store.get("a")
        assert (found.body, found.info.metadata) == (b"x", {})


# Hidden names.


@pytest.mark.parametrize("key", [".streamer/lock", ".streamer/tmp/x", ".a.metadata.json", "raw/.a.metadata.json"])
async def test_names_of_the_stores_own_are_refused(store: DirectoryStore, key: str) -> None:
    for ask in (store.put(key, b"x", mode=Overwrite()), store.get(key), store.delete(key)):
        with pytest.raises(Invalid, match="itself"):
            await ask


async def test_a_listing_shows_objects_only(root: Path, store: DirectoryStore) -> None:
    await store.put("raw/a", b"x", mode=Create(), metadata={"rows": "1"})
    (root / "raw" / "empty folder").mkdir()
    (root / "raw" / "loop").symlink_to(root)
    (root / "raw" / "nowhere").symlink_to(root / "nothing")
    os.mkfifo(root / "raw" / "pipe")
    (Path(os.fsdecode(os.fsencode(root / "raw") + b"/\xff"))).write_bytes(b"not text")

    assert await keys_of(store) == ["raw/a"]


async def test_names_that_a_file_system_cannot_hold_are_invalid(store: DirectoryStore) -> None:
    await store.put("n" * 255, b"x", mode=Create())
    for key in ("n" * 256, "é" * 128, f"{'n' * 256}/a"):
        with pytest.raises(Invalid, match="255"):
            await store.put(key, b"x", mode=Create())
    with pytest.raises(Invalid, match="metadata"):
        await store.put("m" * 250, b"x", mode=Create(), metadata={"rows": "1"})
    assert await keys_of(store) == ["n" * 255]


async def test_a_key_cannot_be_a_folder_too(store: DirectoryStore) -> None:
    await store.put("a/b", b"x", mode=Create())

    for key, mode in [("a", Create()), ("a", Overwrite()), ("a/b/c", Create()), ("a/b/c", Overwrite())]:
        with pytest.raises(Invalid, match="does not fit"):
            await store.put(key, b"y", mode=mode)
    assert await keys_of(store) == ["a/b"]


# ETags.


async def test_an_etag_is_the_contents_and_not_what_was_noted(root: Path, store: DirectoryStore) -> None:
    old = await store.put("p.json", b"1", mode=Create())
    status = (root / "p.json").stat()
    # Changed in place by somebody else, with size and time as they were: only reading it tells.
    (root / "p.json").write_bytes(b"2")
    os.utime(root / "p.json", ns=(status.st_atime_ns, status.st_mtime_ns))

    with pytest.raises(Conflict):
        await store.put("p.json", b"3", mode=Replace(old))
    assert (await store.get("p.json")).info.etag == f'"{hashlib.md5(b"2").hexdigest()}"'


async def test_a_file_without_a_note_is_listed_with_its_contents_etag(root: Path, store: DirectoryStore) -> None:
    (root / "copied").write_bytes(b"by hand")

    assert [info.etag async for info in store.list()] == [f'"{hashlib.md5(b"by hand").hexdigest()}"']
    await store.put("copied", b"by streamer", mode=Replace(f'"{hashlib.md5(b"by hand").hexdigest()}"'))


async def test_the_time_of_an_object_is_the_clocks(store: DirectoryStore) -> None:
    await store.put("a", b"x", mode=Create())

    assert (await store.head("a")).modified == EPOCH


# Disks and permissions.


@pytest.mark.parametrize(
    ("number", "expected", "hint"),
    [
        (errno.ENOSPC, Unavailable, "free space"),
        (errno.EDQUOT, Unavailable, "free space"),
        (errno.EROFS, Denied, "remount"),
        (errno.EACCES, Denied, "grant"),
        (errno.EMFILE, Unavailable, "ulimit"),
        (errno.EIO, Unavailable, "disk"),
    ],
)
async def test_a_disk_that_refuses_is_named_and_nothing_is_left(
    root: Path, store: DirectoryStore, monkeypatch: pytest.MonkeyPatch, number: int, expected: type[Exception], hint: str
) -> None:
    def refuse(_: int) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(expected) as refused:
            await store.put("raw/a", b"x", mode=Create(), metadata={"rows": "1"})
    assert hint in refused.value.hint
    assert type(refused.value) is expected
    assert files(root) == set()
    await store.put("raw/a", b"x", mode=Create())


async def test_a_folder_that_cannot_be_synced_is_an_unknown_outcome(
    store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.put("raw/a", b"1", mode=Create())
    real = os.fsync

    def refuse_folders(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, "no")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", refuse_folders)
    with pytest.raises(OutcomeUnknown):
        await store.put("raw/b", b"2", mode=Create())


async def test_a_full_disk_is_really_met(root: Path) -> None:
    # A file that may not grow is the nearest to a full disk that needs no root.
    script = (
        "import asyncio, resource, signal, sys\n"
        "from streamer.clock import SystemClock\nfrom streamer.store.contract import Create\n"
        "from streamer.errors import Unavailable\nfrom streamer.store.directory import DirectoryStore\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nresource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "async def main():\n"
        "    store = DirectoryStore(sys.argv[1], SystemClock(), create=True)\n"
        "    await store.prepare()\n"
        "    await store.put('small', b'x' * 1000, mode=Create())\n"
        "    try:\n        await store.put('big', b'x' * 5000, mode=Create())\n"
        "    except Unavailable as error:\n        print(error)\n"
        "    print([info.key async for info in store.list()])\n    await store.close()\n"
        "asyncio.run(main())\n"
    )
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", script, root], capture_output=True, text=True, check=True
    )

    assert "file system failed" in done.stdout
    assert "['small']" in done.stdout
    assert files(root) == {"small"}


# Locks and the temporary folder.


async def test_a_put_waits_while_another_process_holds_the_lock(root: Path, store: DirectoryStore) -> None:
    await store.put("a", b"1", mode=Create())
    clock = ManualClock()
    other = DirectoryStore(root, clock, workers=InlineWorkers())
    with open(root / ".streamer" / "lock", "rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        putting = asyncio.create_task(other.put("a", b"2", mode=Overwrite()))
        deleting = asyncio.create_task(other.delete("a"))
        await clock.advance(5)
        assert not putting.done()
        assert not deleting.done()
        assert (await other.get("a")).body == b"1"
        deleting.cancel()
        await asyncio.gather(deleting, return_exceptions=True)
    await clock.advance(1)

    await putting
    assert (await store.get("a")).body == b"2"


async def test_a_put_given_up_while_waiting_leaves_nothing(root: Path, store: DirectoryStore) -> None:
    await store.put("a", b"1", mode=Create())
    with open(root / ".streamer" / "lock", "rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        putting = asyncio.create_task(store.put("b", b"2", mode=Create(), metadata={"rows": "1"}))
        for _ in range(5):
            await asyncio.sleep(0)
        assert len(files(root)) == 2
        putting.cancel()
        await asyncio.gather(putting, return_exceptions=True)

    assert files(root) == {"a"}


async def test_a_lock_that_is_never_released_ends_with_the_deadline(root: Path, store: DirectoryStore) -> None:
    await store.put("a", b"1", mode=Create())
    other = DirectoryStore(root, SystemClock(), request_seconds=0.1)
    with open(root / ".streamer" / "lock", "rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(OutcomeUnknown, match=r"0\.1 s"):
            await other.put("a", b"2", mode=Overwrite())
    await other.close()
    assert (await store.get("a")).body == b"1"


_COUNTER = """
import asyncio, sys
from streamer.clock import SystemClock
from streamer.errors import Conflict
from streamer.store.contract import Create, Replace
from streamer.store.directory import DirectoryStore

async def main():
    store = DirectoryStore(sys.argv[1], SystemClock())
    won = 0
    for number in range(20):
        try:
            await store.put(f"race/{number}", sys.argv[2].encode(), mode=Create(), metadata={"writer": sys.argv[2]})
            won += 1
        except Conflict:
            pass
    for _ in range(15):
        while True:
            found = await store.get("counter")
            try:
                await store.put("counter", str(int(found.body) + 1).encode(), mode=Replace(found.info.etag))
                break
            except Conflict:
                continue
    await store.close()
    print(won)
asyncio.run(main())
"""


async def test_processes_that_race_lose_no_step_and_have_one_winner_each(root: Path, store: DirectoryStore) -> None:
    await store.put("counter", b"0", mode=Create())
    running = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", _COUNTER, root, name, stdout=asyncio.subprocess.PIPE)
        for name in ("one", "two", "three")
    ]

    won = [int((await process.communicate())[0]) for process in running]

    assert sum(won) == 20
    assert (await store.get("counter")).body == b"45"
    for number in range(20):
        found = await store.get(f"race/{number}")
        assert found.info.metadata == {"writer": found.body.decode()}
    assert not list((root / ".streamer" / "tmp").iterdir())


async def test_what_a_dead_process_left_is_removed_a_day_later(root: Path) -> None:
    clock = ManualClock()
    store = DirectoryStore(root, clock, workers=InlineWorkers(), create=True)
    await store.prepare()
    left = root / ".streamer" / "tmp" / "dead"
    left.parent.mkdir(parents=True, exist_ok=True)
    left.write_bytes(b"half")
    os.utime(left, (EPOCH.timestamp(), EPOCH.timestamp()))

    await store.prepare()
    assert left.exists()
    await clock.advance(timedelta(days=1, minutes=1).total_seconds())
    await store.prepare()
    assert not left.exists()


async def test_a_read_only_directory_can_be_read(root: Path, store: DirectoryStore) -> None:
    await store.put("raw/a", b"x", mode=Create(), metadata={"rows": "1"})
    reader = DirectoryStore(root, ManualClock(), workers=InlineWorkers())
    for path in (root / ".streamer" / "lock", root / ".streamer" / "tmp"):
        path.unlink() if path.is_file() else path.rmdir()
    (root / ".streamer").rmdir()

    await reader.prepare()
    assert (await reader.get("raw/a")).info.metadata == {"rows": "1"}
    assert await keys_of(reader) == ["raw/a"]
    with pytest.raises(NotFound):
        await reader.get("raw/b")
    assert not (root / ".streamer").exists()
