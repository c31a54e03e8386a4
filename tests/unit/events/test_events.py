"""Events are stored once, kept apart, found again in documents and streams alike, and by the index where there is one."""

from __future__ import annotations

import asyncio
import runpy
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer import Lake
from streamer.docstore.docstore import AsyncDocuments
from streamer.errors import Damaged, Denied, Invalid, NotFound
from streamer.events.event import event_given
from streamer.events.events import AsyncEvents
from streamer.index.settings import TableSettings
from streamer.keys import summary_key
from streamer.lake.reader import Reader
from streamer.store.contract import Overwrite, Store
from streamer.store.memory import MemoryStore
from streamer.testing.manual_clock import ManualClock
from streamer.workers import InlineWorkers
from tests.moody_dynamodb import DENY, MoodyDynamo
from tests.unit.events.pulse_lake import archive

AT = datetime(2024, 1, 15, 10, tzinfo=UTC)
DAY = "2024-01-15"


def event(seconds: float = 0, ticker: str = "BTC", **more: Any) -> dict[str, Any]:
    return {
        "timestamp": AT + timedelta(seconds=seconds),
        "ticker": ticker,
        "stress": 0.5,
        "regime": "calm",
        "velocity": 1.0,
        **more,
    }


def body(seconds: float = 0, ticker: str = "BTC", **more: Any) -> dict[str, Any]:
    """What comes back of it."""
    return dict(event_given(event(seconds, ticker, **more)).body)


def events_over(store: Store, index: TableSettings | None = None) -> AsyncEvents:
    clock, workers = ManualClock(), InlineWorkers()
    return AsyncEvents(store, clock, AsyncDocuments(store, clock, workers), Reader(store), index)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(ManualClock(), page=3)


@pytest.fixture
def events(store: MemoryStore) -> AsyncEvents:
    return events_over(store)


@pytest.fixture
async def indexed(dynamo: MoodyDynamo, store: MemoryStore) -> AsyncIterator[AsyncEvents]:
    """Events with an index on a DynamoDB with moods."""
    table = dynamo.table()
    await table.create()
    found = events_over(store, TableSettings(table.name, "us-east-1", dynamo.endpoint))
    yield found
    await found.close()


async def keys(store: Store) -> list[str]:
    return [item.key async for item in store.list("pulse-events/")]


# stored and read


async def test_an_event_is_one_document_named_by_its_instant(events: AsyncEvents, store: MemoryStore) -> None:
    info = await events.store(event(more={"nested": [1, 2.5, None]}))

    assert info.key == "pulse-events/2024-01-15/2024-01-15T10-00-00-000000.json"
    assert orjson.loads((await store.get(info.key)).body) == body(more={"nested": [1, 2.5, None]})
    assert await events.get(DAY, "2024-01-16") == [body(more={"nested": [1, 2.5, None]})]


async def test_events_of_one_instant_are_kept_apart_and_the_same_one_is_kept_once(
    events: AsyncEvents, store: MemoryStore
) -> None:
    for ticker in ("BTC", "ETH", "BTC"):
        await events.store(event(ticker=ticker))
    count = await events.store_batch([event(ticker=ticker) for ticker in ("ETH", "XRP", "XRP", "ADA", "BTC")])

    assert count == 5
    assert [key.rpartition("/")[2] for key in await keys(store)] == [
        "2024-01-15T10-00-00-000000.json",
        "2024-01-15T10-00-00-000000~2.json",
        "2024-01-15T10-00-00-000000~3.json",
        "2024-01-15T10-00-00-000000~4.json",
    ]
    assert await events.get(DAY) == [body(ticker=ticker) for ticker in ("ADA", "BTC", "ETH", "XRP")]


async def test_a_large_batch_of_one_instant_costs_a_few_requests_an_event(store: MemoryStore) -> None:
    puts = 0
    whole = store.put

    async def counted(*arguments: Any, **options: Any) -> str:
        nonlocal puts
        puts += 1
        return await whole(*arguments, **options)

    store.put = counted  # type: ignore[method-assign]
    batch = [event(ticker=f"T{number:03}") for number in range(200)]

    assert await events_over(store).store_batch(batch) == 200
    assert puts == 200
    assert await events_over(store).store_batch(batch) == 200
    assert puts == 200


async def test_batches_of_two_processes_at_once_lose_nothing_and_double_nothing(store: MemoryStore) -> None:
    mine = [event(ticker=f"A{number}") for number in range(20)]
    theirs = [event(ticker=f"B{number}") for number in range(20)] + mine[:5]

    await asyncio.gather(events_over(store).store_batch(mine), events_over(store).store_batch(theirs))

    found = await events_over(store).get(DAY)
    assert len(found) == 40
    assert {each["ticker"] for each in found} == {each["ticker"] for each in [*mine, *theirs]}


async def test_a_batch_with_one_wrong_event_stores_nothing(events: AsyncEvents, store: MemoryStore) -> None:
    with pytest.raises(Invalid, match="event 1: stress"):
        await events.store_batch([event(), event(stress=7)])

    assert await keys(store) == []


async def test_time_and_ticker_choose_and_the_end_is_not_included(events: AsyncEvents) -> None:
    await events.store_batch([event(n, ticker) for n in range(5) for ticker in ("BTC", "ETH")])

    found = await events.get(AT + timedelta(seconds=1), AT + timedelta(seconds=3), "ETH")

    assert found == [body(1, "ETH"), body(2, "ETH")]
    assert await events.get("2024-01-16", "2024-01-15") == []
    assert await events.get(ticker="XRP") == []


async def test_rows_of_a_stream_and_documents_are_one_answer(events: AsyncEvents, store: MemoryStore) -> None:
    both = {
        "timestamp": "2024-01-15T10:00:00Z",
        "ticker": "BTC",
        "stress": 0.5,
        "regime": "calm",
        "velocity": 1.0,
        "n": {"a": 1},
    }
    await archive(store, [both, {"ts": 1705312801, "s": "ETH", "stress": 0.25, "source": "kafka"}])
    await events.store_batch([both, event(2, "XRP")])

    found = await events.get(DAY, "2024-01-16")

    assert [(each["timestamp"], each["ticker"]) for each in found] == [
        ("2024-01-15T10:00:00.000000Z", "BTC"),
        ("2024-01-15T10:00:01.000000Z", "ETH"),
        ("2024-01-15T10:00:02.000000Z", "XRP"),
    ]
    assert found[0] == dict(event_given(both).body)
    assert found[1] == {"timestamp": "2024-01-15T10:00:01.000000Z", "ticker": "ETH", "stress": 0.25, "source": "kafka"}
    assert await events.get(DAY, ticker="ETH") == [found[1]]


async def test_a_message_whose_stress_is_beyond_1_is_a_dead_letter(store: MemoryStore) -> None:
    good = {"timestamp": "2024-01-15T10:00:00Z", "ticker": "BTC"}

    assert await archive(store, [good, {**good, "stress": 1.5}, {**good, "stress": -0.5}, {**good, "stress": 1}]) == 2


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["A", "B"]), st.integers(0, 1)), max_size=12))
def test_whatever_is_stored_in_whatever_way_comes_back_once_in_order(stored: list[tuple[int, str, int]]) -> None:
    async def work() -> None:
        store = MemoryStore(ManualClock())
        events = events_over(store)
        half = len(stored) // 2
        await events.store_batch([event(at, ticker, n=n) for at, ticker, n in stored[:half]])
        for at, ticker, n in stored[half:]:
            await events.store(event(at, ticker, n=n))
        found = [(each["timestamp"], each["ticker"], each["n"]) for each in await events.get()]
        assert found == sorted({(body(at)["timestamp"], ticker, n) for at, ticker, n in stored})

    asyncio.run(work())


async def test_what_somebody_else_left_in_the_folder_is_read_as_far_as_it_is_an_event(
    events: AsyncEvents, store: MemoryStore
) -> None:
    await store.put(
        "pulse-events/2024-01-15/2024-01-15T10-00-00-000000.json", b'{"symbol": "BTC", "stress": 1}', mode=Overwrite()
    )
    await store.put("pulse-events/2024-01-15/2024-01-15T10-00-01-000000.json", b"[1]", mode=Overwrite())
    await store.put("pulse-events/readme.txt", b"hello", mode=Overwrite())

    assert await events.get(DAY) == [{"timestamp": "2024-01-15T10:00:00.000000Z", "ticker": "BTC", "stress": 1.0}]
    await store.put("pulse-events/2024-01-15/2024-01-15T10-00-02-000000.json", b"{", mode=Overwrite())
    with pytest.raises(Damaged):
        await events.get(DAY)


# summaries


async def test_a_day_is_summed_up_and_stored_beside_what_the_archive_says(events: AsyncEvents, store: MemoryStore) -> None:
    with pytest.raises(NotFound):
        await events.summary(DAY)
    await events.store_batch([event(0, stress=0.25), event(1, "ETH", regime="panic", velocity=-1), event(2, stress=0.75)])
    await events.store(event(86_400))

    made = await events.daily_summary(DAY)
    info = await events.store_summary(date(2024, 1, 15))
    await store.put(summary_key(date(2024, 1, 15)), b'{"version": 1, "date": "2024-01-15", "streams": {}}', mode=Overwrite())

    assert (made["events"], made["stress"], made["regimes"]) == (
        3,
        {"min": 0.25, "mean": 0.5, "max": 0.75},
        {"calm": 2, "panic": 1},
    )
    assert made["tickers"]["ETH"]["velocity"] == {"min": -1.0, "mean": -1.0, "max": -1.0}
    assert info.key == "daily-summaries/pulse/2024-01-15.json"
    assert await events.summary(DAY) == {"version": 1, "date": "2024-01-15", "streams": {}, "events": made}
    await events.store_summary(DAY, {"mine": 1})
    assert (await events.summary(DAY))["events"] == {"mine": 1}


# the index


async def test_what_is_stored_is_found_by_the_index_without_reading_the_lake(
    indexed: AsyncEvents, dynamo: MoodyDynamo, store: MemoryStore
) -> None:
    await indexed.store(event(0))
    await indexed.store_batch([event(n, ticker) for n in range(1, 40) for ticker in ("BTC", "ETH")])
    for key in await keys(store):
        await store.delete(key)

    of_btc = await indexed.get(AT, AT + timedelta(seconds=3), "BTC")
    assert of_btc == [body(n) for n in range(3)]
    assert [each["ticker"] for each in await indexed.get(AT, AT + timedelta(seconds=2))] == ["BTC", "BTC", "ETH"]
    assert dynamo.asked[-2:] == ["Query", "Scan"]
    assert await indexed.get(AT, AT + timedelta(seconds=3), "BTC", index=False) == []


async def test_a_second_event_of_one_ticker_and_instant_takes_the_place_of_the_first_in_the_index_alone(
    indexed: AsyncEvents,
) -> None:
    await indexed.store(event(n=1))
    await indexed.store(event(n=2))

    assert await indexed.get(DAY) == [body(n=2)]
    assert await indexed.get(DAY, index=False) == [body(n=1), body(n=2)]


@pytest.mark.parametrize("mood", ["down", DENY])
async def test_an_index_that_fails_costs_a_warning_and_never_the_event(
    indexed: AsyncEvents, dynamo: MoodyDynamo, mood: str
) -> None:
    dynamo.down = mood == "down"
    dynamo.moods.extend([mood] * (mood == DENY))

    with structlog.testing.capture_logs() as logs:
        await indexed.store(event())

    dynamo.down = False
    assert [(line["event"], line["log_level"]) for line in logs] == [("index_behind", "warning")]
    assert await indexed.get(DAY) == []
    assert await indexed.get(DAY, index=False) == [body()]


async def test_an_index_that_does_not_answer_leaves_the_answer_to_the_lake(indexed: AsyncEvents, dynamo: MoodyDynamo) -> None:
    await indexed.store(event())
    dynamo.down = True

    with structlog.testing.capture_logs() as logs:
        assert await indexed.get(DAY) == [body()]

    assert [line["event"] for line in logs] == ["index_unread"]
    dynamo.down = False
    dynamo.moods.append(DENY)
    with pytest.raises(Denied):
        await indexed.get(DAY)


async def test_an_event_too_large_for_the_index_is_in_the_lake(indexed: AsyncEvents) -> None:
    with structlog.testing.capture_logs() as logs:
        await indexed.store(event(text="x" * 500_000))

    assert [line["event"] for line in logs] == ["index_left_out"]
    assert await indexed.get(DAY) == []
    assert len(await indexed.get(DAY, index=False)) == 1


# the door


def test_the_lake_has_a_door_to_events_with_and_without_an_index(
    tmp_path: Path, dynamo_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Lake.open(str(tmp_path)) as lake:
        lake.events.store({"timestamp": "2024-01-15T10:00:00", "symbol": "BTC"})
        assert lake.events.get(DAY)[0]["ticker"] == "BTC"
        assert lake.events.store_summary(DAY).kind == "pulse-summary"
        assert lake.events.summary(DAY)["events"] == lake.events.daily_summary(DAY)
    monkeypatch.setenv("AWS_DYNAMODB_PULSE_TABLE", "no-such-table")
    monkeypatch.setenv("AWS_ENDPOINT_URL", dynamo_address)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    with Lake.open(str(tmp_path)) as lake:
        with pytest.raises(Invalid, match="no such table"):
            lake.events.get(DAY)
        assert len(lake.events.get(DAY, index=False)) == 1
        with pytest.raises(Invalid, match="no such table"):
            lake.events.indexed_by("another-one").get(DAY)


def test_the_example_runs_offline_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(__file__).parents[3] / "examples/pulse_events.py"
    example = runpy.run_path(str(path))

    for _ in range(2):
        example["main"](str(tmp_path / "lake"))

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "pulse-events/2024-01-15/2024-01-15T10-00-00-000000.json"
    assert lines[2:5] == [line for line in lines if line.startswith("2024-01-15T10:0")][:3]
    assert lines[: len(lines) // 2] == lines[len(lines) // 2 :]
