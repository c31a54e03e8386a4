"""`streamer ls`: what is in the lake, from its listing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from streamer.cli.opened import opened_store
from streamer.cli.options import ConfigOption, JsonOption, LakeOption, settings_from
from streamer.cli.output import note, print_json, print_table, progress
from streamer.errors import Invalid

if TYPE_CHECKING:
    from datetime import date

    from streamer.config import Settings
    from streamer.lake.contents import Closed, Contents, Group
    from streamer.lake.inventory import Inventory, LakeFile
    from streamer.store.contract import Store

READS_AT_ONCE = 32


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("ls")(ls)


def ls(
    stream: Annotated[str | None, typer.Argument(help="Show the days of this stream; default: the streams.")] = None,
    config: ConfigOption = None,
    lake: LakeOption = None,
    day: Annotated[str | None, typer.Option("--date", metavar="YYYY-MM-DD", help="Show the folders of this day.")] = None,
    long: Annotated[bool, typer.Option("--long", "-l", help="Show every file.")] = False,
    rows: Annotated[bool, typer.Option("--rows", help="Count rows too: one request a file.")] = False,
    json: JsonOption = False,
) -> int:
    """Show what the lake holds: its streams; of a stream the days, with symbols, files and bytes; of a day the folders; with
    --long every raw file. Closed days have files in the archive too. Only keys and certificates are read.

    \b
    Example:
      streamer ls
      streamer ls ticks --date 2026-01-03 --long

    \b
    Exit status:
      0  done, also for an empty lake
      2  there is no such stream in the lake, or the configuration is wrong
      3  the store was unreachable
      4  credentials or permissions were refused
    """
    settings = settings_from(config, lake=lake)
    from streamer.lake.instant import parse_day

    return asyncio.run(_ls(settings, stream, parse_day(day) if day else None, long, rows, json))


async def _ls(settings: Settings, stream: str | None, day: date | None, long: bool, rows: bool, json: bool) -> int:
    from streamer.lake.contents import by_day, by_folder, by_stream, count_rows, files_of
    from streamer.lake.inventory import take_inventory
    from streamer.lake.reader import Reader

    async with opened_store(settings) as store:
        with progress("listing"):
            inventory = await take_inventory(store, streams=None if stream is None else [stream])
            closed = await Reader(store).closed_days(stream)
        if stream is not None and not inventory.files and not closed:
            raise Invalid("the lake has no such stream", hint="`streamer ls` shows those it has", stream=stream, lake=store.url)
        counted = await _count_rows(store, inventory, closed, day) if rows else None
    if long:
        return _print_files(files_of(inventory, day), counted, json)
    if day is not None:
        first: Group = "folder"
        groups = by_folder(inventory, closed, day)
    elif stream is not None:
        first = "day"
        groups = by_day(inventory, closed)
    else:
        first = "stream"
        groups = by_stream(inventory, closed)
    if counted is not None:
        count_rows(groups, inventory, closed, counted, first)
    if json:
        print_json({"lake": store.url, "stream": stream, "entries": [entry.document() for entry in groups]})
        return 0
    columns = (first, "files", "dead letter files", "bytes", "symbols", "first day", "newest day", "archive files")
    print_table((*columns, "rows") if rows else columns, [_row(entry, first, rows) for entry in groups])
    if not groups:
        note(f"nothing is in {store.url} yet")
    if inventory.foreign_count:
        note(f"{inventory.foreign_count} objects are not streamer's: `streamer verify` names them")
    return 0


def _row(entry: Contents, first: str, rows: bool) -> tuple[object, ...]:
    body = entry.document()
    shown: tuple[object, ...] = (
        entry.name,
        entry.files,
        entry.dead_letter_files,
        entry.bytes,
        len(entry.symbols) or None,
        body["first_day"] if first == "stream" else None,
        body["newest_day"] if first == "stream" else None,
        entry.archive_files or None,
    )
    return (*shown, entry.rows) if rows else shown


def _print_files(files: list[LakeFile], counted: dict[str, int] | None, json: bool) -> int:
    if json:
        body = [
            {
                "key": file.key,
                "stream": file.folder.stream,
                "topic": file.range.source.topic,
                "partition": file.range.source.partition,
                "lineage": file.range.lineage,
                "start": file.range.start,
                "end": file.range.end,
                "dead_letters": file.folder.dead_letters,
                "bytes": file.size_bytes,
                **({"rows": counted.get(file.key)} if counted is not None else {}),
            }
            for file in files
        ]
        print_json({"files": body})
        return 0
    rows = [(file.size_bytes, *((counted.get(file.key),) if counted is not None else ()), file.key) for file in files]
    print_table(("bytes", "rows", "key") if counted is not None else ("bytes", "key"), rows)
    return 0


async def _count_rows(store: Store, inventory: Inventory, closed: Closed, day: date | None) -> dict[str, int]:
    """Rows by key, as the files themselves say; those that do not are left out."""
    from streamer.errors import NotFound
    from streamer.lake.contents import files_of
    from streamer.lake.stored_file import Unreadable, read_facts

    counted: dict[str, int] = {}
    waiting = iter(files_of(inventory, day))

    async def carry() -> None:
        for file in waiting:
            try:
                said = (await read_facts(store, file)).said
            except (NotFound, Unreadable):
                continue
            if said.get("rows", "").isdecimal():
                counted[file.key] = int(said["rows"])

    with progress("counting rows"):
        await asyncio.gather(*(carry() for _ in range(READS_AT_ONCE)))
    return counted
