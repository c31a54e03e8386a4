"""Which dead letters were sent to a topic again: a small note beside each file of letters.

`dead-letters/_redriven/{stream}/date=.../{same name}.json`, hidden from SQL engines by its `_`, changed by compare-and-swap.
The note is written after Kafka acknowledged. A crash between the two sends those letters again: at least once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import orjson

from streamer.clock import Clock, backoff_seconds
from streamer.errors import Conflict, Damaged, NotFound, OutcomeUnknown
from streamer.keys import DEAD_LETTER_SUFFIX, DEAD_LETTERS
from streamer.lake.inventory import LakeFile
from streamer.store.contract import Create, Replace, Store

VERSION = 1
REDRIVEN = f"{DEAD_LETTERS}_redriven/"


@dataclass(frozen=True, slots=True)
class Redriven:
    """One letter, done: where its record is now."""

    offset: int
    topic: str
    partition: int
    new_offset: int
    at: str  # ISO 8601 UTC


@dataclass(frozen=True, slots=True)
class RedriveNote:
    """What was redriven of one file of letters. `letters` is that file's key."""

    letters: str
    redriven: tuple[Redriven, ...] = ()
    etag: str | None = None

    @property
    def offsets(self) -> frozenset[int]:
        """The letters that are done."""
        return frozenset(entry.offset for entry in self.redriven)

    def to_json(self) -> bytes:
        body = {"version": VERSION, "letters": self.letters, "redriven": [asdict(entry) for entry in self.redriven]}
        return orjson.dumps(body, option=orjson.OPT_INDENT_2)


def note_key(file: LakeFile) -> str:
    """Where the note about a file of letters is."""
    return REDRIVEN + file.key.removeprefix(DEAD_LETTERS).removesuffix(DEAD_LETTER_SUFFIX) + "json"


async def read_note(store: Store, file: LakeFile) -> RedriveNote:
    """The note about `file`, empty where there is none. Raises `Damaged` where it is not a note."""
    key = note_key(file)
    try:
        stored = await store.get(key)
    except NotFound:
        return RedriveNote(file.key)
    try:
        body: dict[str, Any] = orjson.loads(stored.body)
        if body["version"] != VERSION:
            raise ValueError(f"version {body['version']}")
        return RedriveNote(body["letters"], tuple(Redriven(**entry) for entry in body["redriven"]), stored.info.etag)
    except (ValueError, KeyError, TypeError) as error:
        hint = "restore it, or delete it: its letters then count as open, and a redrive sends them again"
        raise Damaged(f"not a note of what was redriven: {error!r}", hint=hint, key=key) from error


async def mark_redriven(store: Store, file: LakeFile, done: Sequence[Redriven], clock: Clock) -> RedriveNote:
    """Add `done` to the note about `file`, whoever else adds to it at the same time. Raises `Unavailable`, `Denied`."""
    attempt = 0
    while True:
        note = await read_note(store, file)
        wanted = tuple(entry for entry in done if entry not in note.redriven)
        if not wanted:
            return note
        target = replace(note, redriven=tuple(sorted((*note.redriven, *wanted), key=lambda entry: (entry.offset, entry.at))))
        mode = Create() if note.etag is None else Replace(note.etag)
        try:
            etag = await store.put(note_key(file), target.to_json(), mode=mode, content_type="application/json")
        except (Conflict, OutcomeUnknown):
            await clock.sleep(clock.jitter(backoff_seconds(attempt, most=2.0)))
            attempt += 1
        else:
            return replace(target, etag=etag)
