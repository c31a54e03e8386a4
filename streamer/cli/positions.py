"""`streamer positions`: where each partition stands, and an operator's word that a topic was made anew."""

from __future__ import annotations

import asyncio
import json as json_
import socket
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from streamer.cli.opened import ask_kafka, kafka_of, opened_store
from streamer.cli.options import ConfigOption, JsonOption, KafkaOption, LakeOption, YesOption, settings_from
from streamer.cli.output import note, print_json, print_table
from streamer.errors import Damaged, Invalid

if TYPE_CHECKING:
    from typing import Any

    from streamer.commit.accept import Proposal
    from streamer.commit.position import Position
    from streamer.config import Settings
    from streamer.lake.finding import Finding
    from streamer.records import RecordChunk, TopicPartition

TopicArgument = Annotated[str, typer.Argument(metavar="TOPIC")]
PartitionArgument = Annotated[int, typer.Argument(metavar="PARTITION", min=0)]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    group = typer.Typer(help="Where each partition stands.", no_args_is_help=True, rich_markup_mode=None)
    group.command("list")(list_)
    group.command("show")(show)
    group.command("accept")(accept)
    app.add_typer(group, name="positions")


def list_(
    config: ConfigOption = None,
    lake: LakeOption = None,
    kafka: KafkaOption = None,
    lag: Annotated[bool, typer.Option("--lag", help="Ask Kafka for its end offsets too.")] = False,
    json: JsonOption = False,
) -> int:
    """List the position of every partition: below `committed` everything is in the lake; up to `sealed` it is being written.

    \b
    Example:
      streamer positions list --lag

    \b
    Exit status:
      0  done
      2  the configuration is wrong
      3  the store, or with --lag Kafka, was unreachable
      4  credentials or permissions were refused
      5  a position cannot be read; the others are listed
    """
    settings = settings_from(config, lake=lake, kafka=kafka)
    found, damaged, ends = asyncio.run(_list(settings, lag))
    documents = [_document(position, ends) for position in found]
    if json:
        print_json({"positions": documents, "damaged": [{"key": each.key, "detail": each.detail} for each in damaged]})
    else:
        columns = ("topic", "partition", "lineage", "committed", "sealed", "through", "gaps", "epoch", "writer's host")
        names = ("topic", "partition", "lineage", "committed", "sealed", "through", "gaps", "epoch", "host")
        rows = [[len(body["gaps"]) if name == "gaps" else body[name] for name in names] for body in documents]
        if lag:
            rows = [[*row, body["lag"]] for row, body in zip(rows, documents, strict=True)]
        print_table((*columns, "lag") if lag else columns, rows)
        for each in damaged:
            note(f"error: {each.key}: {each.detail}")
    return Damaged.exit_code if damaged else 0


async def _list(settings: Settings, lag: bool) -> tuple[list[Position], list[Finding], dict[TopicPartition, int]]:
    from streamer.lake.positions import read_positions

    async with opened_store(settings) as store:
        positions = await read_positions(store)
    ends = {}
    if lag:
        kafka = await ask_kafka(kafka_of(settings), list(positions.by_source))
        ends = {source: bounds.end for source, bounds in kafka.bounds.items()}
    return list(positions.by_source.values()), positions.findings, ends


def _document(position: Position, ends: dict[TopicPartition, int]) -> dict[str, Any]:
    body: dict[str, Any] = json_.loads(position.to_json())
    end = ends.get(position.source)
    return body if end is None else {**body, "kafka_end": end, "lag": max(0, end - position.committed)}


def show(
    topic: TopicArgument,
    partition: PartitionArgument,
    config: ConfigOption = None,
    lake: LakeOption = None,
    json: JsonOption = False,
) -> int:
    """Print the position of one partition, whole: gaps and earlier lineages included.

    \b
    Example:
      streamer positions show ticks 0

    \b
    Exit status:
      0  done
      2  there is no such position
      3  the store was unreachable
      5  it cannot be read
    """
    settings = settings_from(config, lake=lake)
    position = asyncio.run(_show(settings, topic, partition))
    body = _document(position, {})
    if json:
        print_json(body)
    else:
        print_table(("name", "value"), [(name, _value(value)) for name, value in body.items()])
    return 0


def _value(value: object) -> object:
    return json_.dumps(value) if isinstance(value, dict | list) else value


async def _show(settings: Settings, topic: str, partition: int) -> Position:
    from streamer.commit.position import Position
    from streamer.errors import NotFound
    from streamer.keys import position_key
    from streamer.records import TopicPartition

    key = position_key(TopicPartition(topic, partition))
    async with opened_store(settings) as store:
        try:
            return Position.from_json((await store.get(key)).body, key=key)
        except NotFound:
            raise Invalid("there is no such position", hint="`streamer positions list` shows them", key=key) from None


def accept(
    topic: TopicArgument,
    partition: PartitionArgument,
    config: ConfigOption = None,
    lake: LakeOption = None,
    kafka: KafkaOption = None,
    start: Annotated[
        str, typer.Option(metavar="OFFSET", help="Where the new lineage begins: earliest, or an offset.")
    ] = "earliest",
    force: Annotated[
        bool, typer.Option("--force", help="Also where the topic is the one archived: its rows come twice.")
    ] = False,
    yes: YesOption = False,
    json: JsonOption = False,
) -> int:
    """Accept that a topic was made anew, so that the daemon goes on with this partition. What was archived before stays; the
    new records get keys that end in -l1, -l2, ... Nothing is deleted. Asks first, unless --yes.

    \b
    Example:
      streamer positions accept ticks 0

    \b
    Exit status:
      0  accepted; a running daemon takes the partition over by itself
      2  there is nothing to accept, or the answer was no
      3  the store or Kafka was unreachable; nothing has changed
      4  credentials or permissions were refused
      5  the position cannot be read
    """
    settings = settings_from(config, lake=lake, kafka=kafka)
    if start != "earliest" and not start.isdecimal():
        raise Invalid(f"--start {start!r} is not an offset", hint="write earliest, or a number")
    return asyncio.run(_accept(settings, topic, partition, None if start == "earliest" else int(start), force, yes, json))


async def _accept(settings: Settings, topic: str, partition: int, start: int | None, force: bool, yes: bool, json: bool) -> int:
    from streamer.clock import SystemClock
    from streamer.commit import accept as accepting
    from streamer.records import TopicPartition

    source, clock = TopicPartition(topic, partition), SystemClock()
    async with opened_store(settings) as store:
        kafka = await ask_kafka(kafka_of(settings), [source])
        if source not in kafka.bounds:
            raise Invalid(
                "Kafka has no such partition", hint="accept it once the topic is there again", topic=topic, partition=partition
            )
        bounds = kafka.bounds[source]
        propose = partial(
            accepting.propose,
            store,
            source,
            cluster_id=kafka.cluster_id,
            beginning=bounds.beginning,
            end=bounds.end,
            start=start,
        )
        proposal = await propose()
        if proposal.reason is None:
            # The offsets fit: only the content of the last record can tell.
            record = await _last_record(settings, proposal, bounds.beginning, bounds.end)
            proposal = await propose(last_record=record)
        if proposal.reason is None and not force:
            await accepting.accept(store, proposal, writer="", host="", clock=clock)  # raises, and says why
        _explain(proposal)
        if not yes and not typer.confirm("Accept?", err=True):
            note("nothing has changed")
            return Invalid.exit_code
        position = await accepting.accept(
            store, proposal, writer=clock.token(), host=f"{socket.gethostname()} (operator)", clock=clock, force=force
        )
    if json:
        print_json(_document(position, {}))
    else:
        print(f"accepted: {source} goes on at {position.committed}, lineage {position.lineage}")
    return 0


def _explain(proposal: Proposal) -> None:
    position = proposal.position
    note(f"{position.source}: lineage {position.lineage}, committed {position.committed}, sealed {position.sealed}")
    note(f"reason: {proposal.reason or 'none: this is the topic that was archived, and its records would be written again'}")
    if position.writing:
        note(f"the range [{position.committed},{position.sealed}) was being written and will never be finished")
    note(f"the new lineage {position.lineage + 1} begins at offset {proposal.start}")


async def _last_record(settings: Settings, proposal: Proposal, beginning: int, end: int) -> RecordChunk | None:
    from streamer.clock import SystemClock
    from streamer.source.contract import Bounds
    from streamer.source.sample import read_spans

    last = proposal.position.last
    if last is None or not beginning <= last.offset < end:
        return None
    span = {proposal.position.source: Bounds(last.offset, last.offset + 1)}
    chunks = await read_spans(kafka_of(settings), SystemClock(), span)
    return chunks[0] if chunks else None
