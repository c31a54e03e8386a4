"""What only the memory broker can show at will: zombies, deadlines that run out, sessions, crashes."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.errors import Unavailable
from streamer.records import RecordChunk, TopicPartition
from streamer.testing.manual_clock import VirtualClock, run_virtual
from streamer.testing.memory_broker import MemoryBroker, MemorySource
from streamer.testing.memory_group import share_out

TICKS = [TopicPartition("ticks", 0), TopicPartition("ticks", 1)]


class Owner:
    """Seeks to 0 at once; lets go after `seconds`."""

    def __init__(self, source: MemorySource, clock: VirtualClock, seconds: float = 0.0) -> None:
        self.source, self.clock, self.seconds = source, clock, seconds
        self.owned: frozenset[TopicPartition] = frozenset()
        self.words: list[str] = []
        self.cancelled = False

    def assigned(self, partitions: Collection[TopicPartition]) -> None:
        self.owned = frozenset(partitions)
        self.words.append("assigned")
        for partition in partitions:
            self.source.seek(partition, 0)

    async def revoked(self, partitions: Collection[TopicPartition]) -> None:
        self.words.append("revoked")
        try:
            await self.clock.sleep(self.seconds)
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        self.owned = frozenset()


async def member(broker: MemoryBroker, clock: VirtualClock, name: str, *, seconds: float = 0.0, **options: object) -> Owner:
    source = broker.source("group", name, **options)  # type: ignore[arg-type]
    owner = Owner(source, clock, seconds)
    await source.start(["ticks"], owner)
    return owner


def broker_with_records(clock: VirtualClock) -> MemoryBroker:
    broker = MemoryBroker(clock=clock)
    broker.create_topic("ticks", 2)
    for partition in TICKS:
        broker.extend(partition, [b"a", b"b", b"c"])
    return broker


async def chunks_of(owner: Owner, seconds: float = 0.0) -> list[RecordChunk]:
    return list((await owner.source.poll(TICKS, seconds)).chunks)


def test_a_member_that_is_cut_off_reads_on_but_cannot_commit_and_loses_its_partitions() -> None:
    async def main(clock: VirtualClock) -> None:
        broker = broker_with_records(clock)
        zombie = await member(broker, clock, "zombie")
        await clock.sleep(1)
        broker.group("group").cut_off("zombie")
        heir = await member(broker, clock, "heir")
        await clock.sleep(44)
        during_the_session = list(heir.words)
        await clock.sleep(2)
        read_by_zombie = await chunks_of(zombie)
        read_by_heir = await chunks_of(heir)

        assert during_the_session == []
        assert heir.owned == zombie.owned == set(TICKS)
        assert (
            [chunk.values for chunk in read_by_zombie] == [chunk.values for chunk in read_by_heir] == [[b"a", b"b", b"c"]] * 2
        )
        assert await zombie.source.commit({TICKS[0]: 3}) is False
        assert await heir.source.commit({TICKS[0]: 2}) is True

        await broker.group("group").reconnect("zombie")
        await clock.sleep(1)

        assert zombie.words == ["assigned", "revoked", "assigned"]
        assert len(zombie.owned) == len(heir.owned) == 1
        assert zombie.owned | heir.owned == set(TICKS)

    run_virtual(main)


def test_a_handler_that_takes_too_long_is_cut_short_by_its_own_source() -> None:
    async def main(clock: VirtualClock) -> None:
        broker = broker_with_records(clock)
        slow = await member(broker, clock, "slow", seconds=1_000, revoke_timeout_seconds=60)
        await clock.sleep(1)
        other = await member(broker, clock, "other")
        await clock.sleep(59)
        early = list(other.words)
        await clock.sleep(2)

        assert early == []
        assert other.words == ["assigned"]
        assert slow.cancelled
        assert broker.revocations_cut_short == 1

    run_virtual(main)


def test_a_member_slower_than_the_rebalance_timeout_is_evicted_and_comes_back() -> None:
    async def main(clock: VirtualClock) -> None:
        broker = broker_with_records(clock)
        slow = await member(broker, clock, "slow", seconds=150, revoke_timeout_seconds=200)
        await clock.sleep(1)
        other = await member(broker, clock, "other")
        await clock.sleep(121)
        owned_by_other, commit_of_slow = other.owned, await slow.source.commit({TICKS[0]: 1})
        await clock.sleep(60)

        assert owned_by_other == set(TICKS)
        assert commit_of_slow is False
        assert slow.owned | other.owned == set(TICKS)
        assert len(slow.owned) == 1

    run_virtual(main)


def test_a_crashed_member_is_missed_after_its_session_only() -> None:
    async def main(clock: VirtualClock) -> None:
        broker = broker_with_records(clock)
        dead = await member(broker, clock, "dead")
        await clock.sleep(1)
        heir = await member(broker, clock, "heir")
        await clock.sleep(1)
        dead.source.crash()
        await clock.sleep(44)
        before = heir.owned
        await clock.sleep(2)

        assert len(before) == 1
        assert heir.owned == set(TICKS)
        assert dead.words == ["assigned", "revoked", "assigned"]

    run_virtual(main)


def test_a_static_member_comes_back_within_its_session_and_nobody_else_notices() -> None:
    async def main(clock: VirtualClock) -> None:
        broker = broker_with_records(clock)
        first = await member(broker, clock, "streamer-0", static=True)
        other = await member(broker, clock, "streamer-1", static=True)
        await clock.sleep(1)
        words_before, mine = list(other.words), first.owned
        await first.source.stop()
        await clock.sleep(30)
        again = await member(broker, clock, "streamer-0", static=True)
        await clock.sleep(100)

        assert again.owned == mine
        assert other.words == words_before

    run_virtual(main)


def test_a_static_member_that_stays_away_is_replaced() -> None:
    async def main(clock: VirtualClock) -> None:
        broker = broker_with_records(clock)
        first = await member(broker, clock, "streamer-0", static=True)
        other = await member(broker, clock, "streamer-1", static=True)
        await clock.sleep(1)
        await first.source.stop()
        await clock.sleep(50)

        assert other.owned == set(TICKS)

    run_virtual(main)


def test_an_open_transaction_holds_the_end_back_until_it_ends() -> None:
    async def main(clock: VirtualClock) -> None:
        broker = MemoryBroker(clock=clock)
        broker.create_topic("ticks")
        reader = await member(broker, clock, "reader")
        await clock.sleep(1)
        transaction = broker.begin()
        broker.append(TICKS[0], b"plain-before")
        broker.append(TICKS[0], b"open", transaction=transaction)
        broker.append(TICKS[0], b"plain-after")
        first = await chunks_of(reader, 1)
        held = broker.bounds(TICKS[0]).end
        transaction.commit()
        broker.announce()
        second = await chunks_of(reader, 1)

        assert [chunk.values for chunk in first] == [[b"plain-before"]]
        assert held == 1
        assert [chunk.values for chunk in second] == [[b"open", b"plain-after"]]
        assert second[0].end == broker.bounds(TICKS[0]).end == 4

    run_virtual(main)


def test_a_topic_made_anew_starts_from_zero_and_old_positions_are_out_of_range() -> None:
    async def main(clock: VirtualClock) -> None:
        broker = broker_with_records(clock)
        reader = await member(broker, clock, "reader")
        await clock.sleep(1)
        broker.delete_topic("ticks")
        await clock.sleep(1)
        gone = reader.owned
        broker.create_topic("ticks", 1)
        await clock.sleep(1)
        reader.source.seek(TICKS[0], 3)
        polled = await reader.source.poll(TICKS, 1)

        assert gone == frozenset()
        assert [report.offset for report in polled.out_of_range] == [3]

    run_virtual(main)


def test_compaction_leaves_holes_that_chunks_cover() -> None:
    async def main(clock: VirtualClock) -> None:
        broker = broker_with_records(clock)
        broker.compact(TICKS[0], [0, 2])
        broker.skip(TICKS[0], 5)
        reader = await member(broker, clock, "reader")
        await clock.sleep(1)
        (chunk,) = (await reader.source.poll(TICKS[:1], 1)).chunks

        assert (chunk.start, chunk.end, chunk.offsets) == (0, 8, [1])

    run_virtual(main)


def test_a_broker_that_is_down_answers_nothing_and_comes_back() -> None:
    async def main(clock: VirtualClock) -> None:
        broker = broker_with_records(clock)
        reader = await member(broker, clock, "reader")
        await clock.sleep(1)
        broker.down = True
        with pytest.raises(Unavailable):
            await reader.source.bounds(TICKS)
        nothing, accepted, health = (
            await chunks_of(reader, 5),
            await reader.source.commit({TICKS[0]: 1}),
            reader.source.health(),
        )
        broker.down = False

        assert nothing == []
        assert accepted is False
        assert health is not None
        assert len(await chunks_of(reader, 5)) == 2
        assert reader.source.health() is None

    run_virtual(main)


MEMBERS = st.dictionaries(
    st.text("abcd", min_size=1, max_size=2), st.frozensets(st.sampled_from("xyz")), min_size=1, max_size=5
)
PARTITIONS = st.lists(st.builds(TopicPartition, st.sampled_from("xyz"), st.integers(0, 9)), unique=True)


@given(MEMBERS, PARTITIONS)
def test_every_partition_somebody_wants_has_exactly_one_owner_who_wants_it(
    wanted: dict[str, frozenset[str]], partitions: list[TopicPartition]
) -> None:
    shares = share_out(partitions, wanted, {})

    given_out = [(partition, name) for name, share in shares.items() for partition in share]

    assert sorted(partition for partition, _ in given_out) == sorted(
        p for p in partitions if any(p.topic in topics for topics in wanted.values())
    )
    assert all(partition.topic in wanted[name] for partition, name in given_out)


@given(st.integers(0, 20), st.integers(1, 5), st.integers(1, 5))
def test_shares_are_even_and_owners_keep_what_is_fair(count: int, before: int, after: int) -> None:
    partitions = [TopicPartition("x", number) for number in range(count)]
    names = [f"m{number}" for number in range(max(before, after))]
    old = share_out(partitions, dict.fromkeys(names[:before], frozenset("x")), {})
    owners = {partition: name for name, share in old.items() for partition in share}

    new = share_out(partitions, dict.fromkeys(names[:after], frozenset("x")), owners)
    sizes = [len(share) for share in new.values()]
    stayed = sum(owners[partition] == name for name, share in new.items() for partition in share)
    could_stay = sum(min(len(old.get(name, [])), count // after) for name in new)

    assert max(sizes) - min(sizes) <= 1
    assert stayed >= could_stay
