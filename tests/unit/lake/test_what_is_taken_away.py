"""The promise of `verify`: whatever single thing is taken away from a lake, or is there twice, it says so and says where."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lake_builder import small_lake, tick_layout

from streamer.keys import DEAD_LETTERS, RAW
from streamer.lake.finding import Finding, FindingKind, Report
from streamer.lake.stored_file import decompressed
from streamer.lake.verify import verify
from streamer.layout import Format
from streamer.store.contract import Overwrite, Store
from streamer.store.memory import MemoryStore
from streamer.testing.manual_clock import ManualClock
from streamer.write.compression import compress

FORMATS: tuple[Format, ...] = ("parquet", "ndjson.zst", "ndjson.gz")
Lines = Callable[[list[bytes]], list[bytes]]


async def lake(format_: Format = "parquet") -> MemoryStore:
    store = MemoryStore(ManualClock())
    await small_lake(store, tick_layout(format_=format_))
    return store


async def keys(store: Store, prefix: str = "") -> list[str]:
    return [item.key async for item in store.list(prefix)]


def places(report: Report) -> str:
    return " ".join(f"{finding.place} {finding.detail}" for finding in report.findings)


def kinds(report: Report) -> set[object]:
    return {finding.kind for finding in report.findings}


@pytest.mark.parametrize("deep", [True, False])
@pytest.mark.parametrize("format_", FORMATS)
async def test_every_single_object_is_missed_when_it_is_deleted(format_: Format, deep: bool) -> None:
    for key in await keys(await lake(format_)):
        store = await lake(format_)
        await store.delete(key)

        report = await verify(store, deep=deep)

        assert not report.sound, key


async def test_the_finding_for_a_lost_sibling_names_the_batch_it_belonged_to() -> None:
    store = await lake()
    lost = next(key for key in await keys(store, f"{RAW}ticks/symbol=ETH%2FUSDT/") if "-00000000000000000010-" in key)
    await store.delete(lost)

    report = await verify(store)

    assert {(f.kind, f.topic, f.partition, f.start, f.end) for f in report.findings} == {
        (FindingKind.SIBLING_MISSING, "ticks", 0, 10, 25)
    }


@pytest.mark.parametrize("start", [0, 10, 25])
async def test_a_whole_batch_is_missed_the_first_and_the_last_included(start: int) -> None:
    store = await lake()
    for key in await keys(store):
        if f"-{start:020d}-" in key:
            await store.delete(key)

    report = await verify(store)

    assert [(f.kind, f.start) for f in report.findings] == [(FindingKind.MISSING_RANGE, start)]


async def test_a_lake_whose_files_are_all_gone_is_missed_by_its_position() -> None:
    store = await lake()
    for top in (RAW, DEAD_LETTERS):
        for key in await keys(store, top):
            await store.delete(key)

    report = await verify(store)

    assert [(f.kind, f.start, f.end) for f in report.findings] == [(FindingKind.MISSING_RANGE, 0, 40)]


def copies_of(key: str) -> Iterator[str]:
    folder, _, name = key.rpartition("/")
    yield f"{folder}/copy of {name}"
    yield f"{folder}/deeper/{name}"
    yield key.replace("-00000-", "-00001-")
    yield key.replace("/ticks/", "/others/")
    if key.startswith(RAW):
        yield f"{RAW}ticks/symbol=XRP/date=2026-01-09/{name}"
        yield key.replace(".parquet", "-l1.parquet").replace(".ndjson", "-l1.ndjson")
        yield key.replace("-00000000000000000000-", "-00000000000000000040-").replace(
            "-00000000000000000010.", "-00000000000000000050."
        )
    else:
        yield f"{folder[:-10]}2026-02-01/{name}"


@pytest.mark.parametrize("format_", FORMATS)
async def test_a_copy_of_any_file_is_noticed_wherever_it_is_put(format_: Format) -> None:
    first = await lake(format_)
    for key in [*await keys(first, RAW), *await keys(first, DEAD_LETTERS)]:
        for copy in copies_of(key):
            if copy == key:
                continue
            store = await lake(format_)
            original = await store.get(key)
            await store.put(copy, original.body, mode=Overwrite(), metadata=original.info.metadata or {})

            report = await verify(store)

            assert not report.sound, copy
            await store.delete(copy)


@pytest.mark.parametrize("format_", FORMATS)
async def test_a_copy_without_the_metadata_of_the_object_is_noticed_too(format_: Format) -> None:
    store = await lake(format_)
    for number, key in enumerate([*await keys(store, RAW), *await keys(store, DEAD_LETTERS)]):
        await store.put(f"{key.rpartition('/')[0]}/{number}.copy", (await store.get(key)).body, mode=Overwrite())

    report = await verify(store)

    copied = [f for f in report.findings if f.kind is FindingKind.COPIED_FILE]
    assert len(copied) == len(report.findings) == number + 1


def less_one(at: int) -> Callable[[pa.Table], pa.Table]:
    return lambda table: pa.concat_tables([table.slice(0, at), table.slice(at + 1)])


def one_twice(at: int) -> Callable[[pa.Table], pa.Table]:
    return lambda table: pa.concat_tables([table.slice(0, at + 1), table.slice(at)])


async def rewrite(store: Store, key: str, change: Callable[[pa.Table], pa.Table], *, honest: bool) -> None:
    """Change the rows of a file, and where `honest` what it says of itself too: a tool that rewrites."""
    stored = await store.get(key)
    metadata = dict(stored.info.metadata or {})
    if key.endswith(".parquet"):
        table = pq.read_table(pa.BufferReader(stored.body), partitioning=None)
        changed = change(table)
        if honest:
            metadata["rows"] = str(changed.num_rows)
            footer = {**(table.schema.metadata or {}), b"streamer.rows": metadata["rows"].encode()}
            changed = changed.replace_schema_metadata(footer)
        sink = pa.BufferOutputStream()
        pq.write_table(changed, sink)
        body = sink.getvalue().to_pybytes()
    else:
        suffix = "zst" if key.endswith("zst") else "gz"
        lines = decompressed(stored.body, suffix).splitlines(keepends=True)
        changed = change(pa.table({"line": pa.array(lines, pa.binary())}))
        if honest:
            metadata["rows"] = str(changed.num_rows)
        body = compress(changed["line"].to_pylist(), suffix)
    await store.put(key, body, mode=Overwrite(), metadata=metadata)


@pytest.mark.parametrize("honest", [False, True], ids=["rows changed", "rows and metadata changed"])
@pytest.mark.parametrize("change", [less_one, one_twice])
@pytest.mark.parametrize("format_", FORMATS)
async def test_every_single_row_and_dead_letter_is_missed_and_noticed_twice(
    format_: Format, change: Callable[[int], Callable[[pa.Table], pa.Table]], honest: bool
) -> None:
    pristine = await lake(format_)
    for key in [*await keys(pristine, RAW), *await keys(pristine, DEAD_LETTERS)]:
        original = await pristine.get(key)
        for at in range(int((original.info.metadata or {})["rows"])):
            await rewrite(pristine, key, change(at), honest=honest)

            report = await verify(pristine)

            assert not report.sound, (key, at)
            assert key in places(report) or f"[{original.info.metadata['start']}," in places(report)  # type: ignore[index]
            await pristine.put(key, original.body, mode=Overwrite(), metadata=original.info.metadata or {})
    assert (await verify(pristine)).sound


async def test_a_row_moved_from_one_sibling_to_another_is_in_the_wrong_folder() -> None:
    store = await lake()
    btc, eth = [key for key in await keys(store, RAW) if "-00000000000000000010." in key and "date=2026-01-03" in key][:2]
    row = pq.read_table(pa.BufferReader((await store.get(btc)).body), partitioning=None).slice(0, 1)
    await rewrite(store, btc, less_one(0), honest=True)
    await rewrite(store, eth, lambda table: pa.concat_tables([table, row.cast(table.schema)]).sort_by("_offset"), honest=True)

    report = await verify(store)

    assert [(f.kind, f.key) for f in report.findings] == [(FindingKind.PATH_WRONG, eth)]


async def test_an_exchanged_dead_letter_is_noticed_by_the_digest() -> None:
    store = await lake()
    key = (await keys(store, DEAD_LETTERS))[0]
    stored = await store.get(key)
    body = gzip.compress(gzip.decompress(stored.body).replace(b"a2V5", b"S0VZ"))
    await store.put(key, body, mode=Overwrite(), metadata=stored.info.metadata or {})

    report = await verify(store)

    assert [(f.kind, f.key) for f in report.findings] == [(FindingKind.METADATA_WRONG, key)]


@pytest.mark.parametrize("format_", FORMATS)
async def test_a_file_cut_short_or_emptied_cannot_be_read(format_: Format) -> None:
    for top in (RAW, DEAD_LETTERS):
        for length in (0, 1, 40, -1):
            store = await lake(format_)
            key = (await keys(store, top))[0]
            stored = await store.get(key)
            await store.put(key, stored.body[:length], mode=Overwrite(), metadata=stored.info.metadata or {})

            report = await verify(store)

            assert (FindingKind.UNREADABLE, key) in {(f.kind, f.key) for f in report.findings}, length


async def test_metadata_that_speaks_of_another_file_is_noticed() -> None:
    for name in (
        "stream",
        "topic",
        "partition",
        "lineage",
        "start",
        "end",
        "layout",
        "rows",
        "digest",
        "batch_rows",
        "batch_files",
    ):
        store = await lake()
        key = (await keys(store, RAW))[2]
        stored = await store.get(key)
        metadata = {**(stored.info.metadata or {}), name: "7"}
        await store.put(key, stored.body, mode=Overwrite(), metadata=metadata)

        report = await verify(store)

        assert FindingKind.METADATA_WRONG in kinds(report), name


async def test_a_stranger_is_a_note_and_no_damage() -> None:
    store = await lake()
    await store.put(f"{RAW}ticks/_SUCCESS", b"", mode=Overwrite())
    await store.put(f"{RAW}ticks/readme.txt", b"hello", mode=Overwrite())

    report = await verify(store)

    assert report.sound
    assert [note.key for note in report.notes] == [f"{RAW}ticks/_SUCCESS", f"{RAW}ticks/readme.txt"]


async def test_what_was_redriven_is_marked_beside_the_letters_and_is_no_stranger() -> None:
    store = await lake()
    await store.put(f"{DEAD_LETTERS}_redriven/ticks/date=2026-01-03/x.json", b"{}", mode=Overwrite())

    report = await verify(store)

    assert report.sound
    assert report.notes == ()


def test_a_finding_has_a_place_that_people_can_go_to() -> None:
    finding = Finding(FindingKind.MISSING_RANGE, "gone", topic="ticks", partition=3, lineage=1, start=5, end=9)

    assert finding.place == "ticks-3 lineage 1[5,9)"
