"""`streamer scan`: rows of a stream, to the terminal, as CSV, JSON lines or Parquet."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamer.cli.opened import opened_store
from streamer.cli.options import ConfigOption, LakeOption, settings_from
from streamer.cli.output import note
from streamer.errors import Invalid

if TYPE_CHECKING:
    from streamer.config import Settings
    from streamer.lake.request import ReadRequest

FORMATS = ("table", "csv", "json", "parquet")
TERMINAL_ROWS = 20


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("scan")(scan)


def scan(
    stream: Annotated[str, typer.Argument(help="The stream; `streamer ls` shows which there are.")],
    config: ConfigOption = None,
    lake: LakeOption = None,
    symbol: Annotated[list[str] | None, typer.Option("--symbol", help="Only this symbol; may be given again.")] = None,
    start: Annotated[str | None, typer.Option(metavar="TIME", help="Event time from here on: 2026-01-03[T10:00].")] = None,
    end: Annotated[
        str | None, typer.Option(metavar="TIME", help="Up to, and without, this time; a bare date includes that day.")
    ] = None,
    columns: Annotated[str | None, typer.Option(metavar="A,B,...", help="Only these columns, in this order.")] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", min=0, help=f"At most so many rows; a terminal table shows {TERMINAL_ROWS}.")
    ] = None,
    format_: Annotated[str, typer.Option("--format", help="table, csv, json (one object a line) or parquet.")] = "",
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write to this file.")] = None,
) -> int:
    """Print rows of a stream: closed days from the archive, open days from raw files. Folders that cannot hold what is asked
    for are not opened; memory stays bounded whatever the size of the lake. Order: by day, then by file, in a raw one as in
    Kafka. The format follows from the name of -o where not given.

    \b
    Example:
      streamer scan ticks --symbol BTCUSDT --start 2026-01-03 --columns timestamp,price,quantity
      streamer scan signals --start 2026-01-03 --end 2026-01-03 -o signals.parquet

    \b
    Exit status:
      0  done, also where no row was found
      2  the command line is wrong: no such stream, column or time
      3  the store was unreachable
      4  credentials or permissions were refused
      5  a data file cannot be read
    """
    from streamer.lake.instant import parse_instant
    from streamer.lake.request import ReadRequest

    chosen = _format(format_, output)
    settings = settings_from(config, lake=lake)
    if chosen == "table" and limit is None and output is None:
        limit = TERMINAL_ROWS
    request = ReadRequest.of(
        stream,
        parse_instant(start) if start else None,
        parse_instant(end, end=True) if end else None,
        symbols=symbol or None,
        columns=[name.strip() for name in columns.split(",")] if columns else None,
        limit=limit,
    )
    return asyncio.run(_scan(settings, request, chosen, output))


def _format(given: str, output: Path | None) -> str:
    chosen = given
    if not chosen:
        endings = {".csv": "csv", ".json": "json", ".ndjson": "json", ".jsonl": "json", ".parquet": "parquet"}
        chosen = endings.get(output.suffix, "") if output is not None else "table"
    if chosen not in FORMATS:
        raise Invalid(f"unknown format {given!r}", hint=f"--format is one of {', '.join(FORMATS)}")
    if chosen == "parquet" and output is None and sys.stdout.isatty():
        raise Invalid("Parquet is not for terminals", hint="name a file with -o")
    return chosen


async def _scan(settings: Settings, request: ReadRequest, format_: str, output: Path | None) -> int:
    from streamer.cli.row_writers import open_writer
    from streamer.lake.reader import Reader
    from streamer.workers import ThreadWorkers

    workers = ThreadWorkers(settings.workers.threads)
    rows = 0
    try:
        async with opened_store(settings) as store:
            prepared = await Reader(store, workers).prepare(request)
            with open_writer(format_, prepared.schema, output) as writer:
                async for batch in prepared.unsorted_batches():
                    writer.write(batch)
                    rows += batch.num_rows
    finally:
        workers.close()
    if not rows:
        note("no row was found")
    elif request.limit == rows:
        note(f"{rows} rows shown; there may be more: --limit")
    return 0
