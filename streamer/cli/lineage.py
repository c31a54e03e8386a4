"""`streamer lineage`: what an object of the lake was made of, down to the records of Kafka."""

from __future__ import annotations

from typing import Annotated

import typer

from streamer.cli.opened import opened_lake
from streamer.cli.options import ConfigOption, JsonOption, LakeOption, settings_from
from streamer.cli.output import note, print_json
from streamer.errors import Damaged


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("lineage")(lineage)


def lineage(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Any object: a document, a file of a closed day, a model, ...")],
    depth: Annotated[int, typer.Option("--depth", min=0, max=1000, help="How many steps from it, at most.")] = 30,
    objects: Annotated[int, typer.Option("--objects", min=1, max=100_000, help="How many to look at, at most.")] = 1000,
    config: ConfigOption = None,
    lake: LakeOption = None,
    json: JsonOption = False,
) -> int:
    """Show what an object was made of: its sources, theirs, and so on, with the computation, its version and time; and of each
    source whether it is unchanged, changed or gone since. One HEAD for each object. Reads, and changes nothing.

    \b
    Example:
      streamer lineage processed/percentiles/BTCUSDT/2026-01-03/2026-01-03T10-00-00-000000.json
      streamer lineage ohlcv/BTCUSDT/2026-01-03.parquet --json

    \b
    Exit status:
      0  done, also where sources have changed or are gone
      1  there is no such object
      2  it can be no key
      3  the store was unreachable
      4  credentials or permissions were refused
      5  what some object says of its sources is damaged; the rest is shown
    """
    with opened_lake(settings_from(config, lake=lake)) as opened:
        graph = opened.lineage(key, depth=depth, objects=objects)
    if json:
        print_json(graph.document())
    else:
        for line in graph.lines():
            print(line)
        if not graph.complete:
            note("there is more: --depth and --objects say how far to go")
    return Damaged.exit_code if graph.problems else 0
