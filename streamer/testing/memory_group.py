"""A consumer group as a broker coordinates it: eager rebalances with deadlines, sessions, a commit that can be refused.

Part of `memory_broker`. A member that is cut off goes on reading what it believes it owns, as real ones do; only its
commits are refused. The group knows members through three calls and nothing of what they read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from streamer.records import TopicPartition

if TYPE_CHECKING:
    from streamer.testing.memory_broker import MemoryBroker


class GroupMember(Protocol):
    """What a group asks of a member."""

    name: str
    static: bool
    topics: frozenset[str]
    gone: bool

    async def give_up(self) -> None:
        """Let go of all partitions: returns when the member is ready to join again."""
        ...

    def receive(self, generation: int, partitions: Collection[TopicPartition]) -> None:
        """The new assignment."""
        ...


@dataclass(eq=False, slots=True)
class _Seat:
    member: GroupMember
    partitions: list[TopicPartition] = field(default_factory=list)
    generation: int = -1


class MemoryGroup:
    """One consumer group. Made by `MemoryBroker.group`."""

    def __init__(self, broker: MemoryBroker, session_timeout_seconds: float, rebalance_timeout_seconds: float) -> None:
        self.generation = 0
        self.committed: dict[TopicPartition, int] = {}
        self.session_timeout_seconds = session_timeout_seconds
        self.rebalance_timeout_seconds = rebalance_timeout_seconds
        self._broker = broker
        self._seats: dict[str, _Seat] = {}
        self._cut_off: dict[str, GroupMember] = {}
        self._sessions: dict[str, asyncio.Task[None]] = {}
        self._heard = asyncio.Event()
        self._unsettled = False
        self._round: asyncio.Task[None] | None = None
        self._late: set[asyncio.Task[None]] = set()

    @property
    def owners(self) -> Mapping[TopicPartition, str]:
        """Who owns what, as the group sees it. A member that is cut off may believe otherwise."""
        return {partition: name for name, seat in self._seats.items() for partition in seat.partitions}

    @property
    def settled(self) -> bool:
        """False while a rebalance is due or under way."""
        return not self._unsettled and (self._round is None or self._round.done())

    def rebalance(self) -> None:
        """Ask every member to give up what it has and join again."""
        self._unsettled = True
        if self._round is None or self._round.done():
            self._round = asyncio.create_task(self._rebalance(), name="memory-group-rebalance")

    def cut_off(self, name: str) -> None:
        """The member no longer hears from the group, nor the group from it. It reads on as a zombie; after the session
        timeout its partitions go to others."""
        if name in self._cut_off:
            return
        self._cut_off[name] = self._seats[name].member
        self._sessions[name] = asyncio.create_task(self._expire_after_session(name), name=f"memory-session-{name}")

    def expire(self, name: str) -> None:
        """Cut a member off and take its partitions away at once, as if its session had run out already."""
        self._cut_off[name] = self._seats[name].member
        self._end_session(name)
        self._evict(name)

    async def reconnect(self, name: str) -> None:
        """The member hears again: where it has been evicted, or a rebalance is under way, it gives up and joins."""
        member = self._cut_off.pop(name)
        self._end_session(name)
        self._heard.set()
        if name not in self._seats:
            await member.give_up()
            self._join_again(member)
        elif self.settled and self._seats[name].generation != self.generation:
            self.rebalance()

    # what members call

    def join(self, member: GroupMember) -> None:
        seat = self._seats.get(member.name)
        if seat is not None and member.static and seat.member.static:
            self._cut_off.pop(member.name, None)
            self._end_session(member.name)
            seat.member = member
            self._heard.set()
            if self.settled:
                self._seat(seat, seat.partitions)
            return
        if seat is not None and seat.member is not member:
            raise ValueError(f"the group has a member {member.name} already")
        self._seats[member.name] = _Seat(member)
        self.rebalance()

    def leave(self, member: GroupMember) -> None:
        """A static member stays until its session runs out, or until it is back."""
        if not self._holds_seat(member):
            self._cut_off.pop(member.name, None)
        elif member.static:
            self.cut_off(member.name)
        else:
            self._cut_off.pop(member.name, None)
            self._end_session(member.name)
            self._evict(member.name)

    def lose(self, member: GroupMember) -> None:
        """The member's process is gone: nobody is told before its session runs out."""
        if self._holds_seat(member):
            self.cut_off(member.name)

    def commit(self, member: GroupMember, generation: int, offsets: Mapping[TopicPartition, int]) -> bool:
        if not self._holds_seat(member) or member.name in self._cut_off or generation != self.generation:
            return False
        self.committed.update(offsets)
        return True

    # inside

    def _holds_seat(self, member: GroupMember) -> bool:
        seat = self._seats.get(member.name)
        return seat is not None and seat.member is member

    def _join_again(self, member: GroupMember) -> None:
        if member.name not in self._seats and not member.gone:
            self.join(member)

    def _seat(self, seat: _Seat, partitions: list[TopicPartition]) -> None:
        seat.partitions = partitions
        if seat.member.name not in self._cut_off:
            seat.generation = self.generation
            seat.member.receive(self.generation, partitions)

    def _evict(self, name: str) -> None:
        if self._seats.pop(name, None) is not None:
            self._heard.set()
            self.rebalance()

    def _end_session(self, name: str) -> None:
        session = self._sessions.pop(name, None)
        if session is not None:
            session.cancel()

    async def _expire_after_session(self, name: str) -> None:
        await asyncio.sleep(self.session_timeout_seconds)
        del self._sessions[name]
        self._evict(name)

    async def _rebalance(self) -> None:
        while self._unsettled:
            asked = dict(self._seats)
            await asyncio.gather(*(self._answer(name, seat) for name, seat in asked.items()))
            # Who joined meanwhile has nothing to give up, and who left is gone: both are in this generation already.
            self._unsettled = False
            self.generation += 1
            before = self.owners
            wanted = {name: seat.member.topics for name, seat in self._seats.items()}
            shares = share_out(self._broker.partitions(), wanted, before)
            for name, seat in list(self._seats.items()):
                self._seat(seat, shares[name])

    async def _answer(self, name: str, seat: _Seat) -> None:
        """Wait until a member has given up its partitions, or has been evicted."""
        while name in self._cut_off and self._seats.get(name) is seat:
            self._heard.clear()
            await self._heard.wait()
        if self._seats.get(name) is not seat:
            return
        giving_up = asyncio.create_task(seat.member.give_up(), name=f"memory-revoke-{name}")
        await asyncio.wait({giving_up}, timeout=self.rebalance_timeout_seconds)
        if giving_up.done():
            giving_up.result()
            return
        self._seats.pop(name, None)
        late = asyncio.create_task(self._join_late(seat.member, giving_up), name=f"memory-late-{name}")
        self._late.add(late)
        late.add_done_callback(self._late.discard)

    async def _join_late(self, member: GroupMember, giving_up: asyncio.Task[None]) -> None:
        await giving_up
        self._join_again(member)


def share_out(
    partitions: Collection[TopicPartition], wanted: Mapping[str, frozenset[str]], before: Mapping[TopicPartition, str]
) -> dict[str, list[TopicPartition]]:
    """Partitions to members as evenly as can be, each where it was `before` if that is fair. Members get only what
    they asked for; the result does not depend on the order of `wanted`."""
    shares: dict[str, list[TopicPartition]] = {name: [] for name in sorted(wanted)}
    takeable = [p for p in sorted(partitions) if any(p.topic in topics for topics in wanted.values())]
    if not shares:
        return shares
    fair, extra = divmod(len(takeable), len(shares))
    homeless = []
    for partition in takeable:
        owner = before.get(partition)
        if owner not in shares or partition.topic not in wanted[owner]:
            homeless.append(partition)
        elif len(shares[owner]) < fair:
            shares[owner].append(partition)
        elif len(shares[owner]) == fair and extra > 0:
            extra -= 1
            shares[owner].append(partition)
        else:
            homeless.append(partition)
    for partition in homeless:
        takers = [name for name, topics in wanted.items() if partition.topic in topics]
        shares[min(takers, key=lambda name: (len(shares[name]), name))].append(partition)
    return shares
