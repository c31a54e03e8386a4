"""`streamer state`: the feature history that the daemon keeps for warm starts, as the lake has it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamer.cli.opened import ask_kafka, kafka_of, opened_store
from streamer.cli.options import ConfigOption, JsonOption, KafkaOption, LakeOption, settings_from
from streamer.cli.output import note, print_json, print_table
from streamer.errors import Damaged, Denied, Invalid, Unavailable

if TYPE_CHECKING:
    from streamer.config import Settings
    from streamer.features.document import Head
    from streamer.features.history import FeatureHistory
    from streamer.records import TopicPartition

DOCUMENT = "state/feature_history_latest.json"
DocumentOption = Annotated[str, typer.Option("--document", metavar="KEY", help="The merged document.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    group = typer.Typer(help="The feature history for warm starts.", no_args_is_help=True, rich_markup_mode=None)
    group.command("show")(show)
    group.command("list")(list_)
    app.add_typer(group, name="state")


def show(
    symbol: Annotated[str | None, typer.Argument(metavar="[SYMBOL]", help="Print the rows of one symbol.")] = None,
    config: ConfigOption = None,
    lake: LakeOption = None,
    kafka: KafkaOption = None,
    document: DocumentOption = DOCUMENT,
    as_of: Annotated[str | None, typer.Option("--as-of", metavar="TIME", help="As it was saved then, or last before.")] = None,
    json: JsonOption = False,
) -> int:
    """Show the merged feature history: its age, its symbols, the offset of each partition, and how far the topic has gone on
    since, if Kafka answers.

    \b
    Example:
      streamer state show
      streamer state show BTCUSDT --json

    \b
    Exit status:
      0  done
      2  there is no history, or it has no such symbol
      3  the store was unreachable
      5  it is damaged, and so are the older ones
    """
    from streamer.lake.instant import parse_instant

    settings = settings_from(config, lake=lake, kafka=kafka)
    moment = parse_instant(as_of) if as_of is not None else None
    history = asyncio.run(_read(settings, document, moment, symbol))
    if history.as_of is None:
        raise Invalid(
            "the lake has no feature history",
            hint="the daemon keeps one for streams with [streams.NAME.history]; `streamer state list` shows what there is",
            document=document,
        )
    if symbol is not None:
        if symbol not in history:
            raise Invalid(f"the history has no symbol {symbol!r}", hint="`streamer state show` counts what it has")
        return _print_rows(history[symbol], json)
    partitions = _partitions(history, _ends(settings, history))
    age = history.age.total_seconds() if history.age is not None else None
    if json:
        symbols = {name: len(history[name]) for name in history}
        print_json(
            {"document": document, "as_of": history.as_of, "age_seconds": age, "window": history.window}
            | {"partitions": partitions, "symbols": symbols, "features": list(history.features)}
        )
        return 0
    full = sum(len(history[name]) == history.window for name in history)
    print_table(
        ("name", "value"),
        [
            ("as of", f"{history.as_of:%Y-%m-%d %H:%M:%S} UTC"),
            ("age", f"{age:.0f} s"),
            ("symbols", f"{len(history)}, {full} of them with {history.window} rows"),
            ("features", len(history.features)),
        ],
    )
    print_table(("topic", "partition", "offset", "lag"), [list(each.values()) for each in partitions])
    return 0


def _print_rows(rows: list[dict[str, Any]], json: bool) -> int:
    if json:
        print_json(rows)
    else:
        names = list(dict.fromkeys(name for row in rows for name in row))
        print_table(names, [[row.get(name) for name in names] for row in rows])
    return 0


async def _read(settings: Settings, document: str, as_of: datetime | None, symbol: str | None) -> FeatureHistory:
    from streamer.clock import SystemClock
    from streamer.features.read import read_history

    async with opened_store(settings) as store:
        symbols = None if symbol is None else [symbol]
        return await read_history(store, SystemClock(), document=document, as_of=as_of, symbols=symbols)


def _ends(settings: Settings, history: FeatureHistory) -> dict[tuple[str, int], int]:
    """Kafka's end offsets; nothing where Kafka does not answer, which is no reason not to show the rest."""
    from streamer.records import TopicPartition

    sources = [TopicPartition(topic, partition) for topic, found in history.offsets.items() for partition in found]
    try:
        view = asyncio.run(ask_kafka(kafka_of(settings, short=True), sources))
    except (Unavailable, Denied) as error:
        note(f"without lag: {error.message}")
        return {}
    return {(source.topic, source.partition): bounds.end for source, bounds in view.bounds.items()}


def _partitions(history: FeatureHistory, ends: dict[tuple[str, int], int]) -> list[dict[str, Any]]:
    found = []
    for topic, offsets in history.offsets.items():
        for partition, offset in offsets.items():
            end = ends.get((topic, partition))
            lag = None if end is None else max(0, end - offset)
            found.append({"topic": topic, "partition": partition, "offset": offset, "lag": lag})
    return found


@dataclass(slots=True)
class _Found:
    """What a listing of `state/` shows."""

    documents: list[dict[str, Any]] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)


def list_(
    config: ConfigOption = None,
    lake: LakeOption = None,
    document: DocumentOption = DOCUMENT,
    json: JsonOption = False,
) -> int:
    """List the saved feature histories: the merged one, its older versions, and those of single partitions.

    \b
    Example:
      streamer state list

    \b
    Exit status:
      0  done
      3  the store was unreachable
      5  one of them is damaged; the others are listed
    """
    settings = settings_from(config, lake=lake)
    found = asyncio.run(_list(settings, document))
    if json:
        print_json({"documents": found.documents, "damaged": found.damaged})
    else:
        columns = ("kind", "as of", "age", "window", "offsets", "bytes", "key")
        names = ("kind", "as_of", "age_seconds", "window", "offsets", "size_bytes", "key")
        print_table(columns, [[_short(body[name]) for name in names] for body in found.documents])
        for key in found.damaged:
            note(f"error: {key} cannot be read")
    return Damaged.exit_code if found.damaged else 0


def _short(value: object) -> object:
    if isinstance(value, dict):
        return " ".join(
            f"{topic}-{partition}:{offset}" for topic, found in value.items() for partition, offset in found.items()
        )
    return f"{value:%Y-%m-%d %H:%M:%S}" if isinstance(value, datetime) else value


async def _list(settings: Settings, document: str) -> _Found:
    from streamer.clock import SystemClock
    from streamer.features.stored_document import read_standing
    from streamer.keys import FEATURE_HISTORY, kept_prefix, parse_feature_history_key, parse_kept_key

    found, now = _Found(), SystemClock().now()
    async with opened_store(settings) as store:
        keys: list[tuple[str, str, int]] = []
        async for item in store.list(document):
            keys += [("merged", item.key, item.size_bytes)] if item.key == document else []
        async for item in store.list(kept_prefix(document)):
            keys += [("kept", item.key, item.size_bytes)] if parse_kept_key(document, item.key) is not None else []
        async for item in store.list(FEATURE_HISTORY):
            keys += [("partition", item.key, item.size_bytes)] if parse_feature_history_key(item.key) is not None else []
        for kind, key, size_bytes in keys:
            standing = await read_standing(store, key)
            if standing is None:
                continue
            if standing.head is None:
                found.damaged.append(key)
                continue
            found.documents.append(_document(kind, key, size_bytes, standing.head, now))
    return found


def _document(kind: str, key: str, size_bytes: int, head: Head, now: datetime) -> dict[str, Any]:
    return {
        "kind": kind,
        "key": key,
        "stream": head.stream,
        "as_of": head.as_of,
        "age_seconds": round((now - head.as_of).total_seconds()),
        "window": head.window,
        "offsets": _offsets(head.marks),
        "size_bytes": size_bytes,
    }


def _offsets(marks: Any) -> dict[str, dict[int, int]]:
    found: dict[str, dict[int, int]] = {}
    source: TopicPartition
    for source, mark in sorted(marks.items()):
        found.setdefault(source.topic, {})[source.partition] = mark.offset
    return found
