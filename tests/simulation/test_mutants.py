"""The simulation catches a daemon that is broken on purpose, and has nothing to say of the one that is not."""

from __future__ import annotations

import pytest

from tests.simulation.mutants import MUTANTS, Mutant
from tests.simulation.seeded import run_seed

SEEDS = (*range(150), 226)
"""The seeds that `test_seeds.py` runs on the daemon as it is, and one for a mutant that none of those shows."""

BY_SEED = [mutant for mutant in MUTANTS if mutant.story is None]
BY_STORY = [mutant for mutant in MUTANTS if mutant.story is not None]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_daemon_broken_on_purpose_is_caught(mutant: Mutant) -> None:
    assert mutant.caught_by(SEEDS) is not None, f"{mutant.name} got away: {mutant.says}"


@pytest.mark.parametrize("seed", sorted({mutant.seed for mutant in BY_SEED}))
def test_the_seed_that_catches_a_mutant_finds_nothing_in_the_daemon_as_it_is(seed: int) -> None:
    assert seed in SEEDS
    run_seed(seed).check()


@pytest.mark.parametrize("mutant", BY_STORY, ids=lambda mutant: mutant.name)
def test_the_story_that_catches_a_mutant_holds_for_the_daemon_as_it_is(mutant: Mutant) -> None:
    assert mutant.story is not None
    mutant.story()


def test_there_are_enough_of_them_and_each_has_a_name_and_a_sentence() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 12
    assert all(mutant.says.endswith(".") for mutant in MUTANTS)
    assert all(mutant.shows for mutant in BY_SEED)
