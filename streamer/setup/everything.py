"""All that `streamer init` looks at, in the order in which it is made; and the making. The one list of what a lake needs.

A thing that comes with another part (a table of DynamoDB) adds its steps in `look`, and is made by `carry_out` like the rest.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamer.clock import Clock
from streamer.setup.step import Step
from streamer.store.contract import NoSuchPlace, Unsupported
from streamer.store.open import create_place, open_store
from streamer.store.s3_bucket import NotOffered, S3Bucket

if TYPE_CHECKING:
    from streamer.config import Settings


@dataclass(frozen=True, slots=True)
class Plan:
    """What was looked at. url: the lake's. existed: whether its bucket or directory was there."""

    url: str
    existed: bool
    steps: tuple[Step, ...]

    @property
    def due(self) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if step.due)


@asynccontextmanager
async def look(settings: Settings, clock: Clock, *, topics: bool) -> AsyncIterator[Plan]:
    """What is there, and what is to be done. The steps can be carried out while the block lasts.

    Raises `Invalid` for a bucket in another region, `Denied` and `Unavailable`.
    """
    from streamer.config.clients import kafka_settings, s3_settings

    url = settings.lake.url or ""
    s3 = s3_settings(settings)
    store = open_store(url, s3, clock)

    async def create() -> None:
        await create_place(url, s3, clock)

    async with AsyncExitStack() as stack:
        stack.push_async_callback(store.close)
        if store.url.startswith("s3://"):
            name, _, rest = store.url.removeprefix("s3://").partition("/")
            bucket = S3Bucket(name, s3)
            stack.push_async_callback(bucket.close)
            from streamer.setup.bucket import bucket_steps

            steps = await bucket_steps(bucket, settings, f"{rest}/" if rest else "", create)
        else:
            try:
                await store.prepare()
                steps = [Step("directory", "keep", (store.url,), (store.url,))]
            except NoSuchPlace:
                steps = [Step("directory", "create", (), (store.url,), carry_out=create)]
        existed = not steps[0].due
        if settings.tables:
            from streamer.config.clients import table_settings
            from streamer.index.dynamodb import IndexTable
            from streamer.setup.table import table_steps

            for name in settings.tables:
                table = IndexTable(table_settings(settings, name), clock)
                stack.push_async_callback(table.close)
                steps += await table_steps(table, recovery=settings.dynamodb.recovery)
        if topics:
            from streamer.setup.topics import topic_steps

            steps += await topic_steps(settings, kafka_settings(settings), clock)
        yield Plan(store.url, existed, tuple(steps))


async def carry_out(steps: Sequence[Step]) -> list[Step]:
    """Do what is due, in order; each step as it came out. Stops at the first error: what was done stays, and is found done the
    next time."""
    done = []
    for step in steps:
        outcome = step
        if step.due and step.carry_out is not None:
            try:
                await step.carry_out()
            except (NotOffered, Unsupported) as error:
                outcome = step.not_offered(error.message)
        done.append(outcome)
    return done
