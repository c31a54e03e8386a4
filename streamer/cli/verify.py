"""`streamer verify`: the proof that the lake is whole."""

from __future__ import annotations

import asyncio
import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from streamer.cli.opened import ask_kafka, kafka_of, opened_store
from streamer.cli.options import ConfigOption, JsonOption, KafkaOption, LakeOption, settings_from
from streamer.cli.output import console, note, print_json, print_table, progress
from streamer.errors import Conflict, Damaged, Denied, Invalid, Unavailable

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
    first: Annotated[str | None, typer.Option("--from", metavar="YYYY-MM-DD", help="Only days from this one on.")] = None,
    last: Annotated[str | None, typer.Option("--to", metavar="YYYY-MM-DD", help="Only days up to this one.")] = None,
    stream: Annotated[list[str] | None, typer.Option("--stream", help="Only this stream; may be given again.")] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Make objects of closed days again, where it is certain what they must be.")
    ] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Do not read the rows: names, positions and metadata alone.")] = False,
    no_kafka: Annotated[bool, typer.Option("--no-kafka", help="Do not ask Kafka for its end offsets.")] = False,
    models: Annotated[bool, typer.Option("--models", help="Prove the model checkpoints instead of the streams.")] = False,
    concurrency: Annotated[int, typer.Option(min=1, max=256, help="Batches looked at at the same time.")] = 8,
    json: JsonOption = False,
) -> int:
    """Prove that the lake is whole: every offset range abuts, no offset is there twice, names, metadata, footers and rows
    agree, no file of a batch is missing, and, where Kafka answers, nothing is beyond its end. Reads, and changes nothing; may
    run beside the daemon. Of Parquet it reads the footers and the columns that tell offset and folder.

    Of closed days it proves that the archive is what its certificate says, that it has the rows of the raw files, whatever
    their order, and that the bars are those of the ticks. Days whose raw files retention has removed are proved from the
    archive. --repair ends a revision that was cut short and makes archive files again; data files and dead letters it never
    touches.

    With --models: every registry can be read, every version has the bytes it was pushed with, every alias and plain copy is
    what the registry says; --quick compares sizes instead of hashes.

    \b
    Example:
      streamer verify
      streamer verify --date 2026-01-03 --stream ticks --json
      streamer verify --from 2026-01-01 --to 2026-01-31 --repair
      streamer verify --models

    \b
    Exit status:
      0  the lake is whole
      2  the configuration is wrong
      3  the store was unreachable: nothing is proved
      4  credentials or permissions were refused
      5  something is missing, double or damaged; each finding names its place and what to do
    """
    settings = settings_from(config, lake=lake, kafka=kafka)
    if models:
        if day or stream or first or last or repair:
            raise Invalid("--models has no days and no streams", hint="leave out --date, --from, --to, --stream and --repair")
        return asyncio.run(_verify_models(settings, quick, json))
    days = _days(day, first, last)
    if repair:
        asyncio.run(_repair(settings, days))
    report = asyncio.run(_verify(settings, days, stream or None, quick, no_kafka, concurrency))
    if json:
        print_json(report.document())
    else:
        _print(report)
    return 0 if report.sound else Damaged.exit_code


def _days(day: str | None, first: str | None, last: str | None) -> tuple[date, date] | None:
    """The days asked for. Raises `Invalid`."""
    from datetime import date

    from streamer.lake.instant import parse_day

    if day is None and first is None and last is None:
        return None
    if day is not None and (first or last):
        raise Invalid("--date is one day, --from and --to are several", hint="use one or the other")
    if day is not None:
        return parse_day(day), parse_day(day)
    begin, end = parse_day(first) if first else date.min, parse_day(last) if last else date.max
    if end < begin:
        raise Invalid(f"--to {last} is before --from {first}", hint="exchange them")
    return begin, end


async def _repair(settings: Settings, days: tuple[date, date] | None) -> None:
    import socket

    from streamer.archive.lease import Lease
    from streamer.archive.repair import repair_days
    from streamer.clock import SystemClock
    from streamer.config.archive_settings import archive_settings
    from streamer.workers import ThreadWorkers

    wanted, workers = archive_settings(settings), ThreadWorkers(settings.workers.threads)
    try:
        async with opened_store(settings) as store:
            lease = Lease(store, SystemClock(), host=socket.gethostname(), seconds=wanted.lease_seconds)
            try:
                async with lease.held():
                    done = await repair_days(store, lease, wanted, workers, *(days or (None, None)))
            except Conflict as error:
                raise Unavailable(error.message, hint=error.hint, **error.context) from error
    finally:
        workers.close()
    for each in done:
        what = f"could not be repaired: {each.problem}" if each.problem else f"repaired: {', '.join(each.keys) or 'published'}"
        note(f"{each.day} {what}")


async def _verify(
    settings: Settings, days: tuple[date, date] | None, streams: list[str] | None, quick: bool, no_kafka: bool, concurrency: int
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

                def show(done: int, most: int) -> None:
                    if status is not None:
                        status.update(f"{done:,} of at most {most:,} files")

                return await proof.verify(
                    store,
                    day=days[0] if days else None,
                    last_day=days[1] if days else None,
                    streams=streams,
                    ask_kafka=None if no_kafka else ask,
                    deep=not quick,
                    workers=workers,
                    concurrency=concurrency,
                    progress=show,
                )
    finally:
        workers.close()


async def _verify_models(settings: Settings, quick: bool, json: bool) -> int:
    from streamer.clock import SystemClock
    from streamer.models.models import AsyncModels
    from streamer.models.signature import Signer
    from streamer.workers import ThreadWorkers

    workers = ThreadWorkers(settings.workers.threads)
    try:
        async with opened_store(settings) as store:
            with progress("reading the models"):
                models = AsyncModels(store, SystemClock(), workers, signer=Signer.from_environment())
                report = await models.check(deep=not quick)
    finally:
        workers.close()
    if json:
        print_json(report.document())
        return 0 if report.sound else Damaged.exit_code
    for remark in report.notes:
        print(f"note     {remark.kind}  {remark.key}: {remark.detail}; {remark.hint}")
    for finding in report.findings:
        print(f"FOUND    {finding.kind}  {finding.key}: {finding.detail}")
        print(f"         -> {finding.hint}")
    verdict = "sound" if report.sound else "NOT SOUND"
    depth = "" if report.deep else ", without reading the versions"
    counts = (
        f"{report.models:,} models, {report.versions:,} versions, {report.bytes:,} bytes, {len(report.findings):,} findings"
    )
    print(f"{verdict}{depth}: {counts}")
    return 0 if report.sound else Damaged.exit_code


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
