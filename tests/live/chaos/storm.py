"""One run: fleets up, ticks flowing, fault after fault with a wait for recovery after each, and the account at the end."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.live.chaos.faults import FAULTS, Fault, Scene
from tests.live.chaos.feed import Feed
from tests.live.chaos.fleet import SESSION_SECONDS, Fleet
from tests.live.chaos.gate import TokenGate
from tests.live.chaos.lakes import ObservedLake
from tests.live.chaos.line import draw_line
from tests.live.chaos.outcome import Blow, Checked, Outcome, check, rows
from tests.live.chaos.servers import Cluster, Servers, SmallDisk

PARTITIONS = 6
POLL_SECONDS = 0.2
RECOVERY_LIMIT_SECONDS = 180.0

SETTINGS = {
    "STREAMER__KAFKA__SESSION_TIMEOUT": f"{SESSION_SECONDS}s",
    "STREAMER__KAFKA__REBALANCE_TIMEOUT": "30s",
    "STREAMER__S3__REQUEST_TIMEOUT": "5s",
    "STREAMER__STREAMS__TICKS__CUT__ROWS": "4000",
    "STREAMER__STREAMS__TICKS__CUT__AGE": "2s",
    "STREAMER__STREAMS__SIGNALS__ENABLED": "false",
    "STREAMER__STREAMS__FEATURES__ENABLED": "false",
    "STREAMER__ARCHIVE__ENABLED": "false",
    "STREAMER__HTTP__ENABLED": "false",
    "STREAMER__LOG__FORMAT": "json",
}


@dataclass(frozen=True)
class Plan:
    """How long, and what. `faults`: names, none for all. `each_once`: the short form, every fault one time and briefly,
    whatever the minutes."""

    seed: int
    minutes: float
    faults: Collection[str] = ()
    records_per_second: int = 600
    replicas_in_s3: int = 3
    replicas_in_directory: int = 2
    each_once: bool = False


def storm(plan: Plan, servers: Servers, folder: Path, say: Callable[[str], None]) -> Outcome:
    """Run `plan`. Logs of the replicas go to `folder`. Raises where the servers themselves do not do what they are told."""
    topic = f"chaos-{uuid.uuid4().hex[:10]}"
    with ExitStack() as stack:
        cluster = Cluster(servers.kafka, servers.broker_command)
        cluster.create_topic(topic, PARTITIONS)
        disk = SmallDisk.find(os.environ, 64 + int(12 * plan.minutes))
        gate = TokenGate(servers.s3, folder / "aws-credentials")
        stack.callback(gate.close)
        line = draw_line(servers.toxiproxy, gate.address)
        stack.callback(line.close)
        lakes = [ObservedLake.in_s3(servers.s3, topic, through=line.address, profile=folder / "aws-credentials")]
        if isinstance(disk, SmallDisk):
            stack.callback(disk.close)
            lakes.append(ObservedLake.in_directory(disk.folder / topic))
            stack.callback(shutil.rmtree, disk.folder / topic)
        sizes = (plan.replicas_in_s3, plan.replicas_in_directory)
        fleets = [
            Fleet(lake.name, size, SETTINGS | lake.environment | _group(servers, topic, lake), folder)
            for lake, size in zip(lakes, sizes, strict=False)
        ]
        for fleet in fleets:
            stack.callback(fleet.end)
        feed = Feed(servers.kafka, topic, PARTITIONS, plan.records_per_second)
        run = _Run(plan, topic, fleets, lakes, feed, say)
        scene = Scene(
            run.chance, topic, cluster, line, gate, disk if isinstance(disk, SmallDisk) else None,
            fleets[0], fleets[1] if len(fleets) > 1 else None, feed, run.wait, plan.each_once,
        )  # fmt: skip
        setting = {
            "brokers": cluster.brokers, "line": line.name, "partitions": PARTITIONS,
            "records_per_second": plan.records_per_second, "settings": SETTINGS,
            "replicas": {fleet.name: len(fleet.replicas) for fleet in fleets},
            "cores": os.cpu_count(), "load": os.getloadavg()[0],
        }  # fmt: skip
        return run.through(scene, setting)


def _group(servers: Servers, topic: str, lake: ObservedLake) -> dict[str, str]:
    return {
        "KAFKA_BOOTSTRAP_SERVERS": servers.kafka,
        "STREAMER__KAFKA__GROUP_ID": f"{topic}-{lake.name}",
        "STREAMER__STREAMS__TICKS__TOPIC": topic,
    }


class _Run:
    def __init__(
        self,
        plan: Plan,
        topic: str,
        fleets: Sequence[Fleet],
        lakes: Sequence[ObservedLake],
        feed: Feed,
        say: Callable[[str], None],
    ) -> None:
        self.chance = random.Random(plan.seed)
        self._plan, self._topic, self._fleets, self._feed, self._say = plan, topic, fleets, feed, say
        self._lakes = {lake.name: lake for lake in lakes}
        self._wrong: list[str] = []
        self._blows: list[Blow] = []

    def wait(self, seconds: float) -> None:
        """Let time pass; whoever has died is started again."""
        ends = time.monotonic() + seconds
        while True:
            for fleet in self._fleets:
                fleet.keep()
            if (left := ends - time.monotonic()) <= 0:
                return
            time.sleep(min(left, POLL_SECONDS))

    def through(self, scene: Scene, setting: dict[str, object]) -> Outcome:
        plan = self._plan
        wanted = [fault for fault in FAULTS if not plan.faults or fault.name in plan.faults]
        not_exercised = {fault.name: reason for fault in wanted if (reason := fault.needs(scene)) is not None}
        possible = [fault for fault in wanted if fault.name not in not_exercised]
        for name, reason in not_exercised.items():
            self._say(f"not exercised: {name}: {reason}")
        self._feed.start()
        names = tuple(self._lakes)
        if self._recovered(names, self._ends_soon()) is None:
            self._wrong.append("the fleets did not get under way")
        deadline = time.monotonic() + plan.minutes * 60
        for number, fault in enumerate(self._draw(possible)):
            if plan.each_once and number == len(possible):
                break
            if (not plan.each_once and time.monotonic() >= deadline) or self._wrong:
                break
            self._blow(fault, scene)
            self.wait(scene.drawn(0.5, 3))
        checked = self._account()
        died = [sentence for fleet in self._fleets for sentence in fleet.died]
        self._wrong += [f"a replica died: {sentence}" for sentence in died]
        setting["turned_away_at_start"] = sum(fleet.turned_away for fleet in self._fleets)
        setting["given_up_by_producer"] = self._feed.failed
        setting["load_at_the_end"] = os.getloadavg()[0]
        table = rows([(fault.name, fault.done) for fault in FAULTS], self._blows, checked)
        return Outcome(plan.seed, plan.minutes, setting, table, checked, not_exercised, self._wrong, died, self._blows)

    def _draw(self, possible: Sequence[Fault]) -> Iterator[Fault]:
        """All of them in random order, then again in another."""
        while possible:
            yield from self.chance.sample(possible, len(possible))

    def _ends_soon(self) -> dict[int, int]:
        """What has been acknowledged, once there is something in every partition."""
        while len(ends := self._feed.ends()) < PARTITIONS:
            self.wait(0.2)
        return ends

    def _blow(self, fault: Fault, scene: Scene) -> None:
        before = {name: lake.committed(self._topic, PARTITIONS) for name, lake in self._lakes.items()}
        began = time.monotonic()
        struck = fault.strike(scene)
        ended, ends = time.monotonic(), self._feed.ends()
        names = tuple(fleet.name for fleet in struck)
        seconds = self._recovered(names, ends)
        after = self._feed.ends()
        windows = {name: {p: (before[name].get(p, 0), end) for p, end in after.items()} for name in names}
        blow = Blow(fault.name, names, round(ended - began, 2), None if seconds is None else round(seconds, 2), windows)
        self._blows.append(blow)
        self._say(
            f"{fault.name:20} lasted {blow.lasted_seconds:5.1f} s, recovered {', '.join(names):13} "
            + (f"after {seconds:5.1f} s" if seconds is not None else f"NOT within {RECOVERY_LIMIT_SECONDS:g} s")
        )
        if seconds is None:
            self._wrong.append(f"{fault.name} (number {len(self._blows)}): no recovery within {RECOVERY_LIMIT_SECONDS:g} s")
        if fault.name == "broker":
            scene.cluster.wait_until_whole(self._topic)

    def _recovered(self, names: Collection[str], ends: Mapping[int, int]) -> float | None:
        """Seconds until everything below `ends` is committed in all of the lakes; None where that does not happen."""
        began = time.monotonic()
        left = set(names)
        while time.monotonic() - began < RECOVERY_LIMIT_SECONDS:
            for name in tuple(left):
                committed = self._lakes[name].committed(self._topic, PARTITIONS)
                if all(committed.get(partition, 0) >= end for partition, end in ends.items()):
                    left.discard(name)
            if not left:
                return time.monotonic() - began
            self.wait(POLL_SECONDS)
        return None

    def _account(self) -> list[Checked]:
        """Stop everything in order, then compare."""
        self._feed.stop()
        if self._feed.repeated:
            self._wrong.append(f"Kafka acknowledged {self._feed.repeated} offsets twice")
        if self._recovered(tuple(self._lakes), self._feed.ends()) is None:
            self._wrong.append("the end was not reached")
        for fleet in self._fleets:
            fleet.stop()
        checked = []
        for lake in self._lakes.values():
            found = check(lake.name, self._feed.acknowledged, lake.read(self._topic), self._verify(lake))
            checked.append(found)
            if not found.sound:
                self._wrong.append(
                    f"{lake.name}: {len(found.missing)} missing {sorted(found.missing)[:3]}, {len(found.double)} double "
                    f"{sorted(found.double)[:3]}, {len(found.different)} different, streamer verify: exit {found.verify_exit}"
                )
        return checked

    def _verify(self, lake: ObservedLake) -> int:
        keep = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        group = {name: value for name, value in SETTINGS.items() if "__S3__" not in name}
        with tempfile.TemporaryFile() as output:
            done = subprocess.run(
                [sys.executable, "-m", "streamer", "verify", "--no-kafka"],
                env=keep | group | lake.direct | {"STREAMER__STREAMS__TICKS__TOPIC": self._topic},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            output.seek(0)
            if done.returncode:
                self._say(f"streamer verify on {lake.name}: exit {done.returncode}\n{output.read().decode()[-3000:]}")
        return done.returncode
