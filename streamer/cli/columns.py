"""`streamer columns`: which columns a topic's messages have, as TOML to declare them."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from streamer.cli.opened import kafka_of
from streamer.cli.options import ConfigOption, JsonOption, KafkaOption, settings_from
from streamer.cli.output import note, print_json, print_table
from streamer.errors import Invalid

if TYPE_CHECKING:
    from streamer.cli.column_inference import Inference
    from streamer.config import Settings
    from streamer.layout import Column


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("columns")(columns)


def columns(
    topic: Annotated[str, typer.Argument(help="The topic to look at.")],
    config: ConfigOption = None,
    kafka: KafkaOption = None,
    sample: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many of the newest records to read.")] = 1000,
    json: JsonOption = False,
) -> int:
    """Read the newest records of a topic, without joining the group or committing anything, and print the TOML that declares
    their fields as columns. What a column or alias of the stream takes already is left out. Fields that no column names are
    kept in `extra` as JSON text, which costs time per record: declaring them is worth it.

    \b
    Example:
      streamer columns ticks >> streamer.toml

    \b
    Exit status:
      0  done
      2  the topic does not exist or is empty, or the configuration is wrong
      3  Kafka was unreachable
      4  credentials or permissions were refused
    """
    settings = settings_from(config, kafka=kafka, require_lake=False)
    from streamer.cli.column_inference import infer, toml

    stream, known = _stream_of(settings, topic)
    values = asyncio.run(_values(settings, topic, sample))
    if not values:
        raise Invalid("the topic is empty", hint="try again when something was produced", topic=topic)
    inference = infer(values, known)
    text = toml(inference, stream)
    if json:
        fields = [asdict(column) for column in inference.columns]
        body = {"topic": topic, "stream": stream, "records": inference.records, "not_objects": inference.not_objects}
        print_json({**body, "fields": fields, "toml": text})
        return 0
    _explain(inference)
    print(text, end="")
    return 0


def _stream_of(settings: Settings, topic: str) -> tuple[str, tuple[Column, ...]]:
    """The name and the columns of the stream that takes this topic; for a topic without one a name, and no columns."""
    from streamer.config.stream_layouts import streams

    for stream in streams(settings):
        if stream.topic == topic:
            if stream.layout.schema == "raw":
                raise Invalid(
                    "the stream keeps its records as they come", hint="choose another schema to have columns", topic=topic
                )
            return stream.name, stream.layout.columns
    name = "".join(c if c.isascii() and c.isalnum() else "_" for c in topic.lower()).strip("_")
    name = "_".join(filter(None, name.split("_")))[:64] or "stream"
    name = name if name[0].isalpha() else f"s_{name}"[:64]
    note(f"no stream of the configuration has the topic {topic}: [streams.{name}] needs topic = {topic!r} and a schema too")
    return name, ()


async def _values(settings: Settings, topic: str, sample: int) -> list[bytes | None]:
    from streamer.clock import SystemClock
    from streamer.source.sample import newest_records

    chunks = await newest_records(kafka_of(settings), SystemClock(), topic, sample)
    return [value for chunk in chunks for value in chunk.values]


def _explain(inference: Inference) -> None:
    """Everything found, on standard error, so that the TOML alone is in the pipe."""
    import contextlib
    import sys

    rows = [
        (
            column.field,
            column.covered_by or column.type or "-",
            "has a column" if column.covered_by else "declare" if column.type else column.remark,
            f"{column.null_share:.0%}",
            ", ".join(column.examples),
        )
        for column in inference.columns
    ]
    with contextlib.redirect_stdout(sys.stderr):
        print_table(("field", "column or type", "what to do", "null", "examples"), rows)
    note(f"{inference.records} records, {inference.not_objects} that are no JSON object")
    if not inference.to_declare:
        note("nothing has to be declared")
