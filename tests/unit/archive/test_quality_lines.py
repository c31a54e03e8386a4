"""Quality rules in the day's summary: exact, by symbol and altogether, the same whatever the budget and after retention."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.archive.settings import ArchiveSettings
from streamer.archive.summary import QualitySummary
from streamer.keys import summary_key
from streamer.layout import Check
from streamer.quality_rules import NO_RULES, QualityRules, Sequence
from streamer.records import BatchRange, DeadLetter, DeadLetterReason, TopicPartition
from streamer.store.contract import Create
from streamer.store.memory import MemoryStore
from streamer.testing.manual_clock import ManualClock
from streamer.write.batch_files import BatchWriter
from tests.unit.archive.archive_lake import (
    DAY,
    SETTINGS,
    at,
    certificate,
    close,
    everything_complete,
    partition,
    tick,
)

RULES = QualityRules(
    (
        Check("price", "range", "dead-letter", ("price",), 0.0),
        Check("big", "range", "count", ("quantity",), None, 10.0),
        Check("later_column", "required", "count", ("venue",)),
    ),
    (
        Sequence("ordered", "monotonic", "timestamp"),
        Sequence("jump", "jump", "price", limit=50.0),
        Sequence("ids", "sequence", "trade_id"),
        Sequence("alive", "silent", "_timestamp", limit=60.0),
    ),
)


def ruled(rules: QualityRules = RULES, base: ArchiveSettings = SETTINGS) -> ArchiveSettings:
    ticks, *others = base.streams
    return replace(base, streams=(replace(ticks, quality=rules), *others))


async def summary(store: MemoryStore, stream: str = "ticks") -> dict[str, Any]:
    return dict(orjson.loads((await store.get(summary_key(DAY))).body)["streams"][stream])


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(ManualClock())


async def test_the_summary_counts_the_rows_that_break_each_rule(store: MemoryStore) -> None:
    one, other = partition(store), partition(store, number=1)
    numbered = [tick(1) | {"trade_id": "1"}, tick(3) | {"trade_id": "5"}, tick(2) | {"trade_id": "4"}]
    await one.batch([*numbered, tick(10, price=2.0), tick(100, price=2.0, quantity=11)])
    await other.batch([tick(5, "ETH", quantity=12), tick(6, "ETH", price=-1)])
    await everything_complete(one, other)

    await close(store, settings=ruled())

    found = await summary(store)
    assert {name: entry["rows"] for name, entry in found["quality"].items()} == {
        "price": 1,  # the rule is younger than the row
        "big": 2,
        "ordered": 1,
        "jump": 2,
        "ids": 1,
        "alive": 1,
    }
    assert found["quality"]["price"] == {"check": "range", "on_violation": "dead-letter", "rows": 1, "dead_letters": 0}
    assert found["symbols"]["BTC"]["quality"] == {"alive": 1, "big": 1, "ids": 1, "jump": 1, "ordered": 1}
    assert found["symbols"]["ETH"]["quality"] == {"big": 1, "jump": 1, "price": 1}


async def test_a_summary_without_rules_says_nothing_of_them(store: MemoryStore) -> None:
    ticks = partition(store)
    await ticks.batch([tick(1), None])
    await everything_complete(ticks)

    await close(store)

    found = await summary(store)
    assert "quality" not in found
    assert "quality" not in found["symbols"]["BTC"]


async def test_signals_are_held_against_their_rules_too(store: MemoryStore) -> None:
    signals = partition(store, "signal")
    await signals.batch([{"timestamp": at(n), "symbol": "A", "stress": n / 2} for n in range(5)])
    await everything_complete(signals)
    rules = QualityRules((Check("stress", "range", "flag", ("stress",), None, 1.0),))
    _, signal, feature = SETTINGS.streams

    await close(store, settings=replace(SETTINGS, streams=(replace(signal, quality=rules), feature)))

    assert (await summary(store, "signals"))["quality"]["stress"]["rows"] == 2


async def letters(store: MemoryStore, rules: list[str]) -> None:
    """A batch of dead letters, as the daemon writes those that quality rules made."""
    ticks = partition(store)
    await ticks.take()
    start = ticks.ownership.position.committed
    end = start + len(rules)
    await ticks.ownership.seal(end, ticks.layout.fingerprint)
    noon = round(at(43_200).timestamp() * 1000)
    made = [
        DeadLetter(start + n, noon, None, b"{}", (), DeadLetterReason.RULE, f"{rule}: no", rule) for n, rule in enumerate(rules)
    ]
    for planned in BatchWriter(ticks.layout).plan(BatchRange(TopicPartition("ticks", 0), start, end), [], made).files:
        file = planned.encode()
        await store.put(file.key, file.body, mode=Create(), metadata=file.metadata)
    await ticks.ownership.commit(last=None, through=at(86_400))


async def test_dead_letters_are_counted_by_the_rule_that_made_them_also_once_retention_took_them(store: MemoryStore) -> None:
    await letters(store, ["price", "price", "old_rule"])
    await letters(store, ["price"])

    first = await close(store, settings=ruled())
    wanted = (await summary(store))["quality"]
    for key in [key for key in store.bodies if key.startswith("dead-letters/")]:
        await store.delete(key)
    again = await close(store, settings=ruled())

    assert (wanted["price"]["dead_letters"], wanted["old_rule"], wanted["big"]["dead_letters"]) == (3, {"dead_letters": 1}, 0)
    assert first.certificate.streams["ticks"].dead_letters == 4
    assert not again.changed


async def test_rules_change_nothing_of_the_archive_but_the_summary() -> None:
    objects: list[dict[str, bytes]] = []
    for rules in (NO_RULES, RULES):
        store = MemoryStore(ManualClock())
        ticks = partition(store)
        await ticks.batch([tick(n, price=n + 1.0) for n in range(9)])
        await everything_complete(ticks)
        await close(store, settings=ruled(rules))
        objects.append({key: body for key, body in store.bodies.items() if key.startswith(("ticks/", "ohlcv/"))})
        assert (await certificate(store)).revision == 1

    assert objects[0] == objects[1]


DAY_ROWS = st.lists(
    st.tuples(st.integers(0, 300), st.integers(0, 2), st.sampled_from([1.0, 1.4, 2.0, 9.0]), st.integers(0, 9)), max_size=25
)


@settings(deadline=None)
@given(rows=DAY_ROWS, cuts=st.lists(st.integers(0, 25), max_size=5))
def test_not_one_count_depends_on_where_blocks_end(rows: list[tuple[int, int, float, int]], cuts: list[int]) -> None:
    """As the budget has it: rows are sorted by time, and come in blocks of any size."""
    ordered = sorted(enumerate(rows), key=lambda pair: (pair[1][0], pair[1][1], pair[0]))
    table = pa.table(
        {
            "symbol": ["A"] * len(rows),
            "timestamp": pa.array([row[0] * 10**6 for _, row in ordered], pa.int64()).cast(pa.timestamp("us", tz="UTC")),
            "_source": pa.array([row[1] for _, row in ordered], pa.int32()),
            "price": pa.array([row[2] for _, row in ordered], pa.float64()),
            "trade_id": pa.array([str(row[3]) for _, row in ordered], pa.string()),
            "_offset": pa.array([offset for offset, _ in ordered], pa.int64()),
        }
    )
    day = QualityRules((), RULES.sequences).of_a_day("_source")
    whole, parts = QualitySummary(day), QualitySummary(day)

    whole.add(table)
    ends = sorted({min(cut, len(rows)) for cut in cuts} | {len(rows)})
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        parts.add(table.slice(start, end - start))

    assert parts.counts == whole.counts
    in_order = all(
        [o for o, row in ordered if row[1] == source] == sorted(o for o, row in ordered if row[1] == source)
        for source in range(3)
    )
    assert (whole.counts["ordered"] == 0) == in_order
