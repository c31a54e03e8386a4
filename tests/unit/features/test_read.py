"""What a reader gets: rows, arrays, offsets, older versions; and where there is nothing, or it is damaged, or old."""

from __future__ import annotations

import asyncio
import builtins
import math
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import ipc

from streamer import Lake
from streamer.errors import Damaged, Invalid, Stale
from streamer.features.history import METADATA_KEY, FeatureHistory
from streamer.features.merged import MergedHistory
from streamer.features.read import read_history
from streamer.features.rows import packed
from streamer.features.snapshots import Snapshots
from streamer.features.window import Frozen
from streamer.keys import arrow_twin_key, kept_prefix
from streamer.layout import Layout
from streamer.records import TopicPartition
from streamer.schemas import columns_of
from streamer.store.contract import Overwrite
from streamer.store.directory import DirectoryStore
from streamer.store.memory import MemoryStore
from streamer.streams import HistorySpec, Stream
from streamer.testing.manual_clock import EPOCH, ManualClock
from streamer.workers import InlineWorkers

SPEC = HistorySpec(window=3, arrow=True)
STREAM = Stream("features", "features", Layout("features", "feature", columns_of("feature"), "date={date}"), history=SPEC)


def row(number: int, partition: int = 0, **values: Any) -> Any:
    time = f"2024-01-01T00:00:{number:02d}.000000Z"
    return packed({"timestamp": time, "partition": partition, "offset": number, "rsi": number + 0.5, **values}, {})


class Saver:
    """A daemon that saves whatever it is told."""

    def __init__(self, store: Any, clock: ManualClock) -> None:
        self.store, self.clock = store, clock
        self._snapshots = Snapshots(store, clock, InlineWorkers())
        self._merged = MergedHistory(store, STREAM, clock, InlineWorkers())

    async def save(self, partition: int, offset: int, symbols: dict[str, list[Any]]) -> None:
        source = TopicPartition("features", partition)
        frozen = Frozen(0, offset, SPEC.window, tuple(symbols.items()))
        assert await self._snapshots.save(source, "features", frozen, self.clock.now())
        await self._merged.merge()

    async def read(self, **options: Any) -> FeatureHistory:
        return await read_history(self.store, self.clock, **options)


Story = Callable[[Saver], Awaitable[None]]


def tell(story: Story) -> None:
    async def main() -> None:
        clock = ManualClock()
        await story(Saver(MemoryStore(clock), clock))

    asyncio.run(main())


async def two_partitions(saver: Saver) -> None:
    await saver.save(0, 10, {"A": [row(1), row(2), row(5)], "B": [row(4, z=1.0)]})
    await saver.save(1, 20, {"A": [row(3, 1), row(6, 1)], "C": [row(7, 1, side="x", count=3)]})


def test_rows_are_flat_dictionaries_with_aware_times() -> None:
    async def story(saver: Saver) -> None:
        await two_partitions(saver)
        history = await saver.read()
        assert history["B"][-1] == {
            "timestamp": datetime(2024, 1, 1, 0, 0, 4, tzinfo=UTC),
            "partition": 0,
            "offset": 4,
            "rsi": 4.5,
            "z": 1.0,
        }
        assert history.offsets == {"features": {0: 10, 1: 20}}
        assert list(history) == ["A", "B", "C"]
        assert history.features == ("rsi", "z")
        assert "A" in history
        assert "Z" not in history

    tell(story)


def test_a_symbol_in_two_partitions_is_in_the_order_of_time_and_keeps_the_last_rows() -> None:
    async def story(saver: Saver) -> None:
        await two_partitions(saver)
        history = await saver.read()
        assert [(each["partition"], each["offset"]) for each in history["A"]] == [(1, 3), (0, 5), (1, 6)]

    tell(story)


def test_a_smaller_window_some_symbols_and_deques() -> None:
    async def story(saver: Saver) -> None:
        await two_partitions(saver)
        history = await saver.read(window=2, symbols=["A", "Z"])
        assert list(history) == ["A"]
        assert [each["offset"] for each in history.deques()["A"]] == [5, 6]
        assert history.deques()["A"].maxlen == 2
        with pytest.raises(Invalid):
            await saver.read(window=0)
        with pytest.raises(Invalid):
            await saver.read(symbols="BTCUSDT")

    tell(story)


def test_as_an_array_the_newest_row_is_last_and_what_is_not_there_is_nan() -> None:
    async def story(saver: Saver) -> None:
        await two_partitions(saver)
        values = (await saver.read()).to_numpy(["z", "rsi"])
        assert values.shape == (3, 3, 2)
        assert values[0, :, 1].tolist() == [3.5, 5.5, 6.5]
        assert values[1, 2].tolist() == [1.0, 4.5]
        assert all(math.isnan(value) for value in values[1, :2].ravel())
        assert (await saver.read()).to_numpy(["count"])[2, -1, 0] == 3
        with pytest.raises(Invalid, match="no row has"):
            (await saver.read()).to_numpy(["nothing"])

    tell(story)


def test_as_tables() -> None:
    async def story(saver: Saver) -> None:
        await two_partitions(saver)
        history = await saver.read()
        table = history.to_arrow()
        assert table.schema.field("timestamp").type == pa.timestamp("us", "UTC")
        assert table["rsi"].to_pylist() == [3.5, 5.5, 6.5, 4.5, 7.5]
        assert table["z"].to_pylist() == [None, None, None, 1.0, None]
        assert table["count"].to_pylist() == [None] * 4 + [3]
        frame = history.to_pandas()
        assert frame[frame["symbol"] == "A"]["rsi"].tolist() == [3.5, 5.5, 6.5]
        assert (await saver.read(symbols=[])).to_arrow().num_rows == 0

    tell(story)


def test_the_arrow_twin_has_the_same_content() -> None:
    async def story(saver: Saver) -> None:
        await two_partitions(saver)
        body = (await saver.store.get(arrow_twin_key(SPEC.document))).body
        twin = ipc.open_file(pa.BufferReader(body)).read_all()
        table = (await saver.read()).to_arrow()
        assert twin.equals(table)
        assert twin.schema.metadata[METADATA_KEY] == table.schema.metadata[METADATA_KEY]

    tell(story)


@pytest.mark.parametrize(("name", "method"), [("numpy", "to_numpy"), ("pandas", "to_pandas")])
def test_where_a_library_is_missing_the_error_says_so(name: str, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    real = importlib.import_module
    monkeypatch.setattr(
        importlib, "import_module", lambda wanted: real(wanted) if wanted != name else builtins.__import__("no_such_thing")
    )
    with pytest.raises(Invalid, match=f"{method} needs {name}"):
        getattr(FeatureHistory({}, None, 3, lambda: EPOCH), method)()


def test_where_there_is_none_it_is_empty() -> None:
    async def story(saver: Saver) -> None:
        history = await saver.read(max_age=1)
        assert (len(history), history.offsets, history.as_of, history.age) == (0, {}, None, None)
        assert history.to_arrow().num_rows == 0
        assert history.to_numpy().shape == (0, 20, 0)

    tell(story)


def test_where_it_is_damaged_the_newest_older_one_is_taken_with_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    async def story(saver: Saver) -> None:
        await saver.save(0, 1, {"A": [row(0)]})
        await saver.clock.advance(10)
        await saver.save(0, 2, {"A": [row(0), row(1)]})
        await saver.clock.advance(10)
        body = saver.store.bodies[SPEC.document]
        newest = max(key for key in saver.store.bodies if key.startswith(kept_prefix(SPEC.document)))
        for key in (SPEC.document, newest):
            await saver.store.put(key, body[:-9], mode=Overwrite())
        assert (await saver.read()).offsets == {"features": {0: 1}}
        for key in list(saver.store.bodies):
            if key.startswith(kept_prefix(SPEC.document)):
                await saver.store.delete(key)
        with pytest.raises(Damaged):
            await saver.read()

    tell(story)
    said = capsys.readouterr()
    assert "history_damaged" in said.out + said.err


def test_it_can_be_read_as_it_was() -> None:
    async def story(saver: Saver) -> None:
        for offset in range(1, 6):
            await saver.save(0, offset, {"A": [row(offset - 1)]})
            await saver.clock.advance(60)
        now = saver.clock.now()
        assert (await saver.read(as_of=now)).offsets == {"features": {0: 5}}
        assert (await saver.read(as_of=now - timedelta(seconds=130))).offsets == {"features": {0: 3}}
        assert (await saver.read(as_of=(now - timedelta(seconds=130)).replace(tzinfo=None))).offsets == {"features": {0: 3}}
        assert (await saver.read(as_of=now - timedelta(days=1))).offsets == {}

    tell(story)


def test_too_old_is_an_error_only_where_somebody_asks() -> None:
    async def story(saver: Saver) -> None:
        await saver.save(0, 1, {"A": [row(0)]})
        await saver.clock.advance(100)
        history = await saver.read()
        assert history.age == timedelta(seconds=100)
        await saver.read(max_age=100)
        with pytest.raises(Stale, match="100 s old"):
            await saver.read(max_age=timedelta(seconds=99))

    tell(story)


def test_the_age_is_that_of_the_partition_that_was_saved_longest_ago() -> None:
    async def story(saver: Saver) -> None:
        await saver.save(0, 1, {"A": [row(0)]})
        await saver.clock.advance(100)
        await saver.save(1, 1, {"B": [row(0, 1)]})
        assert (await saver.read()).age == timedelta(seconds=100)

    tell(story)


def test_a_partition_never_goes_back_in_the_merged_document() -> None:
    async def story(saver: Saver) -> None:
        await two_partitions(saver)
        before = saver.store.bodies[SPEC.document]
        await saver.store.delete("state/feature_history/features/00000.json")
        await saver.save(1, 30, {"A": [row(3, 1)]})
        assert saver.store.bodies[SPEC.document] == before

    tell(story)


def test_the_lake_opened_by_a_notebook_has_it(tmp_path: Path) -> None:
    async def story() -> None:
        clock = ManualClock()
        store = DirectoryStore(tmp_path, clock, create=True)
        await store.prepare()
        await two_partitions(Saver(store, clock))

    asyncio.run(story())
    with Lake.open(str(tmp_path)) as lake:
        history = lake.feature_history(window=2)
        assert history["A"][-1]["rsi"] == 6.5
        assert history.offsets == {"features": {0: 10, 1: 20}}


def test_a_document_of_many_parts_is_written_and_read_in_pieces() -> None:
    async def story(saver: Saver) -> None:
        text = "x" * 1000
        symbols = {f"S{number:05d}": [row(number % 60, n=number, text=text)] for number in range(12_000)}
        await saver.save(0, 60, symbols)
        assert len(saver.store.bodies[SPEC.document]) > 12_000_000
        history = await saver.read()
        assert len(history) == 12_000
        assert history["S11999"][0]["n"] == 11_999
        assert saver.store.bodies[SPEC.document].endswith(b"\n}}\n")
        uploads = [upload async for upload in saver.store.list_uploads()]
        assert not uploads

    tell(story)


def test_a_document_that_is_replaced_while_it_is_read_is_read_again() -> None:
    class Meddling(MemoryStore):
        """Replaces the document once, between two ranges of it."""

        meddle: Callable[[], Awaitable[None]] | None = None

        async def get_range(self, key: str, start: int, length: int) -> bytes:
            if start > 0 and self.meddle is not None:
                meddle, self.meddle = self.meddle, None
                await meddle()
            return await super().get_range(key, start, length)

    async def main() -> None:
        clock = ManualClock()
        store = Meddling(clock)
        saver = Saver(store, clock)
        text = "x" * 1000
        symbols = {f"S{number:05d}": [row(1, text=text)] for number in range(7_000)}
        await saver.save(0, 60, symbols)
        store.meddle = lambda: saver.save(0, 61, {**symbols, "T": [row(2)]})
        history = await saver.read()
        assert history.offsets == {"features": {0: 61}}
        assert len(history) == 7_001

    asyncio.run(main())
