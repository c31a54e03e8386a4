"""One budget: what is held is counted once, and the largest open batches go first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamer.batch.memory_budget import CUT_SHARE, FULL_SHARE, MemoryBudget

owners = st.sampled_from(["a", "b", "c"])
purposes = st.sampled_from(["open", "chunk", ("cut", 0)])


@given(st.lists(st.tuples(owners, purposes, st.integers(0, 1000)) | owners))
def test_used_is_always_the_sum_of_what_is_held(steps: list[object]) -> None:
    budget, expected = MemoryBudget(10_000), {}
    for step in steps:
        if isinstance(step, str):
            budget.forget(step)
            expected = {key: size for key, size in expected.items() if key[0] != step}
        else:
            owner, purpose, size = step
            budget.hold(owner, purpose, size)
            expected[owner, purpose] = size

    assert budget.used_bytes == sum(expected.values())


def test_the_largest_batches_are_cut_first_and_no_more_than_needed() -> None:
    budget = MemoryBudget(100)
    for owner, size in {"small": 10, "large": 40, "middle": 30}.items():
        budget.hold(owner, "open", size)

    assert budget.victims([("small", 10), ("large", 40), ("middle", 30)], being_written_bytes=0) == ["large"]
    assert budget.victims([("small", 10), ("large", 40), ("middle", 30)], being_written_bytes=40) == []


def test_fetching_waits_when_full_but_never_while_nothing_is_held() -> None:
    budget = MemoryBudget(100)
    budget.reserve(1000)

    assert budget.used_bytes == 33
    assert not budget.full
    budget.hold("a", "chunk", int(100 * FULL_SHARE) - 33)
    assert budget.full
    assert budget.pressed
    budget.forget("a")
    assert not budget.full
    assert CUT_SHARE < FULL_SHARE


def test_what_is_kept_for_good_leaves_the_rest_of_the_budget_to_what_flows() -> None:
    budget = MemoryBudget(1000)
    budget.keep("a", 600)
    assert (budget.used_bytes, budget.pressed, budget.full) == (600, False, False)
    budget.hold("a", "open", 190)
    assert not budget.pressed
    budget.hold("a", "open", 200)
    assert budget.pressed
    assert budget.victims([("a", 200)], 0) == []
    budget.hold("a", "open", 320)
    assert budget.full
    assert budget.victims([("a", 320)], 0) == ["a"]
    budget.keep("a", 100)
    assert not budget.full
    budget.forget("a")
    assert budget.used_bytes == 0
