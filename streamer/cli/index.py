"""`streamer index`: how far the DynamoDB indexes are, and an index made again from the lake."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamer.cli.opened import opened_store
from streamer.cli.options import ConfigOption, JsonOption, LakeOption, settings_from
from streamer.cli.output import note, print_json, print_table, progress
from streamer.errors import Invalid

if TYPE_CHECKING:
    from streamer.config import Settings
    from streamer.index.rebuild import Part, Rebuilt

EVENTS = "events"
"""The documents of `lake.events` alone."""


@dataclass(frozen=True, slots=True)
class _Target:
    """What is indexed under a name. stream: None for documents alone."""

    table: str
    stream: str | None
    documents: bool


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    group = typer.Typer(help="DynamoDB indexes of streams and events.", no_args_is_help=True, rich_markup_mode=None)
    group.command("show")(show)
    group.command("rebuild")(rebuild)
    app.add_typer(group, name="index")


def show(
    stream: Annotated[str | None, typer.Argument(metavar="STREAM", help="One alone; all that are indexed by default.")] = None,
    config: ConfigOption = None,
    lake: LakeOption = None,
    json: JsonOption = False,
) -> None:
    """Tell how far the index of each partition is: what is committed, what is indexed, and the records between. `missing`
    counts offsets whose raw files were gone before they were indexed, `left out` rows too large for an item. Asks the lake
    alone.

    \b
    Example:
      streamer index show pulse

    \b
    Exit status:
      0  told
      2  the configuration is wrong, or no such stream is indexed
      3  the store was unreachable
      4  credentials or permissions were refused
      5  a progress document cannot be read
    """
    settings = settings_from(config, lake=lake)
    found = asyncio.run(_show(settings, stream))
    if json:
        print_json({"partitions": found})
        return
    columns = (
        "stream",
        "table",
        "topic",
        "partition",
        "lineage",
        "committed",
        "indexed",
        "lag",
        "items",
        "missing",
        "left_out",
    )
    print_table([name.replace("_", " ") for name in columns], [[row[name] for name in columns] for row in found])


async def _show(settings: Settings, name: str | None) -> list[dict[str, Any]]:
    from streamer.config.index_settings import indexed_streams
    from streamer.index.standing import standings

    streams = [stream for stream in indexed_streams(settings) if name in (None, stream.name)]
    if not streams:
        raise _unknown(settings, name)
    found = []
    async with opened_store(settings) as store:
        for stream in streams:
            for each in await standings(store, stream):
                done = asdict(each.progress) if each.progress is not None else {}
                body = {"stream": stream.name, "table": stream.table, "topic": each.source.topic}
                counts = {key: done.get(key, 0) for key in ("lineage", "items", "missing", "left_out")}
                place = {"partition": each.source.partition, "committed": each.committed, "indexed": done.get("offset")}
                found.append({**body, **place, "lag": each.lag, **counts})
    return found


def rebuild(
    stream: Annotated[str, typer.Argument(metavar="STREAM", help="An indexed stream, or `events`: stored events alone.")],
    config: ConfigOption = None,
    lake: LakeOption = None,
    date: Annotated[str | None, typer.Option(metavar="DAY", help="One day alone (UTC).")] = None,
    from_: Annotated[str | None, typer.Option("--from", metavar="TIME", help="From this event time on.")] = None,
    to: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Until before this event time.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing; count.")] = False,
    json: JsonOption = False,
) -> None:
    """Make an index, or a span of it, again from the lake: closed days from the archive, open ones from raw files, and for the
    schema pulse the events that `lake.events` stored. Items are written over, none is removed; what the daemon does meanwhile,
    and where it stands, is not touched. Broken off, it can be begun again.

    \b
    Example:
      streamer index rebuild pulse --dry-run
      streamer index rebuild pulse --from 2026-01-03 --to 2026-01-10

    \b
    Exit status:
      0  done
      2  the configuration is wrong, no such stream is indexed, or there is no table
      3  the store or DynamoDB was unreachable, or throttled for long
      4  credentials or permissions were refused
      5  a file of the lake cannot be read
    """
    settings = settings_from(config, lake=lake)
    target = _target(settings, stream)
    part = _part(target, date, from_, to)
    with progress(f"indexing {stream} ...") as shown:

        def show_count(events: int) -> None:
            if (update := getattr(shown, "update", None)) is not None:
                update(f"indexing {stream}: {events:,} events")

        done = asyncio.run(_rebuild(settings, target, part, dry_run=dry_run, show_count=show_count))
    body = {"stream": stream, "table": target.table, "dry_run": dry_run, **asdict(done)}
    if json:
        print_json(body)
        return
    said = "would be written" if dry_run else "written"
    print(f"{target.table}: {done.items} items of {done.events} events {said}")
    if done.left_out:
        note(f"{done.left_out} are too large for an item of DynamoDB; the lake has them")


def _part(target: _Target, date: str | None, from_: str | None, to: str | None) -> Part:
    from streamer.index.rebuild import Part
    from streamer.lake.instant import parse_day, parse_instant

    if date is not None and (from_ is not None or to is not None):
        raise Invalid("--date and --from or --to are two ways to say it", hint="use one of them")
    if date is not None:
        start = parse_instant(parse_day(date).isoformat())
        return Part(target.stream, target.documents, start, start + timedelta(days=1))
    first = parse_instant(from_) if from_ is not None else None
    last = parse_instant(to) if to is not None else None
    if first is not None and last is not None and last <= first:
        raise Invalid("the end is not behind the beginning", hint="exchange --from and --to")
    return Part(target.stream, target.documents, first, last)


async def _rebuild(
    settings: Settings, target: _Target, part: Part, *, dry_run: bool, show_count: Callable[[int], None]
) -> Rebuilt:
    from streamer.clock import SystemClock
    from streamer.config.clients import table_settings
    from streamer.docstore.docstore import AsyncDocuments
    from streamer.events.events import AsyncEvents
    from streamer.index.dynamodb import IndexTable
    from streamer.index.rebuild import rebuild as made
    from streamer.lake.reader import Reader
    from streamer.workers import ThreadWorkers

    clock, workers = SystemClock(), ThreadWorkers(settings.workers.threads)
    async with AsyncExitStack() as stack:
        stack.callback(workers.close)
        store = await stack.enter_async_context(opened_store(settings))
        table = IndexTable(table_settings(settings, target.table), clock)
        stack.push_async_callback(table.close)
        events = AsyncEvents(store, clock, AsyncDocuments(store, clock, workers), Reader(store, workers))
        return await made(events, table, part, dry_run=dry_run, progress=show_count)


def _target(settings: Settings, name: str) -> _Target:
    if (table := settings.indexed.get(name)) is not None:
        return _Target(table, name, documents=settings.streams[name].schema_name == "pulse")
    if name == EVENTS and settings.dynamodb.pulse_table is not None:
        return _Target(settings.dynamodb.pulse_table, None, documents=True)
    raise _unknown(settings, name)


def _unknown(settings: Settings, name: str | None) -> Invalid:
    names = [*settings.indexed, *([EVENTS] if settings.dynamodb.pulse_table is not None else [])]
    if name is None or not names:
        hint = 'name a table: [streams.NAME.index] table = "...", or AWS_DYNAMODB_PULSE_TABLE for events'
        return Invalid("nothing is indexed", hint=hint)
    return Invalid(f"{name!r} is not indexed", hint=f"there are {', '.join(names)}")
