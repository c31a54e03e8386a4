"""`streamer init`: makes the place of the lake, asking first."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from streamer.cli.options import ConfigOption, JsonOption, LakeOption, YesOption, settings_from
from streamer.cli.output import print_json
from streamer.errors import Invalid

if TYPE_CHECKING:
    from streamer.config import Settings


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("init")(init)


def init(
    config: ConfigOption = None,
    lake: LakeOption = None,
    yes: YesOption = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be created.")] = False,
    json: JsonOption = False,
) -> None:
    """Create the lake's bucket, in the configured region, or its directory, if it is not there. Asks before it creates;
    what is there already is left as it is. Topics are never created.

    \b
    Example:
      streamer init --lake s3://microstream-data
      streamer init --yes --json

    \b
    Exit status:
      0  the lake's place is there (with --dry-run: would be)
      1  a bug
      2  the configuration is wrong, the name is taken, or the answer was no
      3  the store is unreachable
      4  credentials or permissions were refused
    """
    settings = settings_from(config, lake=lake)
    url, there = asyncio.run(_look(settings))
    if not there and not dry_run:
        if not (yes or typer.confirm(f"{url} does not exist. Create it?", err=True)):
            raise Invalid("nothing was created", hint="create the place by other means, or answer yes", lake=url)
        asyncio.run(_create(settings))
    if json:
        print_json({"lake": url, "existed": there, "created": not there and not dry_run, "dry_run": dry_run})
    elif there:
        print(f"{url} is there already")
    else:
        print(f"{url} would be created" if dry_run else f"{url} is created")


async def _look(settings: Settings) -> tuple[str, bool]:
    """The lake's URL, and whether it is there."""
    from streamer.clock import SystemClock
    from streamer.config.clients import s3_settings
    from streamer.store.contract import NoSuchPlace
    from streamer.store.open import open_store

    store = open_store(settings.lake.url or "", s3_settings(settings), SystemClock())
    try:
        await store.prepare()
    except NoSuchPlace:
        return store.url, False
    finally:
        await store.close()
    return store.url, True


async def _create(settings: Settings) -> None:
    """Make the place, and see that it answers. Twice does no harm."""
    from streamer.clock import SystemClock
    from streamer.config.clients import s3_settings
    from streamer.store.open import create_place

    await create_place(settings.lake.url or "", s3_settings(settings), SystemClock())
