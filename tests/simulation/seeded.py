"""The whole pipeline under chance: a seed decides what is sent, what fails, who dies and who comes back from the dead.

    python -m tests.simulation.seeded --seed 7          replays one run and prints its events
    python -m tests.simulation.seeded --seeds 1000      runs many from --first on; prints the seeds that break the rule
    python -m tests.simulation.seeded --fresh 200       seeds drawn by chance

Nothing is random but by the seed: the same one gives the same events, line by line. What must hold is in `watched_lake.py`.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import structlog

from streamer.log_events import LogEvent
from streamer.testing.manual_clock import FIRST_SECOND, Deadlock, VirtualClock, run_virtual
from tests.simulation.seeded_story import Story

NEVER = (LogEvent.PARTITION_REFUSED, LogEvent.TASK_DIED)
"""Nothing in these worlds gives a reason to refuse a partition, and no task may die."""

EVERYTHING_SECONDS = 6 * 3600.0
"""Virtual. A run that is not at its end by then hangs."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a seed: `problems` are violations of the rule, empty where it held."""

    seed: int
    problems: tuple[str, ...]
    events: tuple[str, ...]
    records: int = 0
    files: int = 0
    positions: int = 0

    def check(self) -> None:
        """Raise `AssertionError` with the problems and how to see the run again."""
        again = f"python -m tests.simulation.seeded --seed {self.seed}"
        assert not self.problems, f"seed {self.seed}: " + "; ".join(self.problems[:5]) + f"\nreplay: {again}"


def run_seed(seed: int) -> Outcome:
    """Run one seed to its end; nothing is raised for a violation."""
    events: list[str] = []
    problems: list[str] = []
    stories: list[Story] = []

    async def main(clock: VirtualClock) -> None:
        def event(line: str) -> None:
            events.append(f"{clock.monotonic() - FIRST_SECOND:10.3f} {line}")

        def unhandled(_: object, context: dict[str, Any]) -> None:
            problems.append(f"unhandled: {context['message']} {context.get('exception')!r}")

        asyncio.get_running_loop().set_exception_handler(unhandled)
        with _logged_to(event, problems):
            story = Story(clock, seed, event)
            stories.append(story)
            async with asyncio.timeout(EVERYTHING_SECONDS):
                await story.run()

    try:
        run_virtual(main, seed=seed)
    except (Deadlock, TimeoutError, AssertionError) as error:
        problems.append(f"never came to its end: {error!r}")
    except Exception as error:
        problems.append(f"raised {error!r}")
    lake = stories[0].lake
    return Outcome(
        seed,
        (*lake.problems, *problems),
        tuple(events),
        sum(len(truth.visible) for truth in lake.truth.values()),
        sum(map(len, lake.ranges.values())),
        sum(map(len, lake.positions.values())),
    )


@contextmanager
def _logged_to(event: Callable[[str], None], problems: list[str]) -> Iterator[None]:
    """The daemon's own log lines, among the events."""

    def line(_: object, level: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        name = str(fields.pop("event"))
        if name in NEVER:
            problems.append(f"{name}: {fields}")
        event(f"{level}: {name} " + " ".join(f"{field}={value}" for field, value in fields.items()))
        raise structlog.DropEvent

    before = structlog.get_config()["processors"]
    kept = list(before)
    before[:] = [line]
    try:
        yield
    finally:
        before[:] = kept


def main(arguments: list[str]) -> int:
    """The command line; exit code 1 where a seed broke the rule."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.seeded", description=__doc__)
    parser.add_argument("--seed", type=int, help="replay this one and print its events")
    parser.add_argument("--seeds", type=int, default=100, help="run so many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--fresh", type=int, help="run so many that nobody has run before")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    options = parser.parse_args(arguments)
    if options.seed is not None:
        outcome = run_seed(options.seed)
        print("\n".join(outcome.events))
        print("\n".join(f"PROBLEM {problem}" for problem in outcome.problems) or f"seed {options.seed} holds")
        return 1 if outcome.problems else 0
    first = options.first if options.fresh is None else 10**6 + secrets.randbelow(10**9)
    count = options.seeds if options.fresh is None else options.fresh
    return run_many(range(first, first + count), options.jobs)


def run_many(seeds: range, jobs: int) -> int:
    """Run them in processes of their own and say which broke the rule; the exit code."""
    began, failing, totals = time.monotonic(), [], [0, 0, 0]
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        for outcome in pool.imap_unordered(_without_events, seeds, chunksize=5):
            totals = [a + b for a, b in zip(totals, (outcome.records, outcome.files, outcome.positions), strict=True)]
            if outcome.problems:
                failing.append(outcome.seed)
                print(f"seed {outcome.seed}: {outcome.problems[0]}\n  replay: make simulate SEED={outcome.seed}", flush=True)
    took = time.monotonic() - began
    span = f"{seeds.start} to {seeds.stop - 1}"
    print(f"seeds {span}: {len(seeds) * 60 / took:.0f} a minute, {len(failing)} failed: {sorted(failing)}")
    print(f"{totals[0]} records, {totals[1]} batches, {totals[2]} versions of positions")
    return 1 if failing else 0


def _without_events(seed: int) -> Outcome:
    return replace(run_seed(seed), events=())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
