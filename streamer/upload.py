"""Step 2 of a cut: every file of a batch is in the store, whoever put it there.

The one place where data files meet the store. PUTs are create-only; a file that is already there is success if its
metadata says that it is ours to the letter. Encoding and uploading overlap, and only as many encoded files exist at a time
as there are upload slots, however far a batch fans out; small ones count as one for several.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from streamer.batch.memory_budget import MemoryBudget
from streamer.errors import Conflict, NotFound, PartitionRefused
from streamer.metrics import Metrics
from streamer.store.contract import Create, Store
from streamer.workers import Workers
from streamer.write.batch_files import BatchPlan, DataFile, PlannedFile, recognise

GROUP_ROWS = 1_024
GROUP_FILES = 8
"""Small files are encoded several at a time: waking a worker, and being woken, costs as much as encoding one."""


@dataclass(frozen=True, slots=True)
class Uploaded:
    """What a batch came to in the store."""

    files: int
    size_bytes: int


class Uploads:
    """All PUTs of data files of the process; `slots` of them at a time."""

    def __init__(self, store: Store, workers: Workers, budget: MemoryBudget, metrics: Metrics, *, slots: int) -> None:
        self._store = store
        self._workers = workers
        self._budget = budget
        self._metrics = metrics
        self._slots = asyncio.Semaphore(slots)
        self._most = slots

    async def write(self, plan: BatchPlan, *, head_lost: bool) -> Uploaded:
        """Put every file of `plan` into the store. Safe to call again after any failure.

        head_lost: Kafka may have forgotten records of the range since it was sealed, by retention or by compaction, so a fuller
        file of the same range wins.
        Raises what the store raises, and `PartitionRefused` where a different file has the name of one of ours.
        """
        waiting = deque(plan.files)
        # No carrier has several files while another has none.
        most = max(1, min(GROUP_FILES, len(waiting) // self._most))
        carriers = [
            asyncio.create_task(self._carry(waiting, most, head_lost), name="upload")
            for _ in range(min(self._most, len(plan.files)))
        ]
        try:
            sizes = await asyncio.gather(*carriers)
        except BaseException:
            for carrier in carriers:
                carrier.cancel()
            await asyncio.gather(*carriers, return_exceptions=True)
            raise
        return Uploaded(len(plan.files), sum(sizes))

    async def _carry(self, waiting: deque[PlannedFile], most: int, head_lost: bool) -> int:
        carried_bytes = 0
        while waiting:
            group = _next_group(waiting, most)
            async with self._slots:
                files = deque(await self._workers.run(_encoded, group))
                for file in files:
                    self._budget.hold("uploads", file.key, len(file.body))
                try:
                    while files:
                        carried_bytes += len(files[0].body)
                        await self._put(files[0], head_lost)
                        self._budget.hold("uploads", files.popleft().key, 0)
                finally:
                    for file in files:
                        self._budget.hold("uploads", file.key, 0)
        return carried_bytes

    async def _put(self, file: DataFile, head_lost: bool) -> None:
        self._metrics.uploads_in_flight.inc()
        try:
            await self._store.put(file.key, file.body, mode=Create(), metadata=file.metadata, content_type=file.content_type)
        except Conflict as conflict:
            try:
                found = await self._store.head(file.key)
            except NotFound:
                raise conflict from None
            if recognise(found.metadata or {}, file, head_lost=head_lost) == "other":
                raise PartitionRefused(
                    "another file has the name of a data file of this batch, with other rows",
                    hint="run `streamer verify`; it says what the file holds and what to do",
                    key=file.key,
                    topic=file.metadata["topic"],
                    partition=int(file.metadata["partition"]),
                ) from None
        finally:
            self._metrics.uploads_in_flight.dec()


def _next_group(waiting: deque[PlannedFile], most: int) -> list[PlannedFile]:
    """The next files to be encoded by one hand-over to a worker: one, or several where they are small."""
    group = [waiting.popleft()]
    rows = group[0].rows
    while waiting and len(group) < most and rows + waiting[0].rows <= GROUP_ROWS:
        rows += waiting[0].rows
        group.append(waiting.popleft())
    return group


def _encoded(group: list[PlannedFile]) -> list[DataFile]:
    return [planned.encode() for planned in group]
