"""Quality rules over the real pipeline: each action, and the rule of exactly once with a crash at every step."""

from __future__ import annotations

import gzip
import io
import json
from dataclasses import replace
from datetime import UTC, datetime

import pyarrow.parquet as pq
import pytest
import structlog
from prometheus_client import generate_latest

from streamer.alerts import Alert
from streamer.archive.keeper import ArchiveKeeper
from streamer.archive.settings import ArchivedStream, ArchiveSettings
from streamer.lake.verify import verify
from streamer.layout import FLAGS, Action, Check, Column, Layout
from streamer.metrics import Metrics
from streamer.quality_rules import QualityRules, Sequence
from streamer.streams import CutLimits
from streamer.testing.manual_clock import VirtualClock, run_virtual
from streamer.workers import InlineWorkers
from tests.simulation.crash_points import CrashPoint, Moment
from tests.simulation.world import TICKS, Replica, World, layout

RECORDS = 33  # prices 0..32; every seventh is not JSON
CUTS = CutLimits(rows=10, age_seconds=5.0)


class Kept:
    """Alerts that were handed over."""

    def __init__(self) -> None:
        self.alerts: list[Alert] = []

    def send(self, alert: Alert) -> None:
        self.alerts.append(alert)


def price(action: Action, most: float = 19.0) -> Check:
    return Check("price", "range", action, ("price",), None, most)


def judging(*checks: Check) -> Layout:
    return layout(checks=tuple(check for check in checks if check.on_violation != "count"))


def rows(world: World) -> dict[int, str | None]:
    """Offset to flags, of every row in the lake."""
    found: dict[int, str | None] = {}
    for key, parsed in world.files().items():
        if not parsed.dead_letters:
            table = pq.read_table(io.BytesIO(world.lake.bodies[key]))
            flags = table[FLAGS].to_pylist() if FLAGS in table.column_names else [None] * table.num_rows
            found |= dict(zip(table["_offset"].to_pylist(), flags, strict=True))
    return found


def letters(world: World) -> dict[int, tuple[str, str]]:
    """Offset to reason and detail, of every dead letter in the lake."""
    lines: list[bytes] = []
    for key, parsed in world.files().items():
        if parsed.dead_letters:
            lines += gzip.decompress(world.lake.bodies[key]).splitlines()
    return {each["offset"]: (each["reason"], each["detail"]) for each in map(json.loads, lines)}


def everything_once(world: World) -> None:
    """Every offset of every record is in the lake once, as a row or as a dead letter."""
    assert world.offsets_in_files() == {(TICKS, 0): list(range(len(world.sent[TICKS])))}
    world.assert_ranges_abut()


def metric(replica: Replica, name: str) -> dict[str, float]:
    """The samples of a metric, by their labels as text."""
    lines = generate_latest(replica.metrics.registry).decode().splitlines()
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"{name}{{")}


GOOD = [n for n in range(20) if n % 7 != 6]
BAD = [n for n in range(20, RECORDS) if n % 7 != 6]


@pytest.mark.parametrize("action", ["dead-letter", "flag", "count"])
def test_what_becomes_of_records_that_break_a_rule(action: Action) -> None:
    async def main(clock: VirtualClock) -> None:
        world, alerts = World(clock), Kept()
        world.produce(RECORDS)
        with structlog.testing.capture_logs() as logged:
            replica = await world.catch_up(
                layout_=judging(price(action)), quality=QualityRules((price(action),)), cut=CUTS, alerts=alerts
            )

        everything_once(world)
        there = rows(world)
        broken = {offset for offset, (reason, _) in letters(world).items() if reason == "rule"}
        assert sorted(broken) == (BAD if action == "dead-letter" else [])
        assert sorted(there) == (GOOD if action == "dead-letter" else GOOD + BAD)
        assert {n for n, flags in there.items() if flags} == (set(BAD) if action == "flag" else set())
        assert all(flags in (None, "price") for flags in there.values())
        told = [line for line in logged if line["event"] == "quality_violations"]
        assert [(line["start"], line["end"], line["violations"]) for line in told] == [(20, 30, 8), (30, 33, 3)]
        assert {(line["rule"], line["check"], line["on_violation"], line["first_offset"]) for line in told} == {
            ("price", "range", action, 21),
            ("price", "range", action, 30),
        }
        [count] = metric(replica, "streamer_quality_violations_total").values()
        assert count == len(BAD)
        assert [alert.fields["violations"] for alert in alerts.alerts] == [8, 3]
        assert {alert.about for alert in alerts.alerts} == {"ticks-0/price"}
        assert (await verify(world.lake)).sound

    run_virtual(main)


def puts_of_a_whole_run() -> list[str]:
    async def main(clock: VirtualClock) -> list[str]:
        world = World(clock)
        world.produce(RECORDS)
        counted = CrashPoint(world.lake, -1, "before")
        await world.catch_up(store=counted, layout_=BOTH, quality=ALL, cut=CUTS)
        return counted.puts

    return run_virtual(main)


FLAGGED = Check("odd", "allowed", "flag", ("symbol",), values=("A",))
BOTH = judging(price("dead-letter"), FLAGGED)
ALL = QualityRules(
    (price("dead-letter"), FLAGGED, Check("low", "range", "count", ("price",), 5.0)),
    (
        Sequence("ordered", "monotonic", "timestamp"),
        Sequence("jump", "jump", "price", limit=1.0),
        Sequence("alive", "silent", "_timestamp", limit=30.0),
    ),
)
PUTS = puts_of_a_whole_run()


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("at", range(len(PUTS)))
def test_a_crash_at_any_put_changes_nothing_of_what_rules_do_to_rows(at: int, moment: Moment) -> None:
    """The successor has other rules by then: the sealed range is finished under those it was sealed with."""

    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        world.produce(RECORDS)
        broken = CrashPoint(world.lake, at, moment)
        victim = world.replica(store=broken, layout_=BOTH, quality=ALL, cut=CUTS).start()
        await broken.reached.wait()
        sealed = world.position()
        await victim.crash()
        await world.catch_up(chunk_records=7, cut=CUTS)

        everything_once(world)
        upto = max((p.sealed for p in [sealed] if p is not None), default=0)
        for offset, (reason, _) in letters(world).items():
            assert reason == "rule" or offset % 7 == 6
            assert offset < upto or reason != "rule"
        flagged = {offset for offset, flags in rows(world).items() if flags}
        assert flagged == {n for n in GOOD if n % 2 and n < upto}
        assert [n for n in BAD if n < upto] == sorted(n for n, (reason, _) in letters(world).items() if reason == "rule")
        assert (await verify(world.lake)).sound

    run_virtual(main)


def test_a_range_sealed_under_a_layout_without_a_rules_column_is_finished_and_held_against_the_other_rules() -> None:
    wider = layout()
    wider = replace(wider, columns=(*wider.columns, Column("venue", "string")))
    rules = QualityRules(
        (Check("venue", "required", "count", ("venue",)), price("count", 4.0)),
        (Sequence("odd", "jump", "price", ("venue",), 1.0),),
    )

    async def main(clock: VirtualClock) -> None:
        world, alerts = World(clock), Kept()
        world.produce(RECORDS)
        data_put = next(n for n, key in enumerate(PUTS) if key.startswith("raw/"))
        broken = CrashPoint(world.lake, data_put, "before")
        victim = world.replica(store=broken, cut=CUTS).start()
        await broken.reached.wait()
        await victim.crash()
        await world.catch_up(layout_=wider, quality=rules, cut=CUTS, alerts=alerts)

        everything_once(world)
        told = [(alert.fields["rule"], alert.fields["start"], alert.fields["violations"]) for alert in alerts.alerts]
        assert told[0] == ("price", 0, 4)
        assert [start for rule, start, _ in told if rule == "venue"] == [10, 20, 30]

    run_virtual(main)


def test_the_same_records_give_the_same_files_however_they_are_fetched_and_after_any_restart() -> None:
    def lake(chunk_records: int, crash_at: int) -> dict[str, bytes]:
        async def main(clock: VirtualClock) -> dict[str, bytes]:
            world = World(clock)
            world.produce(RECORDS)
            if crash_at >= 0:
                broken = CrashPoint(world.lake, crash_at, "before")
                victim = world.replica(store=broken, layout_=BOTH, quality=ALL, cut=CUTS, chunk_records=2).start()
                await broken.reached.wait()
                await victim.crash()
            await world.catch_up(layout_=BOTH, quality=ALL, cut=CUTS, chunk_records=chunk_records)
            return {key: body for key, body in world.lake.bodies.items() if not key.startswith("_streamer/")}

        return run_virtual(main)

    first = lake(4, -1)
    assert first == lake(33, -1)
    data_put = next(n for n, key in enumerate(PUTS) if key.startswith("raw/") and "-00000000000000000010-" in key)
    assert first == lake(3, data_put)


def test_steps_are_seen_across_batches_and_forgotten_with_the_partition() -> None:
    rules = QualityRules((), (Sequence("jump", "jump", "price", limit=10.0),))

    async def main(clock: VirtualClock) -> None:
        world, alerts = World(clock), Kept()
        replica = world.replica(quality=rules, alerts=alerts).start()
        for number in range(6):
            world.broker.append(TICKS, b'{"symbol":"A","price":%d,"timestamp":%d}' % (100 if number % 2 else 50, number))
            if number == 3:  # another process goes on: it knows nothing of what was before
                await replica.crash()
                replica = world.replica(quality=rules, alerts=alerts).start()
            await world.wait(lambda number=number: world.committed() == number + 1)  # type: ignore[misc]
        await replica.stop()
        assert [alert.fields["first_offset"] for alert in alerts.alerts] == [1, 2, 4, 5]

    run_virtual(main)


def test_a_feed_that_falls_silent_is_told_once_and_the_gauge_says_so() -> None:
    rules = QualityRules((), (Sequence("alive", "silent", "_timestamp", limit=60.0),))

    async def main(clock: VirtualClock) -> None:
        world, alerts = World(clock), Kept()
        world.produce(4)
        replica = world.replica(quality=rules, alerts=alerts, cut=CUTS).start()
        await clock.sleep(50)
        assert alerts.alerts == []
        await clock.sleep(60)
        [alert] = alerts.alerts
        assert (alert.fields["violations"], sorted(alert.fields["symbols"])) == (2, ["A", "B"])
        assert list(metric(replica, "streamer_silent_groups").values()) == [2.0]
        await clock.sleep(600)
        assert len(alerts.alerts) == 1
        world.produce(2)
        await clock.sleep(20)
        assert list(metric(replica, "streamer_silent_groups").values()) == [0.0]
        assert len(alerts.alerts) == 1
        await replica.stop()
        assert metric(replica, "streamer_silent_groups") == {}

    run_virtual(main)


def test_gaps_and_refused_partitions_are_alerts_too() -> None:
    async def main(clock: VirtualClock) -> None:
        world, alerts = World(clock), Kept()
        world.produce(30)
        world.broker.truncate(TICKS, 5)
        replica = world.replica(alerts=alerts).start()
        await world.wait(lambda: world.committed() == 30)
        await replica.stop()
        world.produce(10)
        world.broker.truncate(TICKS, 35)
        replica = world.replica(alerts=alerts).start()
        await world.wait(lambda: world.committed() == 40)
        await replica.stop()

        assert [(a.event, a.about, a.fields["start"], a.fields["end"]) for a in alerts.alerts] == [
            ("gap", "ticks-0/gap", 30, 35)
        ]

    run_virtual(main)


@pytest.mark.parametrize("format_", ["parquet", "ndjson.zst"])
def test_flags_are_in_the_archive_of_the_day_too_and_the_summary_counts_what_rules_did(format_: str) -> None:
    odd, high = Check("odd", "allowed", "flag", ("symbol",), values=("A",)), price("dead-letter")
    rules = QualityRules((odd, high))
    settings = ArchiveSettings((ArchivedStream("ticks", "ticks", "tick", rules),), lateness_seconds=0.0)

    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        world.produce(RECORDS)
        await world.catch_up(layout_=layout(checks=(odd, high), format=format_), quality=rules, cut=CUTS)
        replica = world.replica(cut=CUTS).start()  # without rules by now, and past midnight
        await clock.sleep(180)
        await replica.stop()
        [closed] = await ArchiveKeeper(world.lake, settings, clock, InlineWorkers(), Metrics(), host="keeper").look()

        keys = sorted(output.key for output in closed.certificate.outputs if output.kind == "ticks")
        flags = {
            row["_offset"]: row[FLAGS] for key in keys for row in pq.read_table(io.BytesIO(world.lake.bodies[key])).to_pylist()
        }
        assert flags == {n: "odd" if n % 2 else None for n in GOOD}
        [summary] = [body for key, body in world.lake.bodies.items() if key.startswith("daily-summaries/")]
        assert json.loads(summary)["streams"]["ticks"]["quality"] == {
            "odd": {"check": "allowed", "on_violation": "flag", "rows": len([n for n in GOOD if n % 2]), "dead_letters": 0},
            "price": {"check": "range", "on_violation": "dead-letter", "rows": 0, "dead_letters": len(BAD)},
        }
        assert (await verify(world.lake)).sound

    run_virtual(main, start=datetime(2024, 1, 1, 23, 59, tzinfo=UTC))
