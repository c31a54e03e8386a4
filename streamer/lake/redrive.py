"""Dead letters, sent to a topic again: original key, value and headers, and marks that say where they come from.

At least once: letters are marked as done after Kafka has acknowledged them, so a crash in between sends those of one step
(500 letters of one file) again. The sending itself is passed in; this room knows no client.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from streamer.clock import Clock
from streamer.lake.dead_letters import LetterFile
from streamer.lake.letters import Letter
from streamer.lake.redriven import Redriven, mark_redriven
from streamer.source.outgoing import Acknowledged, Outgoing
from streamer.store.contract import Store

FROM_HEADER = "streamer-redriven-from"
"""`topic/partition/offset` of the record that became a dead letter."""

REASON_HEADER = "streamer-redrive-reason"
"""Why it became one."""

STEP_LETTERS = 500

Send = Callable[[Sequence[Outgoing]], Awaitable[list[Acknowledged]]]


def outgoing(letter: Letter, to: str | None, *, new_timestamps: bool = False) -> Outgoing:
    """The record that a letter becomes. To its own topic (None) it goes to its own partition, so that the order of a key's
    records does not depend on whose partitioner made it; to another topic by its key. It keeps Kafka's timestamp, which is the
    event time of a message without one of its own, unless `new_timestamps`."""
    source = letter.source
    marks = (
        (FROM_HEADER, f"{source.topic}/{source.partition}/{letter.offset}".encode()),
        (REASON_HEADER, letter.reason.encode()),
    )
    home = to is None or to == source.topic
    timestamp = letter.timestamp if letter.timestamp >= 0 and not new_timestamps else None
    partition = source.partition if home else None
    return Outgoing(to or source.topic, partition, letter.key, letter.value, (*letter.headers, *marks), timestamp)


async def redrive(
    store: Store, found: LetterFile, to: str | None, send: Send, clock: Clock, *, new_timestamps: bool = False
) -> list[Redriven]:
    """Send the open letters of one file and mark them as done, step by step. Returns what was done.

    Raises what `send` and the store raise; what was marked before stays so.
    """
    done: list[Redriven] = []
    letters = found.open
    for at in range(0, len(letters), STEP_LETTERS):
        step = letters[at : at + STEP_LETTERS]
        answers = await send([outgoing(letter, to, new_timestamps=new_timestamps) for letter in step])
        when = clock.now().isoformat()
        entries = [
            Redriven(letter.offset, answer.topic, answer.partition, answer.offset, when)
            for letter, answer in zip(step, answers, strict=True)
        ]
        await mark_redriven(store, found.file, entries, clock)
        done.extend(entries)
    return done
