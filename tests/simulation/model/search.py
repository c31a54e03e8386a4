"""The search: every state that can be reached, breadth first, so that the trace of a violation is a shortest one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from tests.simulation.model.rule import broken, broken_step
from tests.simulation.model.spec import Message, Spec, State, Writer, key_of
from tests.simulation.model.world import world_steps
from tests.simulation.model.writer import writer_steps

MOST_STATES = 2_000_000


@dataclass(frozen=True, slots=True)
class Found:
    """What a search came to. `violation` is None where the rule holds in all of `states`; `trace` leads to it. `finished`:
    a state was reached in which everything is committed, so that the rule does not hold because nothing can happen."""

    violation: str | None
    trace: tuple[str, ...]
    states: int
    finished: bool

    @property
    def kind(self) -> str:
        """The first word of the violation, or `holds`."""
        return "holds" if self.violation is None else self.violation.partition(":")[0]


def search(spec: Spec, *, most_states: int = MOST_STATES) -> Found:
    """Walk all states of `spec`. Raises `RuntimeError` past `most_states`: nothing is proven then."""
    start = State(None, frozenset(), frozenset(), (Writer(),) * spec.writers)
    parents: dict[State, tuple[State, str] | None] = {start: None}
    queue, finished = deque([start]), False
    while queue:
        state = queue.popleft()
        for step, after in successors(spec, state):
            after = _tidy(spec, after)
            # Before the next line: a step back leads to a state that has been seen.
            wrong = broken_step(spec, state, after)
            if after in parents and wrong is None:
                continue
            wrong = wrong or broken(spec, after)
            if wrong is not None:
                return Found(wrong, (*_trace(parents, state), step), len(parents), finished)
            parents[after] = (state, step)
            finished = finished or (after.pos is not None and after.pos.committed == spec.records)
            if len(parents) > most_states:
                raise RuntimeError(f"more than {most_states} states: not exhausted")
            queue.append(after)
    return Found(None, (), len(parents), finished)


def successors(spec: Spec, state: State) -> Iterator[tuple[str, State]]:
    for number in range(spec.writers):
        for step, world, writer in writer_steps(spec, state, number):
            writers = (*world.writers[:number], writer, *world.writers[number + 1 :])
            yield f"w{number} {step}", world._replace(writers=writers)
    yield from world_steps(spec, state)


def _tidy(spec: Spec, state: State) -> State:
    """Forget requests that can never have an effect again: a CAS on an older sequence, a create of what is there for good."""
    if not state.net or not spec.cas or spec.seal == "put":
        return state
    for_good = spec.create_only and spec.layout_rule != "cleanup" and not spec.raw_retention
    keys = {key_of(spec, file) for file in state.files} if for_good else set()
    sequence = state.pos.sequence if state.pos is not None else 0

    def spent(message: Message) -> bool:
        if message.kind == "cas":
            return not message.unconditional and sequence > (message.view.sequence if message.view is not None else 0)
        return message.kind == "put" and message.file is not None and key_of(spec, message.file) in keys

    left = frozenset(message for message in state.net if not spent(message))
    return state if len(left) == len(state.net) else state._replace(net=left)


def _trace(parents: dict[State, tuple[State, str] | None], state: State) -> Iterator[str]:
    steps, at = [], parents[state]
    while at is not None:
        steps.append(at[1])
        at = parents[at[0]]
    return reversed(steps)
