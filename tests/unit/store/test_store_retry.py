"""The retry layer, over a store that fails by script, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from streamer.errors import Conflict, Denied, NotFound, OutcomeUnknown, Unavailable
from streamer.store.contract import Create, ExpiredCredentials, Overwrite
from streamer.store.memory import MemoryStore
from streamer.store.retry import RetryingStore
from streamer.testing.failing_store import FailingStore, Fault, FaultKind
from streamer.testing.manual_clock import VirtualClock, run_virtual


class World:
    def __init__(self, clock: VirtualClock, script: Sequence[Fault], **policy: float) -> None:
        self.clock = clock
        self.memory = MemoryStore(clock)
        self.failing = FailingStore(self.memory, clock, script=script)
        self.store = RetryingStore(self.failing, clock, **policy)  # type: ignore[arg-type]


def play(script: Sequence[Fault], scene: Callable[[World], Awaitable[None]], **policy: float) -> World:
    async def main(clock: VirtualClock) -> World:
        world = World(clock, script, **policy)
        await scene(world)
        return world

    return run_virtual(main)


@pytest.mark.parametrize("kind", [FaultKind.UNAVAILABLE, FaultKind.BEFORE, FaultKind.CONFLICT_409, FaultKind.EXPIRED])
def test_every_operation_outlives_a_fault(kind: FaultKind) -> None:
    async def scene(world: World) -> None:
        store = world.store
        await store.prepare()
        etag = await store.put("a", b"123", mode=Create())
        assert (await store.get("a")).body == b"123"
        assert await store.get_range("a", -2, 2) == b"23"
        assert (await store.head("a")).etag == etag
        assert [info.key async for info in store.list()] == ["a"]
        await store.delete("a")
        assert world.memory.bodies == {}

    operations = ("prepare", "put", "get", "get_range", "head", "list", "delete")
    world = play([Fault(kind, operation) for operation in operations], scene)
    assert [(call.operation, call.fault) for call in world.failing.calls] == [
        (operation, fault) for operation in operations for fault in (kind, None)
    ]


def test_a_create_whose_answer_was_lost_ends_in_a_conflict_with_itself() -> None:
    async def scene(world: World) -> None:
        with pytest.raises(Conflict):
            await world.store.put("a", b"mine", mode=Create())
        assert world.memory.bodies == {"a": b"mine"}

    play([Fault(FaultKind.AFTER, "put")], scene)


def test_attempts_are_counted_and_the_last_error_is_raised() -> None:
    async def scene(world: World) -> None:
        with pytest.raises(Unavailable) as error:
            await world.store.put("a", b"x", mode=Create())
        assert type(error.value) is Unavailable

    world = play([Fault(FaultKind.UNAVAILABLE, times=None)], scene, attempts=4)
    assert len(world.failing.calls) == 4


def test_one_unknown_outcome_among_refusals_is_what_the_caller_hears() -> None:
    async def scene(world: World) -> None:
        with pytest.raises(OutcomeUnknown) as error:
            await world.store.put("a", b"x", mode=Create())
        assert error.value.context["key"] == "a"
        assert isinstance(error.value.__cause__, Unavailable)

    play([Fault(FaultKind.LATE, times=1), Fault(FaultKind.UNAVAILABLE, times=None)], scene, attempts=3)


def test_a_denial_after_an_unknown_outcome_does_not_unsay_it() -> None:
    async def scene(world: World) -> None:
        with pytest.raises(OutcomeUnknown, match="denied"):
            await world.store.put("a", b"x", mode=Create())
        assert await world.failing.deliver() is None
        assert world.memory.bodies == {"a": b"x"}

    play([Fault(FaultKind.LATE, times=1), Fault(FaultKind.DENIED, times=None)], scene)


def test_the_total_time_is_a_limit_and_waits_double() -> None:
    async def scene(world: World) -> None:
        started = world.clock.monotonic()
        with pytest.raises(Unavailable):
            await world.store.get("a")
        assert 10 < world.clock.monotonic() - started <= 30

    world = play(
        [Fault(FaultKind.UNAVAILABLE, times=None)], scene, attempts=1000, total_seconds=30, first_seconds=1, most_seconds=8
    )
    # 1 + 2 + 4 + 8 + 8 + 8, each between half and whole.
    assert 5 <= len(world.failing.calls) <= 9


def test_denied_not_found_and_conflict_are_answers_and_not_retried() -> None:
    async def scene(world: World) -> None:
        with pytest.raises(Denied):
            await world.store.get("a")
        with pytest.raises(NotFound):
            await world.store.get("a")
        await world.store.put("a", b"1", mode=Create())
        with pytest.raises(Conflict):
            await world.store.put("a", b"2", mode=Create())

    world = play([Fault(FaultKind.DENIED)], scene)
    assert len(world.failing.calls) == 4


def test_expired_credentials_get_one_more_try_and_not_two() -> None:
    async def scene(world: World) -> None:
        with pytest.raises(ExpiredCredentials):
            await world.store.put("a", b"1", mode=Overwrite())

    world = play([Fault(FaultKind.EXPIRED, times=None)], scene)
    assert len(world.failing.calls) == 2


def test_a_listing_that_breaks_goes_on_after_the_last_key_it_gave() -> None:
    async def scene(world: World) -> None:
        for number in range(20):
            await world.memory.put(f"k{number:02d}", b"", mode=Create())
        assert [info.key async for info in world.store.list("k", start_after="k04")] == [f"k{n:02d}" for n in range(5, 20)]

    # Each break comes after one object, and progress starts the count of attempts anew.
    world = play([Fault(FaultKind.AFTER, "list", times=12)], scene, attempts=2)
    assert len(world.failing.calls) == 13


def test_a_listing_that_never_works_ends() -> None:
    async def scene(world: World) -> None:
        with pytest.raises(Unavailable):
            await anext(aiter(world.store.list()))

    world = play([Fault(FaultKind.UNAVAILABLE, "list", times=None)], scene, attempts=3)
    assert len(world.failing.calls) == 3


def test_a_cancelled_wait_sends_nothing_more() -> None:
    async def scene(world: World) -> None:
        putting = asyncio.create_task(world.store.put("a", b"1", mode=Create()))
        await world.clock.sleep(0.01)
        putting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await putting
        await world.clock.sleep(3600)
        assert world.memory.bodies == {}

    world = play([Fault(FaultKind.UNAVAILABLE)], scene)
    assert len(world.failing.calls) == 1
