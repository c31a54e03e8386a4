"""Virtual time: what `ManualClock`, `VirtualTimeLoop` and `run_virtual` promise."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.testing.manual_clock import Deadlock, ManualClock, VirtualClock, run_virtual


async def test_a_manual_clock_wakes_sleepers_in_order_and_each_at_its_own_time() -> None:
    clock = ManualClock()
    woken: list[tuple[str, float]] = []
    start = clock.monotonic()

    async def sleeper(name: str, seconds: float, again: float) -> None:
        await clock.sleep(seconds)
        woken.append((name, clock.monotonic() - start))
        await clock.sleep(again)
        woken.append((name, clock.monotonic() - start))

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(sleeper("slow", 3, 100))
        tasks.create_task(sleeper("quick", 1, 1))
        await asyncio.sleep(0)
        await clock.advance(5)
        before_the_end = list(woken)
        await clock.advance(100)

    assert before_the_end == [("quick", 1), ("quick", 2), ("slow", 3)]
    assert woken[-1] == ("slow", 103)
    assert clock.sleepers == 0


async def test_a_cancelled_sleeper_does_not_count_and_does_not_wake() -> None:
    clock = ManualClock()
    task = asyncio.create_task(clock.sleep(1))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    await clock.advance(2)

    assert clock.sleepers == 0
    assert task.cancelled()


def test_the_same_seed_gives_the_same_tokens_and_another_seed_others() -> None:
    first, same, other = ManualClock(seed=1), ManualClock(seed=1), ManualClock(seed=2)

    assert [first.token() for _ in range(3)] == [same.token() for _ in range(3)]
    assert len({first.token(), first.token(), other.token()}) == 3
    assert len(first.token()) == 32
    assert all(5 <= first.jitter(10) <= 10 for _ in range(100))


def test_an_hour_of_virtual_time_passes_at_once_and_deadlines_follow_it() -> None:
    async def main(clock: VirtualClock) -> tuple[float, float, bool]:
        start, day = clock.monotonic(), clock.now()
        await clock.sleep(3600)
        slept, dated = clock.monotonic() - start, (clock.now() - day).total_seconds()
        try:
            async with asyncio.timeout(30):
                await clock.sleep(31)
        except TimeoutError:
            return slept, dated, True
        return slept, dated, False

    slept, dated, timed_out = run_virtual(main)

    assert slept == pytest.approx(3600)
    assert dated == pytest.approx(3600)
    assert timed_out


def test_a_run_in_which_nobody_can_go_on_raises_and_names_who_waits() -> None:
    async def main(_: VirtualClock) -> None:
        await asyncio.create_task(asyncio.Event().wait(), name="the-waiting-one")

    with pytest.raises(Deadlock, match="the-waiting-one"):
        run_virtual(main)


def test_what_main_raises_comes_out() -> None:
    async def main(_: VirtualClock) -> None:
        raise LookupError("out")

    with pytest.raises(LookupError, match="out"):
        run_virtual(main)


def trace(seed: int) -> list[tuple[float, int]]:
    """Twelve tasks that sleep random spans, race in `asyncio.wait`, and are cancelled by a failing task group."""

    async def main(clock: VirtualClock) -> list[tuple[float, int]]:
        steps: list[tuple[float, int]] = []

        async def walk(number: int) -> None:
            try:
                for _ in range(5):
                    await clock.sleep(clock.jitter(1))
                    steps.append((clock.monotonic(), number))
            except asyncio.CancelledError:
                steps.append((clock.monotonic(), -number))
                raise

        async def fail() -> None:
            await clock.sleep(2)
            raise LookupError

        try:
            async with asyncio.TaskGroup() as tasks:
                for number in range(1, 13):
                    tasks.create_task(walk(number))
                tasks.create_task(fail())
        except* LookupError:
            pass
        racers = [asyncio.ensure_future(clock.sleep(1)) for _ in range(20)]
        done, _ = await asyncio.wait(racers)
        steps += [(0.0, racers.index(racer)) for racer in done]
        return steps

    return run_virtual(main, seed=seed)


@given(st.integers(0, 2**32))
def test_a_seed_replays_a_run_down_to_the_order_of_cancellations(seed: int) -> None:
    assert trace(seed) == trace(seed)


@given(st.lists(st.integers(0, 10**9).map(lambda milliseconds: milliseconds / 1000), min_size=1, max_size=30))
def test_timers_fire_in_the_order_of_their_deadlines(spans: list[float]) -> None:
    async def main(clock: VirtualClock) -> list[float]:
        fired: list[float] = []

        async def one(span: float) -> None:
            await clock.sleep(span)
            fired.append(span)

        async with asyncio.TaskGroup() as tasks:
            for span in spans:
                tasks.create_task(one(span))
        return fired

    fired = run_virtual(main)

    assert len(fired) == len(spans)
    assert fired == sorted(fired)
