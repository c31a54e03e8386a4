"""`streamer sync`: a copy of a lake in another place."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from streamer.cli.options import ConfigOption, JsonOption, settings_from
from streamer.cli.output import note, print_json, print_table

if TYPE_CHECKING:
    from streamer.config import Settings
    from streamer.lake.sync import Progress


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("sync")(sync)


def sync(
    source: Annotated[str, typer.Argument(metavar="SRC", help="s3://bucket/prefix, file:///path or a path.")],
    target: Annotated[str, typer.Argument(metavar="DST", help="The same; a directory that is not there is made.")],
    config: ConfigOption = None,
    prefix: Annotated[str, typer.Option("--prefix", metavar="KEY", help="Only keys that start so: raw/ticks/.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done.")] = False,
    delete: Annotated[bool, typer.Option("--delete", help="Remove from DST what SRC has not.")] = False,
    deep: Annotated[bool, typer.Option("--deep", help="Compare contents, also where size and time agree.")] = False,
    json: JsonOption = False,
) -> int:
    """Copy what differs from SRC to DST, with metadata, several objects at a time, each read back and checked by its hash.
    Nothing is deleted unless --delete says so. Broken off, it goes on where it was. Data goes before the positions and
    certificates that speak of it; to copy a lake that must verify, stop the daemon first.

    \b
    Example:
      streamer sync s3://microstream-data ./lake --prefix raw/ticks/
      streamer sync ./lake s3://microstream-data --dry-run

    \b
    Exit status:
      0  done
      2  SRC or DST cannot be a lake
      3  a store was unreachable: run it again
      4  credentials or permissions were refused
      5  what arrived is not what was sent
    """
    settings = settings_from(config, require_lake=False)
    return asyncio.run(_sync(settings, source, target, prefix, dry_run, delete, deep, json))


async def _sync(
    settings: Settings, source: str, target: str, prefix: str, dry_run: bool, delete: bool, deep: bool, json: bool
) -> int:
    from streamer.clock import SystemClock
    from streamer.config.clients import s3_settings
    from streamer.errors import Invalid
    from streamer.lake.opening import explicit
    from streamer.lake.sync import carry_out, plan
    from streamer.store.open import open_store
    from streamer.store.retry import RetryingStore

    clock = SystemClock()
    async with AsyncExitStack() as stack:
        stores = []
        for url, create in ((source, False), (target, not dry_run)):
            store = RetryingStore(open_store(explicit(url), s3_settings(settings), clock, create_directory=create), clock)
            stack.push_async_callback(store.close)
            await store.prepare()
            stores.append(store)
        if stores[0].url == stores[1].url:
            raise Invalid("source and target are one place", hint="name another target", url=stores[0].url)
        report = await plan(stores[0], stores[1], prefix, delete=delete, deep=deep)
        if not dry_run:
            await carry_out(stores[0], stores[1], report, _bar() if sys.stderr.isatty() else None)
    if json:
        steps = [{"action": step.action, "key": step.info.key, "bytes": step.info.size_bytes} for step in report.steps]
        print_json(
            {
                "dry_run": dry_run,
                "copied": report.copied,
                "copied_bytes": report.copied_bytes,
                "deleted": report.deleted,
                "same": report.same,
                "steps": steps,
            }
        )
    elif dry_run:
        print_table(("action", "bytes", "key"), [(step.action, step.info.size_bytes, step.info.key) for step in report.steps])
        note(f"{len(report.steps)} objects differ, {report.same} are the same; nothing was done")
    else:
        print(f"{report.copied} copied ({report.copied_bytes} bytes), {report.deleted} deleted, {report.same} the same")
    return 0


def _bar() -> Progress:
    def show(done: int, of: int, copied_bytes: int) -> None:
        print(f"\r{done}/{of} objects, {copied_bytes >> 20} MiB", end="\n" if done == of else "", file=sys.stderr)

    return show
