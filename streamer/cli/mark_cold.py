"""`streamer mark-cold`: lets lifecycle rules move raw files of certified days to GLACIER."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from streamer.cli.opened import opened_store
from streamer.cli.options import ConfigOption, JsonOption, LakeOption, settings_from
from streamer.cli.output import print_error, print_json, print_table
from streamer.errors import Damaged, Invalid

if TYPE_CHECKING:
    from streamer.archive.cold import MarkedDay
    from streamer.config import Settings

WITHIN_DAYS = 7
_DAY_SECONDS = 86_400.0


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("mark-cold")(mark_cold)


def mark_cold(
    config: ConfigOption = None,
    lake: LakeOption = None,
    every: Annotated[
        bool, typer.Option("--all", help=f"All days, not those of the last {WITHIN_DAYS} that came of age.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be tagged.")] = False,
    json: JsonOption = False,
) -> int:
    """Tag raw files with streamer=certified, which the lifecycle rules of `streamer init` move to GLACIER. Only files of days
    older than lifecycle.glacier_after that are certified, and whose archive was read just before and found to be what was
    certified. Meant to run once a day. Needs what a reader needs, and s3:PutObjectTagging on raw/.

    \b
    Example:
      streamer mark-cold --dry-run
      streamer mark-cold --all --json

    \b
    Exit status:
      0  tagged (with --dry-run: would be)
      2  the configuration is wrong, or the lake is no bucket
      3  the store was unreachable
      4  credentials or permissions were refused
      5  the archive of a day is not what was certified: its files were left alone
    """
    settings = settings_from(config, lake=lake)
    if settings.lifecycle.glacier_after is None:
        raise Invalid("lifecycle.glacier_after is not set: nothing goes to GLACIER", hint="set it, such as 90d")
    days = asyncio.run(_mark(settings, settings.lifecycle.glacier_after, every=every, dry_run=dry_run))
    problems = [day.problem for day in days if day.problem is not None]
    if json:
        shown = [{"day": d.day, "files": d.files, "bytes": d.bytes, "problem": d.problem and str(d.problem)} for d in days]
        print_json({"days": shown, "dry_run": dry_run})
    else:
        print_table(("day", "files", "bytes"), [(day.day, day.files, day.bytes) for day in days if day.problem is None])
        for problem in problems:
            print_error(problem, as_json=False)
    return Damaged.exit_code if problems else 0


async def _mark(settings: Settings, older_seconds: float, *, every: bool, dry_run: bool) -> list[MarkedDay]:
    from streamer.archive.cold import Tagger, mark_certified
    from streamer.archive.inputs import take_stock
    from streamer.clock import SystemClock
    from streamer.config.archive_settings import archive_settings
    from streamer.config.clients import s3_settings
    from streamer.store.open import open_store
    from streamer.workers import ThreadWorkers

    clock = SystemClock()
    bare = open_store(settings.lake.url or "", s3_settings(settings), clock)
    workers = ThreadWorkers(settings.workers.threads)
    try:
        if not isinstance(bare, Tagger):
            raise Invalid(
                "a lake in a directory has no GLACIER", hint="name a bucket: --lake s3://bucket/prefix", lake=bare.url
            )
        async with opened_store(settings) as store:
            stock = await take_stock(store, [stream.name for stream in archive_settings(settings).streams])
            within = None if every else WITHIN_DAYS * _DAY_SECONDS
            marking = mark_certified(
                store, bare, stock, clock, workers, older_seconds=older_seconds, within_seconds=within, dry_run=dry_run
            )
            return [day async for day in marking]
    finally:
        workers.close()
        await bare.close()
