"""One writer's steps: take over, recover, cut, seal, write, commit, and settle what has no answer.

The twin of `streamer/partition.py`, `cut.py`, `upload.py` and `commit/ownership.py`, without bytes and time. A step that is
marked in `Spec` can be broken on purpose.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.simulation.model.spec import File, Message, Pos, Spec, State, Writer, data_files, key_of, recognise

Step = tuple[str, State, Writer]

MOST_TAKES = 2
"""How often one incarnation takes the partition over."""


def writer_steps(spec: Spec, state: State, me: int) -> Iterator[Step]:
    """Everything that writer `me` may do next: what it is called, the world after it, the writer after it."""
    writer = state.writers[me]
    match writer.at:
        case "new":
            if writer.takes < MOST_TAKES and (not spec.reassign or me <= state.owner):
                yield "reads the position", state, _take_over(spec, state, me, writer)
        case "cas":
            yield from _swap(spec, state, me, writer)
        case "back":
            yield from _settle(spec, state, me, writer)
        case "clean":
            yield from _clean(spec, state, me, writer)
        case "write":
            yield from _write(spec, state, me, writer)
    if spec.restarts and writer.at in ("cas", "back", "write", "conflict") and writer.takes < MOST_TAKES:
        yield "drops everything and begins again", state, Writer("new", takes=writer.takes)


def show(file: File) -> str:
    """A file for people."""
    topic = file.rows[0][0] if file.rows else 0
    return (
        f"{file.folder}/{file.start}-{file.end}"
        + f" (layout {file.layout})" * bool(file.layout)
        + f" (topic {topic})" * bool(topic)
    )


def _identity(spec: Spec, me: int) -> int:
    return 0 if spec.identity == "host" else me


def _take_over(spec: Spec, state: State, me: int, writer: Writer) -> Writer:
    name, layout = _identity(spec, me), spec.layouts[me]
    if state.pos is None:
        target = Pos(0, 0, 1, name, 1, layout)
    else:
        target = state.pos._replace(epoch=state.pos.epoch + 1, writer=name, sequence=state.pos.sequence + 1)
        if spec.layout_set == "takeover":
            target = target._replace(layout=layout)
    return writer._replace(at="cas", view=state.pos, target=target, todo=frozenset(), takes=writer.takes + 1)


def _cuts(spec: Spec, me: int, pos: Pos) -> Iterator[Pos]:
    """Every place where the next batch may end."""
    for end in range(pos.committed + 1, spec.records + 1):
        yield pos._replace(sealed=end, sequence=pos.sequence + 1, layout=spec.layouts[me], cut=0)


def _decide(spec: Spec, state: State, me: int, writer: Writer, *, just_took: bool = False) -> list[Writer]:
    """The owner knows version `view`: what it may do next."""
    view, mine = writer.view, spec.layouts[me]
    assert view is not None
    if spec.recreate and view.lineage != state.log and (view.committed > spec.records or spec.recreate != "unnoticed"):
        return [writer._replace(at="refused", target=None, todo=frozenset())]
    if view.sealed > view.committed and not (spec.recovery == "free" and just_took):
        return [_finish(spec, state, me, writer)]
    if state.head > view.committed:  # retention overtook the position: on record, then go on
        gaps = view.gaps | frozenset(range(view.committed, state.head))
        target = view._replace(committed=state.head, sealed=state.head, sequence=view.sequence + 1, gaps=gaps)
        return [writer._replace(at="cas", target=target)]
    chosen = []
    if spec.clock and not view.through:
        moved = view._replace(through=1, sequence=view.sequence + 1)
        chosen.append(writer._replace(at="cas", target=moved, todo=frozenset()))
    if view.committed == spec.records:
        return [*chosen, Writer("done", fed=writer.fed)]
    for target in _cuts(spec, me, view):
        files = data_files(spec, state, me, mine, view.committed, target.sealed, view.lineage)
        if spec.compaction and not files:
            continue  # neither rows nor dead letters: no batch
        committed = target._replace(committed=target.sealed)
        if spec.order == "commit-write":
            chosen.append(writer._replace(at="cas", target=committed, todo=files))
        elif spec.seal == "none":
            chosen.append(writer._replace(at="write", target=committed, todo=files))
        else:
            chosen.append(writer._replace(at="cas", target=target))
    return chosen


def _finish(spec: Spec, state: State, me: int, writer: Writer) -> Writer:
    """A range is sealed: exactly it is written, under the layout recorded with it."""
    view, mine = writer.view, spec.layouts[me]
    assert view is not None
    if state.head > view.committed and spec.fuller == "shrink":
        cut = min(state.head, view.sealed)
        gaps = view.gaps | frozenset(range(view.committed, cut))
        return writer._replace(at="cas", target=view._replace(committed=cut, sequence=view.sequence + 1, gaps=gaps))
    layout = view.layout if spec.layout_rule == "recorded" else mine
    if spec.layout_rule == "cleanup" and view.layout != mine:
        here = (view.committed, view.sealed, view.lineage)
        old = frozenset(file for file in state.files if (file.start, file.end, file.lineage) == here and file.layout != mine)
        if old:
            return writer._replace(at="clean", target=None, todo=old)
    todo = data_files(spec, state, me, layout, view.committed, view.cut or view.sealed, view.lineage)
    return writer._replace(at="write", target=None, todo=todo)


def _swap(spec: Spec, state: State, me: int, writer: Writer) -> Iterator[Step]:
    """The compare-and-swap of `target`: it lands, it is refused, or nobody says."""
    view, target = writer.view, writer.target
    assert target is not None
    what = f"CAS committed={target.committed} sealed={target.sealed} epoch={target.epoch}"
    plain_seal = view is not None and (target.committed, target.epoch) == (view.committed, view.epoch)
    unconditional = not spec.cas or (spec.seal == "put" and plain_seal)
    if unconditional or state.pos == view:
        for after in _landed(spec, state._replace(pos=target), me, writer):
            yield what + ": ok", state._replace(pos=target), after
    else:
        yield what + ": 412", state, writer._replace(at="back")
    message = Message("cas", view=None if unconditional else view, target=target, unconditional=unconditional)
    yield what + ": answer lost, may land later", state._replace(net=state.net | {message}), writer._replace(at="back")


def _landed(spec: Spec, state: State, me: int, writer: Writer) -> list[Writer]:
    """The writer believes that `target` is in the store."""
    old, new = writer.view, writer.target
    assert new is not None
    took = old is None or old.epoch != new.epoch
    if spec.order == "commit-write" and writer.todo:
        return [writer._replace(at="write", view=new, target=None)]
    if spec.history:
        if took:  # restore, then the difference up to `committed`
            start = new.committed if spec.history == "skip" else state.snapshot[0]
            writer = writer._replace(fed=state.snapshot[1] + tuple(range(start, new.committed)))
        elif spec.history != "write" and old is not None:
            writer = writer._replace(fed=writer.fed + tuple(range(old.committed, new.committed)))
    return _decide(spec, state, me, writer._replace(view=new), just_took=took)


def _settle(spec: Spec, state: State, me: int, writer: Writer) -> Iterator[Step]:
    """The answer was lost, or was 412, which may be a re-send of our own success: read back and find out."""
    found, view, target = state.pos, writer.view, writer.target
    assert target is not None
    named_me = found is not None and found.writer == target.writer
    ours = named_me and found is not None and found.epoch == target.epoch
    same_sequence = found is not None and found.sequence == target.sequence
    taking = view is None or view.epoch != target.epoch
    if found == target or (ours and (spec.settle == "writer-epoch" or (spec.settle == "sequence" and same_sequence))):
        for after in _landed(spec, state, me, writer):
            yield "reads back: ours", state, after
    elif found == view:  # not landed, and it still may
        if spec.retry == "same" or taking or (view is not None and target.committed > view.committed):
            yield "reads back: not yet, sends it again", state, writer._replace(at="cas")
        else:
            for after in _decide(spec, state, me, writer._replace(target=None)):
                yield "reads back: not yet, cuts anew", state, after
    elif taking and spec.adopt == "writer" and named_me:
        for after in _landed(spec, state, me, writer._replace(target=found)):
            yield "reads back: an older request of this name was quicker, and is the truth", state, after
    elif taking:
        yield "reads back: another took it first", state, writer._replace(at="new", view=None, target=None)
    elif spec.settle == "overwrite" and found is not None:
        again = target._replace(epoch=found.epoch, sequence=found.sequence + 1)
        yield "reads back: takes the new ETag", state, writer._replace(at="cas", view=found, target=again)
    elif ours:
        for after in _landed(spec, state, me, writer._replace(target=found)):
            yield "reads back: adopts its earlier attempt", state, after
    else:
        again_mine = spec.fenced == "retake" and spec.reassign and state.owner == me
        yield "reads back: fenced", state, Writer("new", takes=writer.takes) if again_mine else Writer("fenced")


def _clean(spec: Spec, state: State, me: int, writer: Writer) -> Iterator[Step]:
    """Only where a layout change deletes files: what the protocol never does."""
    for file in writer.todo:
        rest = writer.todo - {file}
        after = writer._replace(todo=rest)
        if not rest:
            [after] = _decide(spec, state._replace(files=state.files - writer.todo), me, writer)
        yield f"deletes {show(file)}", state._replace(files=state.files - {file}), after
        message = Message("delete", file)
        if message not in state.net:
            yield f"deletes {show(file)}: answer lost, may land later", state._replace(net=state.net | {message}), writer


def _write(spec: Spec, state: State, me: int, writer: Writer) -> Iterator[Step]:
    """PUT what is still to do, in any order; with everything there, commit."""
    view = writer.view
    assert view is not None
    for file in writer.todo:
        yield from _put(spec, state, writer, file)
    if not writer.todo or (spec.order == "commit-early" and len(writer.todo) < 2):
        yield from _commit(spec, state, me, writer)
    if spec.seal == "ahead" and view.sealed < spec.records and not view.cut and state.pos == view:
        for end in range(view.sealed + 1, spec.records + 1):  # where the first batch ends is then not on record any more
            target = view._replace(sealed=end, sequence=view.sequence + 1)
            yield f"CAS sealed={end} ahead: ok", state._replace(pos=target), writer._replace(view=target, target=view)


def _put(spec: Spec, state: State, writer: Writer, file: File) -> Iterator[Step]:
    what, rest = f"PUT {show(file)}", writer._replace(todo=writer.todo - {file})
    there = next((other for other in state.files if key_of(spec, other) == key_of(spec, file)), None)
    if there is None or not spec.create_only:
        without = state.files - {there} if there is not None else state.files
        yield f"{what}: created", state._replace(files=without | {file}), rest
    elif (found := recognise(spec, state, there, file)) != "other":
        yield f"{what}: 412, {found}", state, rest
    elif spec.layout_rule == "cleanup" and there.layout != file.layout:
        yield f"{what}: 412, of the old layout: deletes it", state._replace(files=state.files - {there}), writer
    else:
        yield f"{what}: 412, conflict", state, writer._replace(at="conflict")
    message = Message("put", file)
    if message not in state.net:
        yield f"{what}: answer lost, may land later", state._replace(net=state.net | {message}), writer


def _commit(spec: Spec, state: State, me: int, writer: Writer) -> Iterator[Step]:
    view = writer.view
    assert view is not None
    if spec.order == "commit-write":
        following = writer._replace(at="cas", target=view._replace(sequence=view.sequence + 1))
        yield "goes on", state, _decide(spec, state, me, writer)[0] if view.committed == spec.records else following
        return
    end = writer.target.sealed if writer.target is not None else view.sealed
    gaps = view.gaps | frozenset(range(view.committed, min(state.head, end)))
    if spec.history == "write":
        writer = writer._replace(fed=writer.fed + tuple(range(view.committed, end)))
    target = view._replace(committed=end, sealed=max(end, view.sealed), sequence=view.sequence + 1, gaps=gaps)
    ready = writer._replace(at="cas", target=target, todo=frozenset())
    yield f"is done with [{view.committed},{end})", state, ready
    # A layout changes only in a change that starts with nothing sealed, so another layout's batch is sealed by itself.
    if spec.merge and spec.seal == "cas" and view.sealed == end and view.layout == spec.layouts[me]:
        for both in _cuts(spec, me, target):
            if spec.compaction and not data_files(spec, state, me, both.layout, end, both.sealed, both.lineage):
                continue
            both = both._replace(sequence=target.sequence)
            yield (
                f"is done with [{view.committed},{end}), seals [{end},{both.sealed}) with it",
                state,
                ready._replace(target=both),
            )
