"""The world's steps: lost requests that land after all, Kafka that forgets or starts anew, day close, saved histories."""

from __future__ import annotations

from collections.abc import Iterator

from tests.simulation.model.spec import Message, Spec, State, key_of
from tests.simulation.model.writer import show

WorldStep = tuple[str, State]


def world_steps(spec: Spec, state: State) -> Iterator[WorldStep]:
    """Everything that may happen next without any writer."""
    for message in state.net:
        yield from _arrive(spec, state, message)
    yield from _kafka(spec, state)
    yield from _day_close(spec, state)
    yield from _topic(spec, state)
    if spec.history:
        yield from _histories(spec, state)


def _arrive(spec: Spec, state: State, message: Message) -> Iterator[WorldStep]:
    target, file = message.target, message.file
    if target is not None and (message.unconditional or state.pos == message.view):
        what = f"committed={target.committed} sealed={target.sealed} epoch={target.epoch}"
        yield f"lost CAS lands: {what}", state._replace(pos=target)
    if file is None:
        return
    there = next((other for other in state.files if key_of(spec, other) == key_of(spec, file)), None)
    if message.kind == "put" and (there is None or (not spec.create_only and there != file)):
        without = state.files - {there} if there is not None else state.files
        yield f"lost PUT lands: {show(file)}", state._replace(files=without | {file})
    if message.kind == "delete" and there is not None:
        yield f"lost DELETE lands: {show(file)}", state._replace(files=state.files - {there})


def _kafka(spec: Spec, state: State) -> Iterator[WorldStep]:
    if spec.reassign and state.owner + 1 < spec.writers:
        yield f"Kafka assigns the partition to w{state.owner + 1}", state._replace(owner=state.owner + 1)
    if spec.retention and state.head < spec.records and state.log == 0:
        yield f"Kafka drops offset {state.head}", state._replace(head=state.head + 1)
    if spec.compaction:
        for offset in range(spec.records - 1):  # the newest record of a log is never compacted
            if offset not in state.compacted:
                yield f"compaction takes offset {offset}", state._replace(compacted=state.compacted | {offset})


def _day_close(spec: Spec, state: State) -> Iterator[WorldStep]:
    if state.pos is None:
        return
    closed = [file for file in state.files if file.end <= state.pos.committed]
    for file in closed if spec.raw_retention else ():
        if spec.archive and (state.archive is None or not set(file.rows) <= state.archive):
            continue
        under_way = Message("put", file) in state.net or any(file in writer.todo for writer in state.writers)
        if spec.raw_retention == "any-time" or not under_way:
            after = state._replace(files=state.files - {file}, dropped=state.dropped | {file})
            yield f"raw retention deletes {show(file)}", after
    if spec.archive and state.pos.committed >= spec.records - 1:  # the last record is late: it reopens the day
        rows = frozenset(row for file in closed for row in file.rows)
        if state.archive is None or rows - state.archive:
            before = state.archive or frozenset()
            yield "the day is archived", state._replace(archive=rows | before if spec.archive == "merge" else rows)


def _topic(spec: Spec, state: State) -> Iterator[WorldStep]:
    if not spec.recreate or state.pos is None:
        return
    if state.log == 0:
        yield "the topic is made anew, as long as before", state._replace(log=1, head=0)
    elif spec.recreate != "unnoticed" and state.pos.lineage == 0:
        old = state.pos
        accepted = old._replace(
            committed=0, sealed=0, epoch=old.epoch + 1, writer=-1, sequence=old.sequence + 1, lineage=1, gaps=frozenset()
        )
        yield "an operator accepts the new topic", state._replace(pos=accepted)


def _histories(spec: Spec, state: State) -> Iterator[WorldStep]:
    for number, writer in enumerate(state.writers):
        offset = len(writer.fed)
        if spec.history == "label":
            offset = state.pos.committed if state.pos else 0
        newer = offset > state.snapshot[0] or (spec.history == "stale-put" and offset != state.snapshot[0])
        if writer.fed and newer:
            yield f"w{number} saves its history at {offset}", state._replace(snapshot=(offset, writer.fed))
