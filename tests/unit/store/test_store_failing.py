"""The store that fails: each fault does what its name says, the same way each time."""

from __future__ import annotations

import asyncio

import pytest

from streamer.errors import Conflict, OutcomeUnknown, StreamerError, Unavailable
from streamer.store.contract import Create, Overwrite
from streamer.store.memory import MemoryStore
from streamer.testing.failing_store import Call, Chances, FailingStore, Fault, FaultKind
from streamer.testing.manual_clock import ManualClock, VirtualClock, run_virtual


@pytest.fixture
def memory() -> MemoryStore:
    return MemoryStore(ManualClock())


def failing(memory: MemoryStore, *script: Fault, chances: Chances | None = None) -> FailingStore:
    return FailingStore(memory, ManualClock(), script=script, chances=chances)


@pytest.mark.parametrize(("kind", "applied"), [(FaultKind.BEFORE, False), (FaultKind.AFTER, True), (FaultKind.LATE, False)])
async def test_a_lost_answer_says_nothing_about_the_effect(memory: MemoryStore, kind: FaultKind, applied: bool) -> None:
    store = failing(memory, Fault(kind))

    with pytest.raises(OutcomeUnknown):
        await store.put("a", b"1", mode=Create())
    assert ("a" in memory.bodies) is applied


async def test_a_late_write_lands_when_the_test_says_so_and_meets_what_is_there_then(memory: MemoryStore) -> None:
    store = failing(memory, Fault(FaultKind.LATE, times=3))
    buffer = bytearray(b"late")
    for key in "abc":
        with pytest.raises(OutcomeUnknown):
            await store.put(key, memoryview(buffer), mode=Create())
    buffer[:] = b"soon"
    await store.put("b", b"other", mode=Create())

    assert isinstance(await store.deliver(1), Conflict)
    assert await store.deliver() is None
    store.drop_late()
    assert memory.bodies == {"a": b"late", "b": b"other"}
    assert not store.late


async def test_a_write_sent_twice_is_answered_as_the_second_time(memory: MemoryStore) -> None:
    store = failing(memory, Fault(FaultKind.TWICE, times=2))

    with pytest.raises(Conflict):
        await store.put("a", b"1", mode=Create())
    await store.put("a", b"2", mode=Overwrite())
    assert memory.bodies == {"a": b"2"}


@pytest.mark.parametrize("kind", [FaultKind.HANG, FaultKind.SLOW])
def test_a_caller_that_gives_up_waiting_leaves_a_write_that_may_land(kind: FaultKind) -> None:
    async def main(clock: VirtualClock) -> None:
        memory = MemoryStore(clock)
        store = FailingStore(memory, clock, script=[Fault(kind)])
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await store.put("a", b"1", mode=Create())
        assert memory.bodies == {}
        assert await store.deliver() is None
        assert memory.bodies == {"a": b"1"}

    run_virtual(main)


def test_a_hang_ends_without_an_answer_and_a_slow_call_with_one() -> None:
    async def main(clock: VirtualClock) -> None:
        store = FailingStore(
            MemoryStore(clock), clock, script=[Fault(FaultKind.HANG), Fault(FaultKind.SLOW, skip=1)], hang_seconds=9
        )
        started = clock.monotonic()
        with pytest.raises(OutcomeUnknown):
            await store.put("a", b"1", mode=Create())
        await store.put("b", b"1", mode=Create())
        assert clock.monotonic() - started == 18
        assert [late.key for late in store.late] == ["a"]

    run_virtual(main)


async def test_operation_key_skip_and_times_choose_the_call(memory: MemoryStore) -> None:
    store = failing(memory, Fault(FaultKind.UNAVAILABLE, "put", "positions/*", skip=1, times=2))
    outcomes = []
    for _ in range(4):
        await store.put("raw/a", b"1", mode=Overwrite())
        try:
            outcomes.append(await store.put("positions/a", b"1", mode=Overwrite()))
        except Unavailable as error:
            outcomes.append(type(error).__name__)
        await store.get("positions/a")

    assert [outcome == "Unavailable" for outcome in outcomes] == [False, True, True, False]


async def chance_run(seed: int) -> list[Call]:
    clock = ManualClock()
    store = FailingStore(MemoryStore(clock), clock, chances=Chances(seed, 0.4, key="raw/*"))
    for number in range(60):
        for ask in (
            store.put(f"raw/{number}", b"x", mode=Create()),
            store.head("raw/0"),
            store.put("safe", b"x", mode=Overwrite()),
        ):
            try:
                await ask
            except StreamerError:
                continue
    return store.calls


async def test_the_same_seed_gives_the_same_faults(memory: MemoryStore) -> None:
    first = await chance_run(7)

    assert first == await chance_run(7)
    assert first != await chance_run(8)
    assert {call.fault for call in first} == {None, FaultKind.BEFORE, FaultKind.AFTER, FaultKind.UNAVAILABLE}
    assert all(call.fault is None for call in first if call.key == "safe")


async def test_a_healed_store_does_not_fail(memory: MemoryStore) -> None:
    store = failing(memory, Fault(FaultKind.DENIED, times=None), chances=Chances(1, 1.0))
    store.heal()

    await store.put("a", b"1", mode=Create())
    assert (await store.get("a")).body == b"1"
