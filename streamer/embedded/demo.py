"""The story of the demo: a broker, a market, the real daemon, a `kill -9` in the middle, and the proof afterwards.

Decides what happens and when; says it through a `Teller`, and never prints. What it proves with is `read_back.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from streamer.clock import Clock
from streamer.embedded.daemon_process import DaemonProcess
from streamer.embedded.demo_folder import GROUP, DemoFolder, make_folder
from streamer.embedded.feed import Ledger, feed
from streamer.embedded.market import TOPICS, Market
from streamer.embedded.mock_cluster import MockCluster
from streamer.embedded.read_back import ReadBack, committed, prices, read_back
from streamer.errors import StreamerError, Unavailable
from streamer.lake.finding import Report
from streamer.lake.verify import verify
from streamer.log_events import LogEvent
from streamer.source.producer import Producer
from streamer.source.settings import KafkaSettings
from streamer.store.directory import DirectoryStore

TICKS_PER_SECOND = 1000.0
KILL_AT = 0.45
"""Share of the time after which the daemon is killed: in the middle, with room to catch up."""

AFTER_KILL_SECONDS = 1.0
"""The market goes on at least so long after the kill, so that the second life has work of its own."""

STOP_SECONDS = 30.0
_LOOK_EVERY_SECONDS = 0.1
_PATIENCE_SECONDS = 60.0
"""How long anything may take that should take a second: a machine under load is no reason to fail."""


class Teller(Protocol):
    """Shows the story."""

    def say(self, text: str) -> None:
        """A step of it, which stays."""
        ...

    def status(self, text: str) -> None:
        """How far it is, replaced by the next."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked for. `follow`: the market goes on until `stop` is set. `seed`: the market is the same each time."""

    parent: Path
    seconds: float = 8.0
    follow: bool = False
    seed: int = 7


@dataclass(frozen=True, slots=True)
class Killed:
    """The state at the `kill -9`: records acknowledged by Kafka, and those of them that were committed to the lake."""

    produced: int
    committed: int
    recovered_ranges: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything there is to show."""

    folder: DemoFolder
    ledger: Ledger
    killed: Killed
    batches: int
    found: ReadBack
    report: Report
    sparkline_symbol: str
    prices: list[float]

    @property
    def good(self) -> bool:
        """Whether the promise was kept."""
        return self.found.exact and self.report.sound


async def run_demo(plan: Plan, teller: Teller, clock: Clock, stop: asyncio.Event) -> Outcome:
    """Play it. `stop` ends the market early; what was produced is archived and proved all the same.

    Raises `Invalid` where confluent-kafka is missing or the folder cannot be, `Unavailable` where a step takes far too long,
    and `StreamerError` where the daemon dies or does not stop.
    """
    async with MockCluster() as cluster:
        folder = make_folder(plan.parent, clock.now())
        for topic, partitions in TOPICS.items():
            await cluster.create_topic(topic, partitions)
        folder.write_config(cluster.bootstrap_servers)
        teller.say(f"A broker at {cluster.bootstrap_servers} (librdkafka's, in this process) and a lake in {folder.lake}")
        return await _Run(plan, folder, cluster.bootstrap_servers, teller, clock, stop).play()


class _Run:
    """One play of the story."""

    def __init__(self, plan: Plan, folder: DemoFolder, servers: str, teller: Teller, clock: Clock, stop: asyncio.Event) -> None:
        self._plan, self._folder, self._servers = plan, folder, servers
        self._teller, self._clock, self._stop = teller, clock, stop
        self._ledger = Ledger()
        self._market = Market(plan.seed, clock.now(), TICKS_PER_SECOND)
        self._began = clock.monotonic()

    async def play(self) -> Outcome:
        first = await DaemonProcess.start(self._folder.config, self._folder.log)
        current = first
        try:
            async with self._market_open() as market:
                self._teller.say(f"The daemon: python -m streamer run --config {self._folder.config} (process {first.pid})")
                await self._until(self._may_kill, first, market, "archiving")
                done = self._committed()
                await first.kill()
                produced, at_kill = self._ledger.count, self._clock.monotonic()
                self._teller.say(f"kill -9 {first.pid}, with {produced - done:,} of {produced:,} records not yet committed")
                # A new group: the mock keeps the dead member's seat, and nothing is lost by it. The lake owns the position.
                current = await DaemonProcess.start(
                    self._folder.config, self._folder.log, {"STREAMER__KAFKA__GROUP_ID": f"{GROUP}-2"}
                )
                self._teller.say(
                    f"Started again (process {current.pid}) under a new consumer group: the lake owns the position"
                )
                end = max(self._began + self._plan.seconds, at_kill + AFTER_KILL_SECONDS)
                if self._plan.follow:
                    self._teller.say("The market goes on. Ctrl-C stops it, and shows what is in the lake")
                await self._until(lambda: self._is_over(end), current, market, "archiving", patience=False)
            self._teller.say(f"The market is closed: {self._ledger.count:,} records")
            await self._until(self._caught_up, current, None, "catching up")
            code = await current.stop(STOP_SECONDS)
            if code != 0:
                raise StreamerError(f"the daemon ended with {code} after SIGTERM", hint=f"read {self._folder.log}")
            self._teller.say("SIGTERM: the daemon stopped in order, exit status 0")
        finally:
            await first.kill()
            await current.kill()
        recovered = len(current.events(LogEvent.RECOVERING))
        batches = len(first.events(LogEvent.BATCH_COMMITTED)) + len(current.events(LogEvent.BATCH_COMMITTED))
        return await self._prove(Killed(produced, done, recovered), batches)

    async def _prove(self, killed: Killed, batches: int) -> Outcome:
        self._teller.status("reading back")
        found = await asyncio.to_thread(read_back, self._folder.lake, self._ledger)
        store = DirectoryStore(str(self._folder.lake), self._clock)
        try:
            await store.prepare()
            report = await verify(store)
        finally:
            await store.close()
        symbol = self._market.symbols[0]
        line = await asyncio.to_thread(prices, self._folder.lake, symbol)
        return Outcome(self._folder, self._ledger, killed, batches, found, report, symbol, line)

    @asynccontextmanager
    async def _market_open(self) -> AsyncIterator[asyncio.Task[None]]:
        """The market produces while the block runs; its failure is the block's at the latest when it ends."""
        closing = asyncio.Event()
        settings = KafkaSettings(self._servers, client_id="streamer-demo-feed")
        async with Producer(settings, self._clock) as producer:
            market = asyncio.create_task(feed(producer, self._market, self._ledger, self._clock, closing), name="market")
            try:
                yield market
                closing.set()
                await market
            finally:
                market.cancel()
                await asyncio.gather(market, return_exceptions=True)

    def _may_kill(self) -> bool:
        late_enough = self._clock.monotonic() - self._began >= KILL_AT * self._plan.seconds
        return (late_enough or self._stop.is_set()) and bool(self._committed())

    def _is_over(self, end: float) -> bool:
        return self._stop.is_set() or (not self._plan.follow and self._clock.monotonic() >= end)

    def _caught_up(self) -> bool:
        positions = committed(self._folder.lake)
        return all(positions.get(source, 0) >= end for source, end in self._ledger.ends().items())

    def _committed(self) -> int:
        """Records in the lake, as its positions say: the mock's offsets have no holes."""
        return sum(committed(self._folder.lake).values())

    async def _until(
        self,
        done: Callable[[], bool],
        daemon: DaemonProcess,
        market: asyncio.Task[None] | None,
        doing: str,
        *,
        patience: bool = True,
    ) -> None:
        """Wait for `done`, showing progress, and looking after daemon and market."""
        began = self._clock.monotonic()
        while not done():
            daemon.demand_alive()
            if market is not None and market.done():
                await market
                raise StreamerError("the market ended by itself")
            if patience and self._clock.monotonic() - began > _PATIENCE_SECONDS:
                raise Unavailable(f"{doing} took more than {_PATIENCE_SECONDS:g} s", hint=f"read {self._folder.log}")
            self._teller.status(f"{doing}: {self._ledger.count:,} produced, {self._committed():,} committed")
            await self._clock.sleep(_LOOK_EVERY_SECONDS)
