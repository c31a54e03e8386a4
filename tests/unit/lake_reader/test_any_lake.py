"""Whatever lake: batches of two partitions, days closed, raw files removed, late rows; and whatever is asked of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.lake.reader import Reader
from streamer.lake.request import ReadRequest
from streamer.records import TopicPartition
from streamer.store.memory import MemoryStore
from streamer.testing.manual_clock import ManualClock
from tests.unit.lake.lake_builder import LakeBuilder, Tick, tick_layout
from tests.unit.lake_reader.reader_lake import close_day, rows_of, set_through, utc

SYMBOLS = ("A", "B/C", "2026-01-04")
PATHS = ("symbol={symbol}/date={date}", "{symbol}", "date={date}/{hour}", "%Y/%m/%d/{symbol}")
MINUTES = 3 * 1440

batch = st.tuples(
    st.sampled_from([0, 1]), st.lists(st.tuples(st.integers(0, MINUTES - 1), st.integers(0, 2)), min_size=1, max_size=8)
)
close = st.tuples(st.just("close"), st.integers(3, 5), st.booleans())
query = st.fixed_dictionaries(
    {
        "start": st.none() | st.integers(-100, MINUTES + 100),
        "length": st.none() | st.integers(0, MINUTES),
        "symbols": st.none() | st.frozensets(st.sampled_from([*SYMBOLS, "none"]), max_size=2),
        "limit": st.none() | st.integers(0, 20),
        "above": st.none() | st.integers(0, 30),
    }
)


@dataclass
class Model:
    """Every tick once, and which of them a reader must see."""

    ticks: list[tuple[int, Tick]] = field(default_factory=list)
    archived: dict[date, set[tuple[int, int]]] = field(default_factory=dict)

    def visible(self) -> list[tuple[datetime, int, int, str, float]]:
        found = []
        for partition, tick in self.ticks:
            seen = self.archived.get(tick.at.date())
            # What came after its day was closed appears when the day is closed again.
            if seen is None or (partition, tick.offset) in seen:
                found.append((tick.at, partition, tick.offset, tick.symbol or "", tick.price))
        return sorted(found)


@settings(max_examples=15, deadline=None)
@given(
    path=st.sampled_from(PATHS),
    story=st.lists(batch | batch | close, min_size=1, max_size=7),
    queries=st.lists(query, min_size=3, max_size=3),
)
async def test_every_visible_row_once_in_order_and_no_other(path: str, story: list, queries: list) -> None:  # type: ignore[type-arg]
    store, model, offsets = MemoryStore(ManualClock()), Model(), [0, 0]
    for number, step in enumerate(story):
        if step[0] == "close":
            day = date(2026, 1, step[1])
            if not model.ticks:
                continue
            await set_through(store, utc(9))
            await close_day(store, day)
            model.archived[day] = {(p, t.offset) for p, t in model.ticks if t.at.date() == day}
            if step[2] and path != "{symbol}":
                parts = (f"date={day}", f"{day:%Y/%m/%d}")
                for key in [k for k in store.bodies if k.startswith("raw/") and any(part in k for part in parts)]:
                    await store.delete(key)
            continue
        partition, made = step
        ticks = [
            Tick(offsets[partition] + n, SYMBOLS[symbol], utc(3) + timedelta(minutes=minute), minute % 37 + n / 8)
            for n, (minute, symbol) in enumerate(made)
        ]
        offsets[partition] += len(ticks)
        lake = LakeBuilder(store, tick_layout(path=path), TopicPartition("ticks", partition), writer=f"writer-{number}")
        await lake.batch(ticks)
        model.ticks += [(partition, tick) for tick in ticks]
    if not model.ticks:
        return
    reader = Reader(store)
    for asked in queries:
        start = utc(3) + timedelta(minutes=asked["start"]) if asked["start"] is not None else None
        end = (start or utc(3)) + timedelta(minutes=asked["length"]) if asked["length"] is not None else None
        where = ("price", ">", asked["above"]) if asked["above"] is not None else None
        expected = [
            row
            for row in model.visible()
            if (start is None or start <= row[0])
            and (end is None or row[0] < end)
            and (asked["symbols"] is None or row[3] in asked["symbols"])
            and (asked["above"] is None or row[4] > asked["above"])
        ]
        request = ReadRequest.of("ticks", start, end, asked["symbols"], None, where, asked["limit"])

        found = await rows_of(store, request)
        unsorted = [row async for part in (await reader.prepare(request)).unsorted_batches() for row in part.to_pylist()]

        names = ("timestamp", "_partition", "_offset", "symbol", "price")
        assert [tuple(row[name] for name in names) for row in found] == expected[: asked["limit"]]
        assert len(unsorted) == len(found)
        assert {tuple(row[name] for name in names) for row in unsorted} <= set(expected)
        newest = await (await reader.prepare(request)).last_row()
        assert [tuple(row[name] for name in names) for row in newest.to_pylist()] == expected[-1:]
