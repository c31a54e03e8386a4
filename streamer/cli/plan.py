"""`streamer plan`: what a configuration will cost, before anyone pays."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamer.cli.options import ConfigOption, JsonOption, KafkaOption, LakeOption, settings_from
from streamer.cli.output import note, print_json, print_table, progress
from streamer.errors import Invalid

if TYPE_CHECKING:
    from streamer.config import Settings
    from streamer.setup.estimate import ProcessEstimate, StreamEstimate
    from streamer.setup.prices import Prices
    from streamer.setup.traffic import Traffic
    from streamer.streams import Stream

DEFAULT_PARTITIONS = 1
_MONTHS = ("in the first month", "after a year")


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("plan")(plan)


def plan(
    config: ConfigOption = None,
    lake: LakeOption = None,
    kafka: KafkaOption = None,
    rate: Annotated[list[str] | None, typer.Option(metavar="STREAM=N", help="Records a second.")] = None,
    symbols: Annotated[list[str] | None, typer.Option(metavar="STREAM=N", help="Folders a day, such as symbols.")] = None,
    partitions: Annotated[list[str] | None, typer.Option(metavar="STREAM=N", help="Partitions of its topic.")] = None,
    from_topic: Annotated[bool, typer.Option("--from-topic", help="Measure on the newest records of the topics.")] = False,
    sample: Annotated[int, typer.Option(min=10, max=1_000_000, help="How many records of each topic to read.")] = 5000,
    prices: Annotated[Path | None, typer.Option(metavar="FILE", help="Another price list.")] = None,
    json: JsonOption = False,
) -> None:
    """Estimate what the configuration makes of the traffic: batches, files and their size, PUTs, storage, dollars a month for
    each stream, memory and freshness of a process. Rates are stated with --rate, or measured with --from-topic, which joins no
    group and commits nothing; --rate, --symbols and --partitions go before what was measured. Sizes are measured by the real
    encoder: on the topic's records, else on messages of the demo's market. Streams without a rate are left out. Prices come
    from a list with its date; they are list prices, and --prices replaces them.

    \b
    Example:
      streamer plan --rate ticks=2000 --symbols ticks=50 --partitions ticks=6
      streamer plan --from-topic --json | jq '.streams[] | {stream, files, dollars_after_a_year}'

    \b
    Exit status:
      0  done
      2  the configuration, a rate or the price list is wrong
      3  Kafka was unreachable
      4  credentials or permissions were refused
    """
    settings = settings_from(config, lake=lake, kafka=kafka, require_lake=False)
    from streamer.setup.estimate import estimate, process
    from streamer.setup.prices import prices as price_list

    listed = price_list(prices)
    stated = {
        "rate": numbers(rate, settings),
        "symbols": numbers(symbols, settings),
        "partitions": numbers(partitions, settings),
    }
    with progress("measuring ..."):
        traffic = asyncio.run(_traffic(settings, stated, sample if from_topic else None))
    if not traffic:
        hint = "state one, --rate ticks=2000, or measure: --from-topic"
        raise Invalid("no stream has a rate", hint=hint)
    estimates = [estimate(stream, each, settings, listed) for stream, each in traffic]
    whole = process(estimates, settings)
    if json:
        print_json(_document(estimates, whole, listed))
    else:
        _print(estimates, whole, listed)


def numbers(given: list[str] | None, settings: Settings) -> dict[str, float]:
    """`STREAM=N`, several. Raises `Invalid`."""
    found = {}
    for text in given or ():
        name, _, number = text.partition("=")
        if name not in settings.enabled_streams:
            raise Invalid(f"there is no enabled stream {name!r}", hint=f"there are {', '.join(settings.enabled_streams)}")
        try:
            found[name] = float(number.replace("_", ""))
        except ValueError:
            found[name] = 0.0
        if not 0 < found[name] < 1e12:
            raise Invalid(f"{text!r} has no number greater than 0", hint=f"write {name}=2000")
    return found


async def _traffic(settings: Settings, stated: dict[str, dict[str, float]], sample: int | None) -> list[tuple[Stream, Traffic]]:
    from streamer.config.stream_layouts import streams
    from streamer.setup.traffic import Traffic, of_the_market

    found = []
    for stream in streams(settings):
        name = stream.name
        measured = await _measured(settings, stream, sample) if sample is not None else None
        rate = stated["rate"].get(name)
        if rate is None and measured is None:
            continue
        sizes = measured.sizes if measured is not None else of_the_market(stream)
        partitions = stated["partitions"].get(name) or (measured.partitions if measured else DEFAULT_PARTITIONS)
        folders = stated["symbols"].get(name) or sizes.folders
        each = sizes.folders_each if measured is not None and name not in stated["symbols"] else None
        records = rate if rate is not None else measured.records_per_second if measured is not None else 0.0
        origin = "stated" if rate is not None else "measured on the topic"
        found.append((stream, Traffic(records, max(1, round(partitions)), max(1, round(folders)), sizes, origin, each)))
    return found


async def _measured(settings: Settings, stream: Stream, sample: int) -> Traffic | None:
    """What the topic says; None for one that is empty."""
    from streamer.cli.opened import kafka_of
    from streamer.clock import SystemClock
    from streamer.setup.traffic import Traffic, measured_rate, measured_sizes
    from streamer.source.sample import newest_records, partitions_of

    kafka, clock = kafka_of(settings), SystemClock()
    partitions = await partitions_of(kafka, clock, stream.topic)
    chunks = await newest_records(kafka, clock, stream.topic, sample)
    if not chunks:
        note(f"{stream.topic} is empty: left out")
        return None
    sizes = measured_sizes(stream, chunks, f"{sum(map(len, chunks))} records of the topic")
    return Traffic(measured_rate(chunks), len(partitions), sizes.folders, sizes, "measured on the topic")


def _document(estimates: list[StreamEstimate], whole: ProcessEstimate, listed: Prices) -> dict[str, object]:
    return {
        "streams": [asdict(each) for each in estimates],
        "process": asdict(whole),
        "dollars_first_month": sum(each.dollars_first_month for each in estimates),
        "dollars_after_a_year": sum(each.dollars_after_a_year for each in estimates),
        "prices": {"date": listed.date, "region": listed.region, "currency": listed.currency, "source": listed.source},
    }


def _print(estimates: list[StreamEstimate], whole: ProcessEstimate, listed: Prices) -> None:
    columns = (
        "stream",
        "records/s",
        "a batch every",
        "files/day",
        "a file",
        "PUTs/day",
        "GB/month",
        "first month",
        "after a year",
    )
    rows = [
        (
            each.stream,
            f"{each.records_per_second:,.6g}",
            f"{each.batch_seconds:,.0f} s ({each.cut_by})",
            f"{each.files:,.0f}",
            _size(each.file_bytes),
            f"{each.puts:,.0f}",
            f"{each.stored_bytes * 30 / 1e9:,.2f}",
            f"{each.dollars_first_month:,.2f} {listed.currency}",
            f"{each.dollars_after_a_year:,.2f} {listed.currency}",
        )
        for each in estimates
    ]
    print_table(columns, rows)
    for each in estimates:
        origins = f"rate {each.rate_origin}; sizes from {each.sizes_origin}"
        note(f"{each.stream}: {origins}; fresh within {each.freshness_seconds:,.0f} s")
        if each.index_writes:
            dollars = (each.index_dollars_first_month, each.index_dollars_after_a_year)
            said = ", ".join(f"{some:,.2f} {listed.currency} {when}" for some, when in zip(dollars, _MONTHS, strict=True))
            note(f"{each.stream}: of this DynamoDB {said}, for {each.index_writes:,.0f} writes a day")
        for remark in each.remarks:
            note(f"{each.stream}: {remark}")
    note(f"memory of a process: at most {_size(whole.memory_bytes)}, of which {_size(whole.buffered_bytes)} wait for their cut")
    for remark in whole.remarks:
        note(remark)
    note(f"dollars are a month's; prices of {listed.region}, {listed.date}: {listed.source}")


def _size(size_bytes: float) -> str:
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:,.1f} {unit}"
    return f"{size_bytes:,.0f} B"
