"""The daemon with one step broken on purpose: what the simulation must catch, or it proves nothing.

Each mutant patches the real code for the length of one run. Most are caught by a seed of `seeded.py`, through what a user
could see in the lake; those that need a rare story are caught by a scripted one. Nothing here may be imported by the daemon.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

import streamer.commit.ownership as ownership_module
import streamer.commit.position as position_module
import streamer.partition as partition_module
import streamer.upload as upload_module
import streamer.write.batch_files as batch_files_module
from streamer.commit.ownership import Ownership, _Version
from streamer.commit.position import LastRecord, Position
from streamer.cut import CutBatch, CutSteps
from streamer.errors import Conflict, OutcomeUnknown, Unavailable
from streamer.keys import data_key
from streamer.partition import PartitionWriter
from streamer.records import BatchRange
from streamer.store.contract import Create, Overwrite, Replace
from streamer.store.etags import content_etag
from streamer.upload import Uploaded, Uploads
from streamer.write.batch_files import BatchPlan, BatchWriter, DataFile
from tests.simulation import test_the_rule as the_rule
from tests.simulation.mutant_stories import (
    a_foreign_file_under_our_name_is_refused,
    a_topic_made_anew_is_refused,
    an_older_commit_that_lands_first_is_not_the_one_sent_last,
)
from tests.simulation.seeded import run_seed

Break = Callable[[pytest.MonkeyPatch], None]
Story = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Mutant:
    """`says` is what is broken. `shows` is part of the problem that must be told. `seed` is one that is known to catch it,
    tried before the others; `story` is a scripted scenario that must fail instead."""

    name: str
    says: str
    apply: Break
    shows: str = ""
    seed: int = 0
    story: Story | None = None

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """The daemon is broken inside."""
        with pytest.MonkeyPatch.context() as patch:
            self.apply(patch)
            yield

    def caught_by(self, seeds: Sequence[int]) -> str | None:
        """The first problem of the kind it must show, and the seed; None where it got away."""
        with self.at_work():
            if self.story is not None:
                try:
                    self.story()
                except Exception as error:
                    return f"{self.story.__name__}: {error!r}"
                return None
            for seed in dict.fromkeys((self.seed, *seeds)):
                for problem in run_seed(seed).problems:
                    if self.shows in problem:
                        return f"seed {seed}: {problem}"
        return None


# ---- seal and commit ------------------------------------------------------------------------------------------------------


def _committing_to(self: Ownership, end: int, last: LastRecord | None) -> Position:
    """A commit of whatever end, sealed or not."""
    old = self.position
    return replace(old, committed=end, sealed=max(end, old.sealed), last=last or old.last, sequence=old.sequence + 1)


async def _seal_whatever_is_on_record(self: CutSteps, cut: CutBatch) -> None:
    """A seal that does not look whether the cut on record is this one."""
    if not self._ownership.position.writing:
        await self._kit.layouts.ensure(cut.recipe.layout)
        await self._ownership.seal(cut.batch.end, cut.recipe.layout.fingerprint)


def skip_the_seal(patch: pytest.MonkeyPatch) -> None:
    async def seal(self: CutSteps, cut: CutBatch) -> None:
        await self._kit.layouts.ensure(cut.recipe.layout)

    async def commit(self: CutSteps, cut: CutBatch, following: CutBatch | None) -> None:
        await self._ownership._swap(_committing_to(self._ownership, cut.batch.end, None))

    patch.setattr(CutSteps, "_seal", seal)
    patch.setattr(CutSteps, "_commit", commit)
    patch.setattr(ownership_module, "violation", lambda old, new: None)


def commit_before_write(patch: pytest.MonkeyPatch) -> None:
    write, commit = CutSteps._write, CutSteps._commit

    async def later(self: CutSteps, cut: CutBatch) -> None:
        return None

    async def both(self: CutSteps, cut: CutBatch, following: CutBatch | None) -> None:
        await commit(self, cut, following)
        await write(self, cut)

    patch.setattr(CutSteps, "_write", later)
    patch.setattr(CutSteps, "_commit", both)


def commit_after_the_first_file(patch: pytest.MonkeyPatch) -> None:
    write = Uploads.write

    async def first(self: Uploads, plan: BatchPlan, *, head_lost: bool) -> Uploaded:
        return await write(self, replace(plan, files=plan.files[:1]), head_lost=head_lost)

    patch.setattr(Uploads, "write", first)


def recovery_cuts_freely(patch: pytest.MonkeyPatch) -> None:
    begin = PartitionWriter._begin

    def forgetful(self: PartitionWriter, *rest: Any) -> None:
        begin(self, *rest)
        self._boundary = None

    async def commit(self: CutSteps, cut: CutBatch, following: CutBatch | None) -> None:
        await self._ownership._swap(_committing_to(self._ownership, cut.batch.end, None))

    patch.setattr(PartitionWriter, "_begin", forgetful)
    patch.setattr(CutSteps, "_seal", _seal_whatever_is_on_record)
    patch.setattr(CutSteps, "_commit", commit)
    patch.setattr(ownership_module, "violation", lambda old, new: None)


def layout_ignored_at_recovery(patch: pytest.MonkeyPatch) -> None:
    begin = PartitionWriter._begin

    def mine(self: PartitionWriter, *rest: Any) -> None:
        self._recipe = self._mine
        begin(self, *rest)

    patch.setattr(PartitionWriter, "_begin", mine)
    patch.setattr(CutSteps, "_seal", _seal_whatever_is_on_record)


# ---- who owns it, and what has no answer ----------------------------------------------------------------------------------


def ignore_the_epoch(patch: pytest.MonkeyPatch) -> None:
    swap = Ownership._swap

    def adopt(self: Ownership, found: _Version) -> Position:
        self._known = found
        assert found.position is not None
        return found.position

    async def rebase(self: Ownership, target: Position) -> Position:
        landed = await swap(self, target)
        while landed != target and (landed.committed, landed.sealed) != (target.committed, target.sealed):
            landed = await swap(self, replace(target, epoch=landed.epoch, sequence=landed.sequence + 1))
            target = landed
        return landed

    patch.setattr(Ownership, "_adopt", adopt)
    patch.setattr(Ownership, "_swap", rebase)
    patch.setattr(ownership_module, "violation", lambda old, new: None)


def a_swap_that_is_none(patch: pytest.MonkeyPatch) -> None:
    def overwrite(etag: str) -> Overwrite:
        return Overwrite()

    patch.setattr(ownership_module, "Replace", overwrite)


def a_lost_answer_is_a_yes(patch: pytest.MonkeyPatch) -> None:
    async def swap(self: Ownership, target: Position) -> Position:
        body = target.to_json()
        mode = Create() if self._known.position is None else Replace(self._known.etag)
        try:
            etag = await self._store.put(self._key, body, mode=mode)
        except OutcomeUnknown:
            etag = content_etag(body)
        except Conflict:
            return self._adopt(await self._read())
        self._known = _Version(target, body, etag)
        return target

    patch.setattr(Ownership, "_swap", swap)


def settle_by_writer_and_epoch(patch: pytest.MonkeyPatch) -> None:
    swap, read = Ownership._swap, Ownership._read

    async def loose(self: Ownership, target: Position) -> Position:
        async def mine() -> _Version:
            found = await read(self)
            if found.position is not None and (found.position.writer, found.position.epoch) == (target.writer, target.epoch):
                return found if found.etag == known.etag else _Version(target, target.to_json(), found.etag)
            return found

        known = self._known
        self._read = mine  # type: ignore[method-assign]
        try:
            return await swap(self, target)
        finally:
            del self._read

    patch.setattr(Ownership, "_swap", loose)


def position_kept_after_a_failure(patch: pytest.MonkeyPatch) -> None:
    look = Ownership.look

    async def remember(self: Ownership) -> Position | None:
        return self._known.position or await look(self)

    async def keep(self: Ownership) -> Position:
        return self.position

    patch.setattr(Ownership, "look", remember)
    patch.setattr(Ownership, "refresh", keep)


# ---- files ----------------------------------------------------------------------------------------------------------------


def key_without_end(patch: pytest.MonkeyPatch) -> None:
    def endless(stream: str, path: str, range_: BatchRange, format_: Any) -> str:
        return data_key(stream, path, replace(range_, end=range_.start + 1), format_)

    patch.setattr(batch_files_module, "data_key", endless)


def attempt_in_the_key(patch: pytest.MonkeyPatch) -> None:
    attempts = itertools.count()

    def unique(stream: str, path: str, range_: BatchRange, format_: Any) -> str:
        return data_key(stream, f"{path}/attempt={next(attempts)}", range_, format_)

    patch.setattr(batch_files_module, "data_key", unique)


def dead_letters_placed_by_the_clock(patch: pytest.MonkeyPatch) -> None:
    days = itertools.count(10)
    patch.setattr(batch_files_module, "date_of", lambda timestamp: f"2026-02-{next(days) % 18 + 10}")


def dead_letters_beside_the_batch(patch: pytest.MonkeyPatch) -> None:
    plan = BatchWriter.plan

    def without(self: BatchWriter, range_: BatchRange, tables: Any, dead_letters: Any) -> BatchPlan:
        return plan(self, range_, tables, ())

    patch.setattr(BatchWriter, "plan", without)


def overwrite_instead_of_create(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(upload_module, "Create", Overwrite)


def retry_elsewhere(patch: pytest.MonkeyPatch) -> None:
    put = Uploads._put

    async def elsewhere(self: Uploads, file: DataFile, head_lost: bool) -> None:
        try:
            await put(self, file, head_lost)
        except Unavailable:
            top, stream, rest = file.key.split("/", 2)
            await put(self, replace(file, key=f"{top}/{stream}/again/{rest}"), head_lost)

    patch.setattr(Uploads, "_put", elsewhere)


def what_is_there_is_not_looked_at(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(upload_module, "recognise", lambda *_, **__: "same")


def a_fuller_file_does_not_win(patch: pytest.MonkeyPatch) -> None:
    recognise = upload_module.recognise
    patch.setattr(upload_module, "recognise", lambda found, mine, *, head_lost: recognise(found, mine, head_lost=False))


# ---- what is on record ----------------------------------------------------------------------------------------------------


def gap_not_recorded(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(position_module, "merged_gaps", lambda gaps, gap: gaps)


def last_record_not_compared(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(partition_module, "check_last_record", lambda position, chunk: None)


def written_partitions_not_asked(patch: pytest.MonkeyPatch) -> None:
    async def nothing(self: Any, stream: str, source: Any) -> None:
        return None

    patch.setattr(partition_module, "check_topic", lambda *_, **__: None)
    patch.setattr("streamer.commit.written.WrittenPartitions.refuse_if_written", nothing)


MUTANTS = (
    Mutant("skip the seal", "A batch is written before its end is on record.", skip_the_seal, "is in raw", 9),
    Mutant("commit before write", "The position moves, then the files are written.", commit_before_write, "in no file"),
    Mutant("commit after the first file", "The siblings are forgotten.", commit_after_the_first_file, "in no file"),
    Mutant("recovery cuts freely", "A sealed range is cut anew by its next owner.", recovery_cuts_freely, "is in raw", 16),
    Mutant(
        "layout ignored",
        "A range sealed under one layout is written under another.",
        layout_ignored_at_recovery,
        "layout of the seal",
        2,
    ),
    Mutant("epoch ignored", "A fenced writer takes the new version and goes on.", ignore_the_epoch, "is in", 74),
    Mutant(
        "a swap that is none", "The position is overwritten, whatever is there.", a_swap_that_is_none, "sequence must grow", 12
    ),
    Mutant(
        "a lost answer is a yes", "A change without an answer is believed.", a_lost_answer_is_a_yes, "the position said", 99
    ),
    Mutant(
        "settle by writer and epoch",
        "Any version of ours is taken for the one sent last.",
        settle_by_writer_and_epoch,
        story=an_older_commit_that_lands_first_is_not_the_one_sent_last,
    ),
    Mutant(
        "position kept after a failure",
        "What was believed before a failure is believed after it.",
        position_kept_after_a_failure,
        story=the_rule.test_a_fenced_writer_that_kafka_still_names_takes_over_again,
    ),
    Mutant("key without end", "Ranges that begin together share a name.", key_without_end, "was written while"),
    Mutant("attempt in the key", "The same rows get another name each time.", attempt_in_the_key, "is in raw", 11),
    Mutant(
        "dead letters by the clock",
        "A replay puts them on another day.",
        dead_letters_placed_by_the_clock,
        "is in dead-letters",
        11,
    ),
    Mutant("dead letters beside the batch", "The commit does not wait for them.", dead_letters_beside_the_batch, "in no file"),
    Mutant(
        "overwrite instead of create-only", "A late PUT replaces what is there.", overwrite_instead_of_create, "overwritten", 11
    ),
    Mutant("retry elsewhere", "A file without an answer is sent again under another name.", retry_elsewhere, "is in raw", 226),
    Mutant(
        "what is there is not looked at",
        "Any file under our name is taken for ours.",
        what_is_there_is_not_looked_at,
        story=a_foreign_file_under_our_name_is_refused,
    ),
    Mutant(
        "a fuller file does not win",
        "What Kafka forgot strands the range.",
        a_fuller_file_does_not_win,
        "partition_refused",
        20,
    ),
    Mutant("gap not recorded", "Retention takes records and nobody says so.", gap_not_recorded, "in no gap", 9),
    Mutant(
        "last record not compared",
        "A topic made anew goes on under the old name.",
        last_record_not_compared,
        story=a_topic_made_anew_is_refused,
    ),
    Mutant(
        "files without a position are not asked for",
        "A partition without a position starts again from its beginning.",
        written_partitions_not_asked,
        story=the_rule.test_a_position_that_is_missing_while_files_exist_is_refused,
    ),
)
