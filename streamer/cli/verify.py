"""`streamer verify`: the proof that the lake is whole."""

from __future__ import annotations

import asyncio
import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from streamer.cli.opened import ask_kafka, kafka_of, opened_store
from streamer.cli.options import ConfigOption, JsonOption, KafkaOption, LakeOption, settings_from
from streamer.cli.output import console, note, print_json, print_table
from streamer.errors import Damaged, Denied, Unavailable

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import date

    from streamer.config import Settings
    from streamer.lake.finding import Report
    from streamer.lake.verify import KafkaView
    from streamer.records import TopicPartition

SHOWN = 100


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("verify")(verify)


def verify(
    config: ConfigOption = None,
    lake: LakeOption = None,
    kafka: KafkaOption = None,
    day: Annotated[
        str | None, typer.Option("--date", metavar="YYYY-MM-DD", help="Only the batches with rows of this day.")
    ] = None,
    stream: Annotated[list[str] | None, typer.Option("--stream", help="Only this stream; may be given again.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Do not read the rows: names, positions and metadata alone.")] = False,
    no_kafka: Annotated[bool, typer.Option("--no-kafka", help="Do not ask Kafka for its end offsets.")] = False,
    concurrency: Annotated[int, typer.Option(min=1, max=256, help="Batches looked at at the same time.")] = 8,
    json: JsonOption = False,
) -> int:
    """Prove that the lake is whole: every offset range abuts, no offset is there twice, names, metadata, footers and rows
    agree, no file of a batch is missing, and, where Kafka answers, nothing is beyond its end. Reads, and changes nothing; may
    run beside the daemon. Of Parquet it reads the footers and the columns that tell offset and folder.

    \b
    Example:
      streamer verify
      streamer verify --date 2026-01-03 --stream ticks --json

    \b
    Exit status:
      0  the lake is whole
      2  the configuration is wrong
      3  the store was unreachable: nothing is proved
      4  credentials or permissions were refused
      5  something is missing, double or damaged; each finding names its place and what to do
    """
    settings = settings_from(config, lake=lake, kafka=kafka)
    from streamer.lake.instant import parse_day

    report = asyncio.run(_verify(settings, parse_day(day) if day else None, stream or None, quick, no_kafka, concurrency))
    if json:
        print_json(report.document())
    else:
        _print(report)
    return 0 if report.sound else Damaged.exit_code


async def _verify(
    settings: Settings, day: date | None, streams: list[str] | None, quick: bool, no_kafka: bool, concurrency: int
) -> Report:
    from streamer.lake import verify as proof
    from streamer.workers import ThreadWorkers

    async def ask(partitions: Collection[TopicPartition]) -> KafkaView | None:
        try:
            return await ask_kafka(kafka_of(settings, short=True), partitions)
        except (Unavailable, Denied) as error:
            note(f"Kafka was left out: {error.message}")
            return None

    workers = ThreadWorkers(settings.workers.threads)
    try:
        async with opened_store(settings) as store:
            with console(stderr=True).status("listing") if sys.stderr.isatty() else nullcontext() as status:

                def progress(done: int, most: int) -> None:
                    if status is not None:
                        status.update(f"{done:,} of at most {most:,} files")

                return await proof.verify(
                    store,
                    day=day,
                    streams=streams,
                    ask_kafka=None if no_kafka else ask,
                    deep=not quick,
                    workers=workers,
                    concurrency=concurrency,
                    progress=progress,
                )
    finally:
        workers.close()


def _print(report: Report) -> None:
    columns = ("topic", "partition", "lineage", "committed", "lag", "batches", "files", "rows", "dead letters", "gaps")
    rows = [
        (
            *entry.source,
            entry.lineage,
            entry.committed,
            entry.lag_records,
            entry.batches,
            entry.files,
            entry.rows,
            entry.dead_letters,
            len(entry.gaps),
        )
        for entry in report.partitions
    ]
    print_table(columns, rows)
    for remark in report.notes:
        print(f"note     {remark.kind}  {remark.place}: {remark.detail}" + (f"; {remark.hint}" if remark.hint else ""))
    for finding in report.findings[:SHOWN]:
        print(f"FOUND    {finding.kind}  {finding.place}: {finding.detail}")
        if finding.hint:
            print(f"         -> {finding.hint}")
    if report.finding_count > SHOWN:
        print(f"         and {report.finding_count - SHOWN:,} more: --json shows up to 10,000")
    depth = "" if report.deep else ", without reading the rows"
    verdict = "sound" if report.sound else "NOT SOUND"
    counts = (
        (report.batches, "batches"),
        (report.files, "files"),
        (report.rows, "rows"),
        (report.dead_letters, "dead letters"),
        (report.bytes, "bytes"),
        (report.finding_count, "findings"),
    )
    print(f"{verdict}{depth}: " + ", ".join(f"{number:,} {name}" for number, name in counts))
