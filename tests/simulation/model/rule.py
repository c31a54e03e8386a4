"""What must hold: of every state, and of every step. The first word of a violation is its kind.

DOUBLE, LOST, RISEN, STUCK and HISTORY are what a user sees; OVERLAP, UNSEALED and STEP are what leads there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import combinations

from tests.simulation.model.spec import Record, Spec, State, data_files, key_of, real_violation, recognise
from tests.simulation.model.writer import show


def broken(spec: Spec, state: State) -> str | None:
    """The first violation of `state`, None where the rule holds."""
    return next(_violations(spec, state), None)


def broken_step(spec: Spec, before: State, after: State) -> str | None:
    """What is wrong with the step from one state to the next."""
    if spec.watch == "all" and after.pos is not None and before.pos != after.pos:
        wrong = real_violation(before.pos, after.pos)
        if wrong is not None:
            return f"STEP: {wrong}: {before.pos} -> {after.pos}"
    if after.snapshot[0] < before.snapshot[0]:
        return f"HISTORY: the saved one went from offset {before.snapshot[0]} back to {after.snapshot[0]}"
    return None


def _violations(spec: Spec, state: State) -> Iterator[str]:
    seen = Counter(row for file in state.files for row in file.rows)
    if spec.watch != "lost":
        yield from (f"DOUBLE: record {row[1]} is in {count} files" for row, count in sorted(seen.items()) if count > 1)
    if spec.watch == "all":
        yield from _misplaced(spec, state)
    yield from _lost(spec, state, seen)
    if state.files & state.dropped:
        yield "RISEN: a file that raw retention had deleted is listed again"
    yield from _stuck(spec, state)
    if spec.history and state.snapshot[1] != tuple(range(state.snapshot[0])):
        yield f"HISTORY: saved at offset {state.snapshot[0]} with rows {state.snapshot[1]}"


def _misplaced(spec: Spec, state: State) -> Iterator[str]:
    pos = state.pos
    for one, other in combinations(state.files, 2):
        same_range = (one.start, one.end) == (other.start, other.end)
        if one.lineage == other.lineage and not same_range and one.start < other.end and other.start < one.end:
            yield f"OVERLAP: {show(one)} and {show(other)}"
    if pos is None:
        return
    for file in state.files:
        here = file.lineage == pos.lineage and file.end > pos.committed
        if here and (file.start, file.end) != (pos.committed, pos.sealed):
            yield f"UNSEALED: {show(file)} exists, the position says [{pos.committed},{pos.sealed})"


def _lost(spec: Spec, state: State, seen: Counter[Record]) -> Iterator[str]:
    pos = state.pos
    gone = {row for file in state.dropped for row in file.rows}
    if pos is not None and (not spec.recreate or pos.lineage == state.log):
        for offset in range(pos.committed):
            row = (pos.lineage, offset)
            if row not in seen and offset not in pos.gaps and row not in gone and offset not in state.compacted:
                yield f"LOST: offset {offset} is below committed={pos.committed} and in no file"
    if (
        spec.recreate == "unnoticed"
        and pos is not None
        and pos.lineage != state.log
        and any(row[0] == state.log for row in seen)
    ):
        yield "LOST: went on in another topic under the same name; its first records are in no file"
    if spec.archive and state.archive is not None and pos is not None and gone - state.archive:
        yield "LOST: the archive's new revision lacks what raw retention had deleted"


def _stuck(spec: Spec, state: State) -> Iterator[str]:
    if spec.reassign and state.writers[state.owner].at == "fenced":
        yield f"STUCK: w{state.owner} is Kafka's member for the partition, is fenced, and waits for ever"
    pos = state.pos
    if not (spec.retention or spec.compaction) or pos is None or pos.sealed == pos.committed or spec.fuller == "shrink":
        return
    # Whoever owns the partition, and reads the sealed range now, must be able to finish it.
    there = {key_of(spec, file): file for file in state.files}
    for mine in data_files(spec, state, 0, pos.layout, pos.committed, pos.sealed, pos.lineage):
        found = there.get(key_of(spec, mine))
        if found is not None and recognise(spec, state, found, mine) == "other":
            yield f"STUCK: {show(mine)} is there with other rows; nobody can ever finish the sealed range"
