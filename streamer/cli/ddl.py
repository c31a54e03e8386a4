"""`streamer ddl`: the statements with which other SQL engines see the lake."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from streamer.cli.opened import opened_store
from streamer.cli.options import ConfigOption, LakeOption, settings_from

if TYPE_CHECKING:
    from streamer.config import Settings


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("ddl")(ddl)


def ddl(
    streams: Annotated[list[str] | None, typer.Argument(help="Only these streams; default: all of the lake.")] = None,
    engine: Annotated[str, typer.Option("--engine", help="athena, trino, spark or duckdb.")] = "duckdb",
    config: ConfigOption = None,
    lake: LakeOption = None,
) -> int:
    """Print tables and views over the lake for a SQL engine: for each stream the raw files, the archive, and a view in which
    every row is once; and `bars` of a minute, made of ticks. Columns are typed as they were written; folders become partitions
    by projection where the engine has it. Print it again when a stream has new columns, or when its first day was closed.

    \b
    Example:
      streamer ddl --engine athena > lake.sql
      streamer ddl ticks --engine duckdb | duckdb

    \b
    Exit status:
      0  done
      2  there is no such engine or stream, or the engine cannot read this lake
      3  the store was unreachable
      4  credentials or permissions were refused
    """
    print(asyncio.run(_ddl(settings_from(config, lake=lake), engine, streams or None)), end="")
    return 0


async def _ddl(settings: Settings, engine: str, streams: list[str] | None) -> str:
    from streamer.lake.ddl import ddl as statements
    from streamer.lake.reader import Reader
    from streamer.lake.stream_tables import stream_tables

    async with opened_store(settings) as store:
        return statements(engine, store.url, await stream_tables(Reader(store), streams))
