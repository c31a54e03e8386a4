"""What strikes. Each fault is done to the end: when `strike` returns, the cause is gone and only its effects are left."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.live.chaos.feed import Feed
from tests.live.chaos.fleet import SESSION_SECONDS, Fleet
from tests.live.chaos.gate import Refusal, TokenGate
from tests.live.chaos.line import Line, State
from tests.live.chaos.servers import Cluster, SmallDisk


@dataclass
class Scene:
    """Everything a fault may lay hands on. `wait` lets seconds pass while fleets are supervised; `short`: a fault lasts no
    longer than it must to be one."""

    chance: random.Random
    topic: str
    cluster: Cluster
    line: Line
    gate: TokenGate
    disk: SmallDisk | None
    in_s3: Fleet
    in_directory: Fleet | None
    feed: Feed
    wait: Callable[[float], None]
    short: bool = False

    def drawn(self, low: float, high: float) -> float:
        """How long this time."""
        seconds = self.chance.uniform(low, high)
        return low if self.short else seconds


Strike = Callable[[Scene], tuple[Fleet, ...]]


@dataclass(frozen=True)
class Fault:
    """`done`: what is done, for the table. `strike` returns the fleets whose recovery counts."""

    name: str
    done: str
    strike: Strike
    needs: Callable[[Scene], str | None] = lambda _: None


def _fleet(scene: Scene) -> Fleet:
    return scene.chance.choice([fleet for fleet in (scene.in_s3, scene.in_s3, scene.in_directory) if fleet is not None])


def _nothing(scene: Scene) -> tuple[Fleet, ...]:
    return tuple(fleet for fleet in (scene.in_s3, scene.in_directory) if fleet is not None)


def _kill(scene: Scene) -> tuple[Fleet, ...]:
    fleet = _fleet(scene)
    for victim in scene.chance.sample(fleet.running(), min(len(fleet.running()), scene.chance.choice((1, 1, 2)))):
        fleet.kill(victim, scene.chance.uniform(0, 4))
    return (fleet,)


def _terminate(scene: Scene) -> tuple[Fleet, ...]:
    fleet = _fleet(scene)
    fleet.terminate(scene.chance.choice(fleet.running()), scene.chance.uniform(0, 4))
    return (fleet,)


def _freeze(scene: Scene) -> tuple[Fleet, ...]:
    fleet = _fleet(scene)
    victim = scene.chance.choice(fleet.running())
    fleet.freeze(victim)
    try:
        scene.wait(SESSION_SECONDS * scene.drawn(1.4, 2.5))
    finally:
        fleet.thaw(victim)
    return (fleet,)


def _kill_broker(scene: Scene) -> tuple[Fleet, ...]:
    broker = scene.chance.randint(1, scene.cluster.brokers)
    scene.cluster.do("kill", broker)
    try:
        scene.wait(scene.drawn(4, 12))
    finally:
        scene.cluster.do("start", broker)
    return _nothing(scene)


def _line(*states: State, seconds: tuple[float, float]) -> Strike:
    def strike(scene: Scene) -> tuple[Fleet, ...]:
        scene.line.set(scene.chance.choice(states))
        try:
            scene.wait(scene.drawn(*seconds))
        finally:
            scene.line.set("pass")
        return (scene.in_s3,)

    return strike


def _credentials(refusal: Refusal) -> Strike:
    def strike(scene: Scene) -> tuple[Fleet, ...]:
        scene.gate.expire(refusal)
        try:
            scene.wait(scene.drawn(4, 12))
        finally:
            scene.gate.renew()
        return (scene.in_s3,)

    return strike


def _fill_disk(scene: Scene) -> tuple[Fleet, ...]:
    assert scene.disk is not None
    assert scene.in_directory is not None
    scene.disk.fill()
    try:
        ends = time.monotonic() + scene.drawn(6, 12)
        while time.monotonic() < ends:
            scene.wait(0.5)
            scene.disk.fill()  # what the daemon let go of, too
    finally:
        scene.disk.free()
    return (scene.in_directory,)


def _kill_while_hung(scene: Scene) -> tuple[Fleet, ...]:
    scene.line.set(scene.chance.choice(("hang_answers", "reset", "slow")))
    try:
        scene.wait(scene.drawn(3, 7))
        running = scene.in_s3.running()
        scene.in_s3.kill(scene.chance.choice(running), scene.chance.uniform(0, 3))
        scene.wait(scene.drawn(1, 6))
    finally:
        scene.line.set("pass")
    return (scene.in_s3,)


FAULTS = (
    Fault("none", "nothing: how long a record takes anyway", _nothing),
    Fault("sigkill", "SIGKILL of one replica, or two; back within 4 s", _kill),
    Fault("sigterm", "SIGTERM of one replica; back within 4 s", _terminate),
    Fault("sigstop", f"SIGSTOP for 1.4 to 2.5 sessions of {SESSION_SECONDS} s, then SIGCONT: a zombie", _freeze),
    Fault(
        "broker",
        "SIGKILL of one of three brokers, started again after 4 to 12 s",
        _kill_broker,
        lambda scene: None if scene.cluster.may_lose_one else "no three brokers that may be killed (STREAMER_TEST_KAFKA3)",
    ),
    Fault("s3-cut", "S3 refuses connections for 4 to 12 s", _line("cut", seconds=(4, 12))),
    Fault("s3-slow", "S3 answers 0.2 to 0.6 s late and takes 48 KB/s a connection, 6 to 15 s", _line("slow", seconds=(6, 15))),
    Fault("s3-reset", "every connection to S3 is reset within 30 ms, for 4 to 12 s", _line("reset", seconds=(4, 12))),
    Fault(
        "s3-hang",
        "S3 hangs for 6 to 15 s: nothing gets through, or requests do and answers do not",
        _line("hang", "hang_answers", seconds=(6, 15)),
    ),
    Fault("kill-in-s3-fault", "SIGKILL of a replica while S3 hangs, resets or is slow", _kill_while_hung),
    Fault(
        "credentials-expired",
        "the session token expires (400 ExpiredToken); a new one is in the profile after 4 to 12 s",
        _credentials("ExpiredToken"),
    ),
    Fault(
        "key-rotated",
        "the access key is taken back (403 InvalidAccessKeyId); another is in the profile after 4 to 12 s",
        _credentials("InvalidAccessKeyId"),
    ),
    Fault(
        "disk-full",
        "the file system of the directory lake is full for 6 to 12 s",
        _fill_disk,
        lambda scene: None if scene.disk is not None else "no small disk (STREAMER_TEST_SMALL_DISK, or the right to mount)",
    ),
)
