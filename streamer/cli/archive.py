"""`streamer archive`: closes a day by hand."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamer.cli.opened import opened_store
from streamer.cli.options import ConfigOption, JsonOption, LakeOption, settings_from
from streamer.cli.output import console, note, print_json, print_table
from streamer.errors import Conflict, Invalid, Unavailable

if TYPE_CHECKING:
    from datetime import date

    from streamer.archive.certificate import Certificate
    from streamer.archive.inputs import Stock
    from streamer.archive.settings import ArchiveSettings
    from streamer.archive.stream_close import Progress
    from streamer.config import Settings


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("archive")(archive)


def archive(
    day: Annotated[str, typer.Option("--date", metavar="YYYY-MM-DD", help="The day to close, UTC.")],
    config: ConfigOption = None,
    lake: LakeOption = None,
    stream: Annotated[list[str] | None, typer.Option("--stream", help="Only this stream; may be given again.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be read.")] = False,
    json: JsonOption = False,
) -> None:
    """Close a day: compact its ticks, signals, features and order books, make bars and a summary, and write the certificate.
    The daemon does this by itself; by hand it is for days before the archive was switched on, for another choice of bars, and
    after repairs.
    May run beside the daemon, and as often as you like: what is there already is not written again.

    \b
    Example:
      streamer archive --date 2026-01-03
      streamer archive --date 2026-01-03 --stream ticks --json

    \b
    Exit status:
      0  the day is closed (with --dry-run: could be)
      2  the configuration is wrong, or the day is not over
      3  the store was unreachable, or another process is closing days
      4  credentials or permissions were refused
      5  the day's files are not whole: nothing was certified
    """
    settings = settings_from(config, lake=lake)
    from streamer.lake.instant import parse_day

    document = asyncio.run(_archive(settings, parse_day(day), tuple(stream or ()), dry_run))
    if json:
        print_json(document)
    else:
        _print(document)


async def _archive(settings: Settings, day: date, names: tuple[str, ...], dry_run: bool) -> dict[str, Any]:
    from streamer.archive.close import DayCloser
    from streamer.archive.day import end_of
    from streamer.archive.inputs import take_stock
    from streamer.archive.lease import Lease
    from streamer.clock import SystemClock
    from streamer.config.archive_settings import archive_settings
    from streamer.workers import ThreadWorkers

    wanted, clock = archive_settings(settings), SystemClock()
    known = [stream.name for stream in wanted.streams]
    if unknown := [name for name in names if name not in known]:
        raise Invalid(f"no archived stream {unknown[0]!r}", hint=f"there are {', '.join(known) or 'none'}")
    if end_of(day) > clock.now():
        raise Invalid(f"{day} is not over yet", hint="days are UTC; close it when it has ended")
    workers = ThreadWorkers(settings.workers.threads)
    try:
        async with opened_store(settings) as store:
            if dry_run:
                return _planned(day, await take_stock(store, known), wanted, names or tuple(known))
            lease = Lease(store, clock, host=socket.gethostname(), seconds=wanted.lease_seconds)
            try:
                async with lease.held():
                    stock = await take_stock(store, known)
                    with _progress() as progress:
                        closed = await DayCloser(store, lease, wanted, workers).close(day, stock, names or None, progress)
            except Conflict as error:
                raise Unavailable(error.message, hint=error.hint, **error.context) from error
            return _done(closed.certificate, changed=closed.changed)
    finally:
        workers.close()


def _planned(day: date, stock: Stock, settings: ArchiveSettings, names: tuple[str, ...]) -> dict[str, Any]:
    from streamer.archive.day import blockers

    topics = {stream.topic for stream in settings.streams if stream.name in names}
    waiting = blockers(day, [position for source, position in stock.positions.items() if source.topic in topics])
    streams = {}
    for name in names:
        raw, letters = stock.raw_files(name, day), stock.letter_files(name, day)
        stock.check_chain([*raw, *letters])
        streams[name] = {
            "files": len(raw),
            "bytes": sum(file.size_bytes for file in raw),
            "dead_letter_files": len(letters),
        }
    return {"date": day.isoformat(), "dry_run": True, "complete": not waiting, "waits_for": waiting, "streams": streams}


def _done(certificate: Certificate, *, changed: bool) -> dict[str, Any]:
    streams = {
        name: {
            "rows": part.rows,
            "dead_letters": part.dead_letters,
            "complete": part.complete,
            "files": len(part.outputs),
            "bytes": sum(output.bytes for output in part.outputs),
        }
        for name, part in certificate.streams.items()
    }
    return {
        "date": certificate.day.isoformat(),
        "dry_run": False,
        "complete": certificate.complete,
        "revision": certificate.revision,
        "changed": changed,
        "streams": streams,
    }


def _print(document: dict[str, Any]) -> None:
    columns = sorted({name for part in document["streams"].values() for name in part})
    print_table(
        ["stream", *(name.replace("_", " ") for name in columns)],
        [[name, *(part[column] for column in columns)] for name, part in document["streams"].items()],
    )
    if document["dry_run"]:
        for partition, through in document["waits_for"].items():
            note(f"{partition} is complete up to {through or 'nothing yet'}")
        print(f"{document['date']} is {'complete' if document['complete'] else 'not complete'}; nothing was written")
        return
    state = "" if document["complete"] else ", not complete: the daemon closes it again when every partition is"
    news = "closed" if document["changed"] else "was closed already"
    print(f"{document['date']} {news}, revision {document['revision']}{state}")


@contextmanager
def _progress() -> Iterator[Progress | None]:
    """A bar for each stream, on a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("files"), TimeRemainingColumn())
    with Bars(*columns, console=console(stderr=True), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def progress(stream: str, done: int, most: int) -> None:
            if stream not in tasks:
                tasks[stream] = bars.add_task(stream, total=most)
            bars.update(tasks[stream], completed=done)

        yield progress
