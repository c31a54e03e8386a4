"""One seed's story: a cast of replicas, a world that does as chance says, and an end in which everything must be well.

Chance is drawn from the seed in one order. Whatever happens here can happen to the daemon; nothing happens that a real
Kafka or bucket cannot do. It judges nothing itself, but for the processes: the lake is judged by `watched_lake.py`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from streamer.errors import StreamerError, Unavailable
from streamer.pipeline import Budgets
from streamer.records import TopicPartition
from streamer.streams import CutLimits, HistorySpec
from streamer.testing.failing_store import Chances, Fault, FaultKind
from streamer.testing.manual_clock import VirtualClock
from streamer.testing.memory_log import Transaction
from tests.simulation.distant_store import DistantStore, SlowWorkers
from tests.simulation.watched_lake import PartitionTruth, WatchedLake
from tests.simulation.world import Replica, World, layout, tick

LAYOUTS = (
    layout(),
    layout("date={date}"),
    layout("symbol={symbol}", format="ndjson.gz"),
    layout("symbol={symbol}/date={date}", format="ndjson.gz"),
)
RECORD_BYTES = 400  # one record decoded, with its objects, on the large side
SLOTS = 3
HISTORIES = (None, None, HistorySpec(window=3, snapshot_every_seconds=2.0, keep=2), None, None)
HISTORY_BYTES = 20_000  # of the windows of one partition, with a copy under way
FILE_BYTES = 6_000  # one encoded file of a small batch: a Parquet footer is most of it


@dataclass
class Actor:
    """A replica, its way to the lake, and the most memory it may hold."""

    replica: Replica
    store: DistantStore
    most_bytes: int
    peak_bytes: int = 0
    cut_off: bool = False


@dataclass
class Open:
    """A transaction that has not ended."""

    transaction: Transaction
    records: list[tuple[TopicPartition, int, bytes]] = field(default_factory=list)


class Story:
    """Make one and `run` it."""

    def __init__(self, clock: VirtualClock, seed: int, event: Callable[[str], None]) -> None:
        self.chance = random.Random(seed)
        self.clock = clock
        self.event = event
        self.lake = WatchedLake(clock, event)
        self.world = World(clock, partitions=self.chance.randint(1, 4))
        self.world.lake = self.lake
        self.broker = self.world.broker
        self.sources = self.broker.partitions()
        self.lake.truth = {source: PartitionTruth() for source in self.sources}
        self.numbers = dict.fromkeys(self.sources, 0)
        self.living: list[Actor] = []
        self.cast: list[Actor] = []
        self.open: list[Open] = []
        self.errands: list[asyncio.Task[None]] = []
        pick = self.chance.choice
        self.most_replicas = self.chance.randint(1, 3)
        self.chunk_records = pick((1, 3, 4, 7, 20))
        self.fault_rate = pick((0.0, 0.02, 0.05, 0.15, 0.3))
        self.distance_seconds = pick((0.0, 0.02, 0.3, 3.0))
        self.work_seconds = pick((0.0, 0.0, 0.1, 2.0))
        self.hang_seconds = pick((2.0, 20.0, 120.0))
        self.budget_bytes = pick((8_000, 20_000, 60_000, 64 << 20))
        self.keeps_layout = self.chance.random() < 0.5
        self.first_layout = pick(LAYOUTS)
        # Drawn from the seed's number alone: whether there is a history changes nothing else that chance decides.
        self.history = HISTORIES[seed % len(HISTORIES)]
        if self.history is not None:
            self.budget_bytes = max(self.budget_bytes, 60_000)  # with less, symbols leave the history

    async def run(self) -> None:
        """Everything from the first process to the last look at the lake."""
        self.start_replica()
        for _ in range(self.chance.randint(8, 24)):
            await self.one_thing()
            await self.clock.sleep(self.chance.choice((0.0, 0.0, 0.05, 0.3, 1.0, 3.0, 12.0)))
        await self.end()

    # ---- what may happen -------------------------------------------------------------------------------------------------

    async def one_thing(self) -> None:
        """One thing, by chance; those that cannot happen now do not."""
        happenings: Sequence[tuple[int, Callable[[], object]]] = (
            (20, self.produce),
            (4, self.poison),
            (5, self.begin_or_end_transaction),
            (3, self.skip_offsets),
            (3, self.compact),
            (4, self.truncate),
            (8, self.start_replica),
            (9, self.crash),
            (5, self.stop),
            (4, self.become_zombie),
            (4, self.reconnect),
            (3, self.toggle_broker),
            (4, self.storm),
            (6, self.deliver_late),
            (8, self.ambush),
            (1, self.add_partition),
        )
        [happening] = self.chance.choices([do for _, do in happenings], weights=[weight for weight, _ in happenings])
        done = happening()
        if isinstance(done, Coroutine):
            await done

    async def ambush(self) -> None:
        """Something befalls a partition in the middle of a write; mostly its owner dies, and Kafka forgets."""
        ends = self.clock.monotonic() + 10.0
        while self.clock.monotonic() < ends and not (found := self.being_written()):
            await self.clock.sleep(0.1)
        if not found:
            return
        source = self.chance.choice(found)
        self.event(f"world: an ambush on {source}")
        deed = self.chance.choice((self.crash, self.crash, self.become_zombie, self.stop))()
        if isinstance(deed, Coroutine):
            await deed
        memory_loss = self.chance.choice((None, None, self.compact, self.truncate))
        if memory_loss is not None:
            memory_loss(source)
        if self.chance.random() < 0.5:
            self.start_replica()

    def being_written(self) -> list[TopicPartition]:
        positions = {source: self.lake.position(source) for source in self.sources}
        return [source for source, position in positions.items() if position is not None and position.writing]

    def produce(self) -> None:
        """A burst into one partition, or a little into all."""
        if self.chance.random() < 0.6:
            self.send(self.chance.choice(self.sources), self.chance.randint(1, 40))
        else:
            for source in self.sources:
                self.send(source, self.chance.randint(1, 8))

    def poison(self) -> None:
        """Nothing but records that no decoder takes."""
        source = self.chance.choice(self.sources)
        for number in range(self.chance.randint(1, 25)):
            value = b"\xff poison %d" % number if number % 2 else b"[%d" % number
            self.lake.truth[source].visible[self.broker.append(source, value)] = value
        self.event(f"world: poison in {source}")

    def send(self, source: TopicPartition, count: int) -> None:
        first = self.broker.log(source).end  # type: ignore[union-attr]
        for _ in range(count):
            value = self.next_value(source)
            self.lake.truth[source].visible[self.broker.append(source, value)] = value
        self.event(f"world: {count} records into {source} from {first}")

    def next_value(self, source: TopicPartition) -> bytes:
        self.numbers[source] += 1
        return tick(self.numbers[source], self.chance.choice(("A", "B", "B/C")))

    def begin_or_end_transaction(self) -> None:
        """A transaction begins and sends, or one that was open ends: its records are seen from then on, or never."""
        if self.open and self.chance.random() < 0.6:
            self.end_transaction(self.open.pop(0))
            return
        opened = Open(self.broker.begin())
        for source in self.chance.sample(self.sources, self.chance.randint(1, len(self.sources))):
            for _ in range(self.chance.randint(1, 6)):
                value = self.next_value(source)
                opened.records.append((source, self.broker.append(source, value, transaction=opened.transaction), value))
        self.open.append(opened)
        self.event(f"world: a transaction with {len(opened.records)} records begins")

    def end_transaction(self, opened: Open) -> None:
        committed = self.chance.random() < 0.7
        if committed:
            for source, offset, value in opened.records:
                self.lake.truth[source].visible[offset] = value
            opened.transaction.commit()
        else:
            opened.transaction.abort()
        self.broker.announce()
        self.event(f"world: a transaction {'commits' if committed else 'aborts'}")

    def skip_offsets(self) -> None:
        source = self.chance.choice(self.sources)
        self.broker.skip(source, self.chance.randint(1, 5))
        self.event(f"world: a hole in {source}")

    def compact(self, source: TopicPartition | None = None) -> None:
        """Some old records go; the offsets of the others stay."""
        source = source or self.chance.choice(self.sources)
        truth, bounds = self.lake.truth[source], self.broker.bounds(source)
        there = [offset for offset in truth.visible if bounds.beginning <= offset < bounds.end - 1]
        gone = [offset for offset in there if self.chance.random() < 0.2]
        self.broker.compact(source, gone)
        truth.compacted.update(gone)
        self.event(f"world: compaction takes {gone} of {source}")

    def truncate(self, source: TopicPartition | None = None) -> None:
        """Retention takes the head, at most up to the last stable offset."""
        source = source or self.chance.choice(self.sources)
        bounds, position = self.broker.bounds(source), self.lake.position(source)
        reached = max(bounds.beginning, position.committed if position else 0)
        beginning = min(bounds.end, self.chance.choice((bounds.beginning, reached)) + self.chance.choice((1, 3, 10, 1000)))
        self.broker.truncate(source, beginning)
        self.lake.truth[source].beginning = beginning
        self.event(f"world: retention takes {source} up to {beginning}")

    def add_partition(self) -> None:
        source = TopicPartition("ticks", len(self.sources))
        self.lake.truth[source] = PartitionTruth()
        self.numbers[source] = 0
        self.broker.add_partitions("ticks", len(self.sources) + 1)
        self.sources = self.broker.partitions()
        self.event(f"world: {source} is new")

    # ---- processes -------------------------------------------------------------------------------------------------------

    def start_replica(self) -> None:
        self.living = [actor for actor in self.living if actor.replica.task is None or not actor.replica.task.done()]
        if len(self.living) < self.most_replicas:
            self.living.append(self.actor(self.fault_rate))
            self.living[-1].replica.start()

    def actor(self, fault_rate: float, **options: Any) -> Actor:
        pick = self.chance.choice
        chances = Chances(self.chance.getrandbits(32), fault_rate, tuple(FaultKind)) if fault_rate else None
        cut = CutLimits(pick((1, 5, 10, 30, 1000)), pick((300, 2000, 1 << 20)), pick((0.5, 5.0, 60.0)), pick((None, None, 1.0)))
        name = f"replica-{len(self.cast) + 1}"
        store = DistantStore(
            name,
            self.event,
            self.lake,
            self.clock,
            self.chance.getrandbits(32),
            self.distance_seconds,
            chances=chances,
            hang_seconds=self.hang_seconds,
        )
        chosen = self.first_layout if self.keeps_layout else pick(LAYOUTS)
        replica = self.world.replica(
            store=store,
            cut=cut,
            layout_=chosen,
            chunk_records=lambda: self.chance.randint(1, self.chunk_records),
            workers=SlowWorkers(self.clock, self.chance.getrandbits(32), self.work_seconds),
            budgets=Budgets(stop_seconds=pick((1.0, 25.0)), handover_seconds=pick((0.5, 60.0, 90.0))),
            budget_bytes=self.budget_bytes,
            upload_slots=SLOTS,
            history=self.history,
            **options,
        )
        # A chunk for each partition may be under way when fetching stops, and one sealed range must be held whole.
        chunks = len(self.sources) * 2 * self.chunk_records * RECORD_BYTES
        ranges = max((end - start for ranges in self.lake.ranges.values() for start, end in ranges), default=0)
        windows = 0 if self.history is None else len(self.sources) * HISTORY_BYTES
        most = self.budget_bytes + chunks + max(ranges, 200) * RECORD_BYTES + SLOTS * FILE_BYTES + windows
        actor = Actor(replica, store, most)
        self.watch_memory(actor)
        self.cast.append(actor)
        self.event(f"world: {name} starts, {cut} layout {chosen.fingerprint}")
        return actor

    def watch_memory(self, actor: Actor) -> None:
        budget = actor.replica.pipeline._kit.budget
        hold = budget.hold

        def watched(owner: Any, purpose: Any, size_bytes: int) -> None:
            hold(owner, purpose, size_bytes)
            actor.peak_bytes = max(actor.peak_bytes, budget.used_bytes)

        budget.hold = watched  # type: ignore[method-assign]

    def leaving(self) -> Actor | None:
        return self.living.pop(self.chance.randrange(len(self.living))) if self.living else None

    async def crash(self) -> None:
        if (actor := self.leaving()) is not None:
            await self.kill(actor)

    async def kill(self, actor: Actor) -> None:
        self.event(f"world: {actor.replica.name} is killed")
        await actor.replica.crash()

    def stop(self) -> None:
        """SIGTERM; by chance a second one does not wait."""
        if (actor := self.leaving()) is not None:
            patience = self.chance.choice((0.0, 0.1, 1.0, 60.0, 60.0, 60.0))
            self.errand(self.stop_or_kill(actor, patience), f"stop {actor.replica.name}")

    async def stop_or_kill(self, actor: Actor, patience: float) -> None:
        self.event(f"world: {actor.replica.name} is asked to stop")
        actor.replica.stop_event.set()
        assert actor.replica.task is not None
        done, _ = await asyncio.wait([actor.replica.task], timeout=patience)
        if not done:
            await self.kill(actor)
        else:
            self.event(f"world: {actor.replica.name} has stopped")

    def become_zombie(self) -> None:
        """A replica no longer hears from the group, and works on."""
        group = self.broker.group("streamer")
        seated = [actor for actor in self.living if not actor.cut_off and actor.replica.name in group.owners.values()]
        if seated:
            actor = self.chance.choice(seated)
            actor.cut_off = True
            expired = self.chance.random() < 0.5
            (group.expire if expired else group.cut_off)(actor.replica.name)
            self.event(f"world: {actor.replica.name} is cut off from its group, expired at once: {expired}")

    def reconnect(self) -> None:
        zombies = [actor for actor in self.living if actor.cut_off]
        if zombies:
            actor = self.chance.choice(zombies)
            actor.cut_off = False
            self.event(f"world: {actor.replica.name} hears from its group again")
            name = actor.replica.name
            self.errand(self.broker.group("streamer").reconnect(name), f"reconnect {name}")

    def errand(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self.errands.append(asyncio.create_task(work, name=name))

    # ---- services --------------------------------------------------------------------------------------------------------

    def toggle_broker(self) -> None:
        self.broker.down = not self.broker.down
        self.event(f"world: Kafka is {'down' if self.broker.down else 'up'}")

    def storm(self) -> None:
        """The store refuses one replica a number of calls in a row."""
        if self.living:
            actor, kind = self.chance.choice(self.living), self.chance.choice(tuple(FaultKind))
            operation = self.chance.choice(("put", "put", "*", "get", "head"))
            key = self.chance.choice(("*", "_streamer/positions/*", "raw/*", "dead-letters/*"))
            times = self.chance.choice((1, 2, 3, 5, 12))
            actor.store.inject(Fault(kind, operation, key, self.chance.choice((0, 0, 1, 3)), times))
            self.event(f"world: the store fails {actor.replica.name} {times} times: {kind} {operation} {key}")

    async def deliver_late(self) -> None:
        """A write whose sender has given up, or is dead, arrives."""
        stores = [actor.store for actor in self.cast if actor.store.late]
        if stores:
            store = self.chance.choice(stores)
            await self.deliver(store, self.chance.randrange(len(store.late)))

    async def deliver(self, store: DistantStore, index: int) -> None:
        late = store.late[index]
        self.event(f"world: late {late.operation} {late.key} arrives")
        refused = await store.deliver(index)
        self.event(f"world: late {late.operation} {late.key}: {type(refused).__name__ if refused else 'landed'}")

    # ---- the end ---------------------------------------------------------------------------------------------------------

    async def end(self) -> None:
        """All faults end, everybody goes, one healthy replica catches up, and everything that was late arrives."""
        self.event("world: all faults end")
        self.broker.down = False
        for opened in self.open:
            self.end_transaction(opened)
        for actor in self.cast:
            actor.store.heal()
        if self.chance.random() < 0.5:
            await self.clock.sleep(self.chance.choice((1.0, 30.0, 200.0)))
        for actor in list(self.living):
            self.living.remove(actor)
            if self.chance.random() < 0.3:
                await self.kill(actor)
            else:
                self.errand(self.stop_or_kill(actor, 60.0), f"stop {actor.replica.name}")
        for _ in range(self.chance.randint(0, 3)):
            await self.deliver_late()
        await asyncio.gather(*self.errands)
        await self.catch_up()
        for actor in self.cast:
            while actor.store.late:
                await self.deliver(actor.store, 0)
        self.lake.check_end()
        if self.history is not None:
            self.lake.check_history(self.history.document, self.history.window)
        await self.check_processes()

    async def catch_up(self) -> None:
        healthy = self.actor(0.0, until_caught_up=True)
        self.living.append(healthy)
        task = healthy.replica.start().task
        assert task is not None
        try:
            async with asyncio.timeout(3600.0):
                await task
        except TimeoutError:
            self.lake.wrong(f"the last replica never caught up: {healthy.replica.pipeline.problems()}")
        except StreamerError as error:
            self.lake.wrong(f"the last replica ended with {error!r}")
        if healthy.replica.pipeline.unfinished:
            self.lake.wrong(f"the last replica left {healthy.replica.pipeline.unfinished} unfinished")

    async def check_processes(self) -> None:
        """Nobody refused anything, held more memory than allowed, died of a bug, or left a task behind."""
        for actor in self.cast:
            task, name = actor.replica.task, actor.replica.name
            if actor.peak_bytes > actor.most_bytes:
                self.lake.wrong(f"{name} held {actor.peak_bytes} bytes, of at most {actor.most_bytes}")
            if left := actor.replica.pipeline._kit.budget.used_bytes:
                self.lake.wrong(f"{name} is gone, and {left} bytes of its budget are still held")
            error = None if task is None or not task.done() or task.cancelled() else task.exception()
            # With Kafka down a process does not start; whoever started it starts it again.
            if error is not None and (actor.replica.pipeline._assigned_once or not isinstance(error, Unavailable)):
                self.lake.wrong(f"{name} died of {error!r}")
        await self.clock.sleep(200.0)
        left_over = sorted(task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task())
        if left_over:
            self.lake.wrong(f"tasks are left: {left_over}")
