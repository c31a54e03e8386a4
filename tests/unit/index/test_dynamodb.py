"""The table: made, written, asked, in every mood of the service."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from streamer.errors import Denied, Invalid, Unavailable
from streamer.events.event import event_given
from streamer.index.dynamodb import BATCH_ITEMS, TRIES, IndexTable, NoTable, Written
from streamer.index.item import ITEM_BYTES_MAX, Item, body_of, item_of
from tests.moody_dynamodb import BROKEN, DENY, HALF, THROTTLE, MoodyDynamo, QuickClock

AT = datetime(2024, 1, 15, 10, tzinfo=UTC)


def items(count: int, tickers: tuple[str, ...] = ("BTC", "ETH"), **more: Any) -> list[Item]:
    return [
        item_of(event_given({"timestamp": AT + timedelta(seconds=n), "ticker": tickers[n % len(tickers)], "n": n, **more}))
        for n in range(count)
    ]


async def everything(table: IndexTable) -> list[Any]:
    return sorted([body_of(item)["n"] async for item in table.between(None, None)])


async def test_items_come_back_by_ticker_and_time_and_by_time_alone(dynamo: MoodyDynamo) -> None:
    table = dynamo.table()
    await table.create()
    await table.write(items(60))

    start, end = AT + timedelta(seconds=10), AT + timedelta(seconds=20)
    of_btc = [body_of(item)["n"] async for item in table.of_ticker("BTC", start, end)]
    of_all = sorted([body_of(item)["n"] async for item in table.between(start, end)])

    assert of_btc == [10, 12, 14, 16, 18]
    assert of_all == list(range(10, 20))
    assert [item async for item in table.of_ticker("XRP", None, None)] == []


async def test_batches_are_of_25_and_a_key_is_once_in_a_write(dynamo: MoodyDynamo) -> None:
    table = dynamo.table()
    await table.create()
    again = [item_of(event_given({"timestamp": AT, "ticker": "BTC", "n": "again"}))]

    assert await table.write([*items(60), *again]) == Written(60, 0)
    assert [len(batch) for batch in dynamo.batches] == [25, 25, 10]
    assert len({key for batch in dynamo.batches for key in batch}) == 60
    assert [body_of(item)["n"] async for item in table.of_ticker("BTC", AT, AT + timedelta(seconds=1))] == ["again"]


async def test_what_is_throttled_or_left_unprocessed_is_sent_again_later_and_later(dynamo: MoodyDynamo) -> None:
    clock = QuickClock()
    table = dynamo.table(clock=clock)
    await table.create()
    dynamo.moods.extend([THROTTLE, HALF, THROTTLE, HALF, HALF])
    clock.slept.clear()

    await table.write(items(BATCH_ITEMS))

    assert await everything(table) == list(range(BATCH_ITEMS))
    assert [len(batch) for batch in dynamo.batches] == [25, 13, 7, 4]
    assert len(clock.slept) == 5


async def test_items_that_are_too_large_by_our_count_or_the_servers_are_left_out_and_the_others_written(
    dynamo: MoodyDynamo,
) -> None:
    table = dynamo.table()
    await table.create()
    # moto counts a little more than we and DynamoDB do.
    (empty,) = items(1, ("edge",), text="")
    (theirs,) = items(1, ("edge",), text="x" * (ITEM_BYTES_MAX - empty.size_bytes))
    (ours,) = items(1, ("large",), text="x" * 500_000)

    assert theirs.fits
    assert not ours.fits
    assert await table.write([*items(30), theirs, ours]) == Written(30, 2)
    assert await everything(table) == list(range(30))


async def test_a_table_that_throttles_for_ever_is_unavailable(dynamo: MoodyDynamo) -> None:
    table = dynamo.table()
    await table.create()
    dynamo.moods.extend([THROTTLE] * TRIES)

    with pytest.raises(Unavailable, match="as much as this"):
        await table.write(items(1))


async def test_writing_twice_changes_nothing(dynamo: MoodyDynamo) -> None:
    table = dynamo.table()
    await table.create()
    for _ in range(2):
        await table.write(items(30))

    assert await everything(table) == list(range(30))


async def test_long_answers_come_page_by_page(dynamo: MoodyDynamo) -> None:
    table = dynamo.table()
    await table.create()
    await table.write(items(12, ("BTC",), text="x" * 200_000))
    dynamo.asked.clear()

    assert await everything(table) == list(range(12))
    assert [body_of(item)["n"] async for item in table.of_ticker("BTC", None, None)] == list(range(12))
    assert dynamo.asked.count("Scan") > 1
    assert dynamo.asked.count("Query") > 1


async def test_a_table_is_made_once_with_its_keys_and_its_index(dynamo: MoodyDynamo) -> None:
    table = dynamo.table()
    assert await table.describe() is None
    for _ in range(2):
        await table.create()

    state = await table.describe()
    assert state is not None
    assert (state.status, state.keys) == ("ACTIVE", ("timestamp", "ticker"))
    assert (state.index_status, state.index_keys) == ("ACTIVE", ("ticker", "timestamp"))
    assert not await table.recovers()
    await table.switch_recovery_on()
    assert await table.recovers()


@pytest.mark.parametrize(
    ("mood", "kind", "words"),
    [(DENY, Denied, "dynamodb:BatchWriteItem"), (BROKEN, Unavailable, "dynamodb.region")],
)
async def test_refusals_and_silence_name_the_next_step(
    dynamo: MoodyDynamo, mood: str, kind: type[Exception], words: str
) -> None:
    table = dynamo.table()
    await table.create()
    dynamo.moods.extend([mood, mood])

    with pytest.raises(kind) as error:
        await table.write(items(1))

    assert words in error.value.hint  # type: ignore[attr-defined]
    dynamo.moods.clear()
    await table.write(items(1))


async def test_a_connection_that_broke_once_is_no_failure(dynamo: MoodyDynamo) -> None:
    table = dynamo.table()
    await table.create()
    dynamo.moods.append(BROKEN)

    await table.write(items(3))

    assert await everything(table) == [0, 1, 2]


async def test_a_table_that_is_not_there_or_is_another_one_is_named(dynamo: MoodyDynamo) -> None:
    missing = dynamo.table("not-there")
    with pytest.raises(NoTable) as error:
        await missing.write(items(1))
    assert "streamer init" in error.value.hint
    assert error.value.context["table"] == "not-there"


async def test_without_credentials_or_a_server_it_says_so(monkeypatch: pytest.MonkeyPatch, dynamo: MoodyDynamo) -> None:
    nobody = dynamo.table(endpoint="http://127.0.0.1:9")
    with pytest.raises(Unavailable):
        await nobody.write(items(1))

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    nameless = dynamo.table()
    with pytest.raises((Denied, Invalid)) as error:
        await nameless.write(items(1))
    assert "AWS_ACCESS_KEY_ID" in error.value.hint
