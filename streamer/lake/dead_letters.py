"""The dead letters of a lake, found again: which there are, why, and which were redriven since."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date

import pyarrow as pa

from streamer.errors import Damaged, Invalid
from streamer.keys import DEAD_LETTER_SUFFIX, DEAD_LETTERS, parse_data_key
from streamer.lake.inventory import Folder, LakeFile
from streamer.lake.letters import Letter
from streamer.lake.redriven import Redriven, RedriveNote, read_note
from streamer.lake.stored_file import Unreadable, read_file
from streamer.records import TopicPartition
from streamer.store.contract import Store
from streamer.workers import InlineWorkers


@dataclass(frozen=True, slots=True)
class LetterQuery:
    """Which letters: None is any. `day` is that of Kafka's timestamp."""

    stream: str | None = None
    day: date | None = None
    reason: str | None = None
    source: TopicPartition | None = None
    offsets: frozenset[int] | None = None

    def wants(self, letter: Letter) -> bool:
        """Whether a letter in a file that was looked into is asked for."""
        return (
            (self.reason is None or letter.reason == self.reason)
            and (self.source is None or letter.source == self.source)
            and (self.offsets is None or letter.offset in self.offsets)
        )

    def may_be_in(self, file: LakeFile) -> bool:
        """Whether a file's name allows for letters asked for."""
        if self.day is not None and file.folder.partition_path != f"date={self.day.isoformat()}":
            return False
        if self.source is not None and file.range.source != self.source:
            return False
        return self.offsets is None or any(file.range.start <= offset < file.range.end for offset in self.offsets)


@dataclass(frozen=True, slots=True)
class LetterFile:
    """One file, and those of its letters that were asked for."""

    file: LakeFile
    letters: tuple[Letter, ...]
    note: RedriveNote

    def done(self, letter: Letter) -> Redriven | None:
        """How a letter was redriven last, if it was."""
        return next((entry for entry in reversed(self.note.redriven) if entry.offset == letter.offset), None)

    @property
    def open(self) -> tuple[Letter, ...]:
        """The letters that nobody has redriven."""
        offsets = self.note.offsets
        return tuple(letter for letter in self.letters if letter.offset not in offsets)


async def letter_files(store: Store, query: LetterQuery) -> AsyncIterator[LakeFile]:
    """The files whose names allow for letters asked for, by key."""
    prefix = f"{DEAD_LETTERS}{query.stream}/" if query.stream is not None else DEAD_LETTERS
    if query.stream is not None and query.day is not None:
        prefix += f"date={query.day.isoformat()}/"
    async for item in store.list(prefix):
        key = parse_data_key(item.key)
        if key is None or not key.dead_letters or key.suffix != DEAD_LETTER_SUFFIX:
            continue
        file = LakeFile(Folder(key.stream, key.partition_path, key.suffix, dead_letters=True), key.range, item.size_bytes)
        if query.may_be_in(file):
            yield file


async def find_letters(store: Store, query: LetterQuery) -> AsyncIterator[LetterFile]:
    """File by file, those that hold letters asked for. Raises `Damaged` for a file that cannot be read."""
    async for file in letter_files(store, query):
        found = await open_letters(store, file, query)
        if found.letters:
            yield found


async def open_letters(store: Store, file: LakeFile, query: LetterQuery) -> LetterFile:
    """The letters of one file that are asked for, and which of them are done. Raises `NotFound` and `Damaged`."""
    letters = tuple(filter(query.wants, await read_letters(store, file)))
    return LetterFile(file, letters, await read_note(store, file) if letters else RedriveNote(file.key))


async def read_letters(store: Store, file: LakeFile) -> tuple[Letter, ...]:
    """All letters of one file. Raises `NotFound`, and `Damaged` where it cannot be read."""
    try:
        stored = await read_file(store, file, (), pa.schema([]), InlineWorkers())
    except Unreadable as error:
        raise Damaged(f"a file of dead letters cannot be read: {error}", hint="run `streamer verify`", key=file.key) from error
    assert stored.letters is not None
    return stored.letters


def file_of(key: str) -> LakeFile:
    """The file that `key` names. Raises `Invalid` where it is not the key of a file of dead letters."""
    parsed = parse_data_key(key)
    if parsed is None or not parsed.dead_letters or parsed.suffix != DEAD_LETTER_SUFFIX:
        raise Invalid("this is not the key of a file of dead letters", hint="`streamer dead-letters list` shows them", key=key)
    return LakeFile(Folder(parsed.stream, parsed.partition_path, parsed.suffix, dead_letters=True), parsed.range, 0)
