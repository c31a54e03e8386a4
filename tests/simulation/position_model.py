"""The model of the position's protocol, run whole: every scenario, every loose reading, every mutation.

    python -m tests.simulation.position_model                 a table; exit code 1 where one is not as expected
    python -m tests.simulation.position_model NAME ...        these, with their traces
    python -m tests.simulation.position_model --three         what holds, with a third writer and one record; takes many minutes

Not modelled: bytes, time, more than one partition, a store that is not linearisable. An answer that arrives late is
covered, because a writer may wait between any two of its steps.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

from tests.simulation.model.scenarios import ALL, HOLDS, Scenario
from tests.simulation.model.search import MOST_STATES, Found, search
from tests.simulation.model.spec import Spec

PROCESSES = 2


def examine(specs: Sequence[Spec], *, processes: int = PROCESSES) -> Iterator[tuple[Found, float]]:
    """Search each of `specs`, in their order: what was found, and the seconds it took."""
    # Not forked: the process that asks may have threads (pyarrow's).
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(_timed, specs)


def as_expected(scenario: Scenario, found: Found) -> bool:
    """Whether the search came to what the scenario says: a proof needs a state in which everything is committed, too."""
    return found.kind == scenario.expected and (found.finished or scenario.expected != "holds")


def _timed(spec: Spec) -> tuple[Found, float]:
    gc.disable()  # in this process of its own: millions of tuples without a cycle
    began = time.monotonic()
    try:
        found = search(spec)
    except RuntimeError as error:
        found = Found(f"LIMIT: {error}", (), MOST_STATES, finished=False)
    return found, time.monotonic() - began


def main(arguments: list[str]) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.position_model", description=__doc__)
    parser.add_argument("names", nargs="*", help="only these scenarios, with their traces")
    parser.add_argument("--three", action="store_true", help="what holds, with three writers and one record")
    options = parser.parse_args(arguments)
    chosen = [scenario for scenario in ALL if not options.names or scenario.name in options.names]
    if options.three:
        three = [replace(scenario.spec, writers=3, records=1) for scenario in HOLDS]
        chosen = [replace(scenario, spec=spec) for scenario, spec in zip(HOLDS, three, strict=True)]
    states = surprises = 0
    for scenario, (found, took) in zip(chosen, examine([scenario.spec for scenario in chosen]), strict=True):
        states += found.states
        expected = as_expected(scenario, found)
        # With a third writer some scenarios are too large to be walked to their end: that is no proof, and no surprise.
        surprises += not (expected or (options.three and found.kind == "LIMIT"))
        mark = "ok " if expected else "-- " if found.kind == "LIMIT" else "BAD"
        result = "holds" if found.violation is None else f"{found.violation}  ({len(found.trace)} steps)"
        print(f"{mark} {scenario.group:10} {scenario.name:34} {found.states:8} states {took:6.1f} s  {result}", flush=True)
        if options.names:
            print(f"      {scenario.says}")
            print("".join(f"      {number:2}. {step}\n" for number, step in enumerate(found.trace, 1)), end="")
    print(f"{states} states in all; {surprises} not as expected")
    return 1 if surprises or not chosen else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
