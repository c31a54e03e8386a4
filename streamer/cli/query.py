"""`streamer query`: SQL over the lake, to the terminal, as CSV, JSON lines or Parquet."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from streamer.cli.options import ConfigOption, LakeOption, settings_from
from streamer.cli.output import note
from streamer.errors import Invalid


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("query")(query)


def query(
    sql: Annotated[str, typer.Argument(help="One SELECT; `-` reads it from standard input.")],
    config: ConfigOption = None,
    lake: LakeOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    parquet: Annotated[Path | None, typer.Option("--parquet", metavar="FILE", help="Write Parquet to this file.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write to this file.")] = None,
) -> int:
    """Ask the lake in SQL, answered by DuckDB in this process (pip install 'streamer[sql]'). There is a view for each stream
    (ticks, signals, features, ...) and `bars` of a minute, all with the column `date`. Closed days come from the archive, open
    days from raw files; files that a condition on symbol, timestamp or date rules out are not fetched.

    \b
    Example:
      streamer query "select symbol, count(*) from ticks where date = '2026-01-03' group by all"
      streamer query "select * from bars where symbol = 'BTCUSDT'" --parquet bars.parquet

    \b
    Exit status:
      0  done, also where no row was found
      2  the query or the command line is wrong
      3  the store was unreachable
      4  credentials or permissions were refused
      5  a file of the lake cannot be read
    """
    from streamer.cli.opened import opened_lake
    from streamer.cli.row_writers import open_writer

    format_, target = _format(json, csv, parquet, output)
    text = sys.stdin.read() if sql == "-" else sql
    rows = 0
    with opened_lake(settings_from(config, lake=lake)) as opened, opened.open_sql() as connection:
        schema, batches = connection.query(text)
        with open_writer(format_, schema, target) as writer:
            for batch in batches:
                writer.write(batch)
                rows += batch.num_rows
    if not rows:
        note("no row was found")
    return 0


def _format(json: bool, csv: bool, parquet: Path | None, output: Path | None) -> tuple[str, Path | None]:
    if json + csv + (parquet is not None) > 1:
        raise Invalid("one format at a time", hint="choose --json, --csv or --parquet")
    if parquet is not None:
        if output is not None:
            raise Invalid("two files are named", hint="leave -o out: --parquet has one")
        return "parquet", parquet
    if json or csv:
        return "json" if json else "csv", output
    endings = {".csv": "csv", ".json": "json", ".ndjson": "json", ".jsonl": "json", ".parquet": "parquet"}
    return (endings.get(output.suffix, "table") if output is not None else "table"), output
