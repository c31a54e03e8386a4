"""The protocol of the position, proven by walking all its states; the whole set is `make model`."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import pytest

from streamer.commit.position import Gap, Position
from tests.simulation.model.scenarios import ALL, AS_WRITTEN, HOLDS, MUTATIONS, Scenario
from tests.simulation.model.search import Found, search, successors
from tests.simulation.model.spec import Pos, Spec, State, Writer, real
from tests.simulation.position_model import as_expected, examine, main


@pytest.fixture(scope="module")
def found() -> dict[str, Found]:
    """What came of every scenario, with as few records as tell something."""
    return {scenario.name: result for scenario, (result, _) in zip(ALL, examine([s.small for s in ALL]), strict=True)}


@pytest.mark.thorough
@pytest.mark.parametrize("scenario", HOLDS, ids=lambda scenario: scenario.name)
def test_the_rule_holds_in_every_state(scenario: Scenario, found: dict[str, Found]) -> None:
    result = found[scenario.name]

    assert result.violation is None, "\n".join((result.violation, *result.trace))
    assert result.finished, "nothing was ever committed, so nothing is proven"


@pytest.mark.thorough
@pytest.mark.parametrize("scenario", AS_WRITTEN, ids=lambda scenario: scenario.name)
def test_a_sentence_taken_loosely_breaks_the_rule(scenario: Scenario, found: dict[str, Found]) -> None:
    assert found[scenario.name].kind == scenario.expected
    assert found[scenario.name].trace


@pytest.mark.thorough
@pytest.mark.parametrize("scenario", MUTATIONS, ids=lambda scenario: scenario.name)
def test_a_step_broken_on_purpose_is_caught(scenario: Scenario, found: dict[str, Found]) -> None:
    assert found[scenario.name].kind == scenario.expected
    assert found[scenario.name].trace


def test_the_whole_set_differs_from_the_default_one_by_records_alone() -> None:
    for scenario in ALL:
        assert replace(scenario.small, records=scenario.spec.records) == scenario.spec
        assert scenario.small == scenario.spec or scenario.expected == "holds"


def test_every_scenario_has_a_name_of_its_own_and_one_sentence() -> None:
    assert len({scenario.name for scenario in ALL}) == len(ALL) >= 44
    for scenario in ALL:
        assert scenario.says.endswith(".")
        assert scenario.says.count(". ") == 0


@pytest.mark.parametrize(
    "spec", [Spec(records=2), Spec(records=2, retention=True), Spec(records=2, layouts=(0, 1, 0))], ids=repr
)
def test_every_change_of_a_modelled_writer_is_one_that_the_daemons_position_makes(spec: Spec) -> None:
    """The model's arithmetic is its own; here it is held against `Position.taken_by`, `sealing`, `committing`, `skipping`."""
    checked = 0
    for state in reachable(spec, 1500):
        for writer in state.writers:
            if writer.at == "cas" and writer.view is not None and writer.target is not None:
                assert essence(real(writer.target)) in {essence(p) for p in daemon_changes(writer.view, writer.target)}
                checked += 1
    assert checked > 100


def reachable(spec: Spec, most: int) -> list[State]:
    start = State(None, frozenset(), frozenset(), (Writer(),) * spec.writers)
    seen, queue = {start: None}, deque([start])
    while queue and len(seen) < most:
        for _, after in successors(spec, queue.popleft()):
            if after not in seen:
                seen[after] = None
                queue.append(after)
    return list(seen)


def daemon_changes(view: Pos, target: Pos) -> list[Position]:
    """Every version with which the daemon could follow `view`, towards the end that `target` names."""
    old, layout = real(view), f"layout-{target.layout}"
    changes = [old.taken_by(f"writer-{target.writer}", "host")]
    if old.writing:
        changes.append(old.committing(last=None, through=None))
        if target.sealed > view.sealed:
            changes.append(old.committing(last=None, through=None, next_end=target.sealed))
    else:
        if target.sealed > view.sealed:
            changes.append(old.sealing(target.sealed, layout))
        if target.committed > view.committed:
            changes.append(old.skipping(Gap(view.committed, target.committed, "retention", "")))
    return changes


def essence(position: Position) -> tuple[object, ...]:
    return (
        position.committed,
        position.sealed,
        position.epoch,
        position.sequence,
        position.writer,
        position.layout,
        position.lineage,
    )


def test_the_trace_of_a_violation_is_a_story_from_the_start(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["no seal"]) == 0

    printed = capsys.readouterr().out
    assert "w0 reads the position" in printed
    assert "DOUBLE: record 0" in printed
    assert "0 not as expected" in printed


def test_a_scenario_that_does_not_come_to_what_it_says_is_told() -> None:
    wrong = replace(MUTATIONS[0], expected="holds")

    assert not as_expected(wrong, search(wrong.spec))


def test_a_search_that_is_not_exhausted_proves_nothing() -> None:
    with pytest.raises(RuntimeError, match="not exhausted"):
        search(Spec(), most_states=100)
