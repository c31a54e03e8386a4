"""`streamer dead-letters`: what was refused and why, and the way back into a topic after a fix."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamer.cli.opened import kafka_of, opened_store
from streamer.cli.options import ConfigOption, JsonOption, KafkaOption, LakeOption, YesOption, settings_from
from streamer.cli.output import note, print_json, print_table
from streamer.errors import Invalid

if TYPE_CHECKING:
    from streamer.config import Settings
    from streamer.lake.dead_letters import LetterFile, LetterQuery
    from streamer.lake.inventory import LakeFile
    from streamer.lake.letters import Letter
    from streamer.store.contract import Store

StreamOption = Annotated[str | None, typer.Option("--stream", help="Only those of this stream.")]
DateOption = Annotated[
    str | None, typer.Option("--date", metavar="YYYY-MM-DD", help="Only those whose Kafka timestamp is of this day.")
]
ReasonOption = Annotated[str | None, typer.Option("--reason", help="Only those with this reason, such as invalid_json.")]
SHOWN_BYTES = 60


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    help_ = "Records that could not become rows: list them, look at one, send them to a topic again."
    group = typer.Typer(help=help_, no_args_is_help=True, rich_markup_mode=None)
    group.command("list")(list_)
    group.command("show")(show)
    group.command("redrive")(redrive)
    app.add_typer(group, name="dead-letters")


def list_(
    config: ConfigOption = None,
    lake: LakeOption = None,
    stream: StreamOption = None,
    day: DateOption = None,
    reason: ReasonOption = None,
    long: Annotated[bool, typer.Option("--long", "-l", help="Every single one, not only their numbers.")] = False,
    json: JsonOption = False,
) -> int:
    """Count the dead letters by stream, day and reason, and say how many are open and how many were redriven.

    \b
    Example:
      streamer dead-letters list
      streamer dead-letters list --stream ticks --date 2026-01-03 --long

    \b
    Exit status:
      0  done, also where there is none
      2  the command line is wrong
      3  the store was unreachable
      4  credentials or permissions were refused
      5  a file of dead letters cannot be read
    """
    settings = settings_from(config, lake=lake)
    return asyncio.run(_list(settings, _query(stream, day, reason), long, json))


def _query(stream: str | None, day: str | None, reason: str | None, offsets: list[int] | None = None) -> LetterQuery:
    from streamer.lake.dead_letters import LetterQuery
    from streamer.lake.instant import parse_day

    return LetterQuery(stream, parse_day(day) if day else None, reason, None, frozenset(offsets) if offsets else None)


async def _list(settings: Settings, query: LetterQuery, long: bool, json: bool) -> int:
    from streamer.lake.dead_letters import find_letters

    counts: Counter[tuple[str, str, str, str]] = Counter()
    every: list[dict[str, Any]] = []
    async with opened_store(settings) as store:
        async for found in find_letters(store, query):
            for letter in found.letters:
                state = "done" if found.done(letter) else "open"
                date = found.file.folder.partition_path.removeprefix("date=")
                counts[found.file.folder.stream, date, letter.reason, state] += 1
                if long:
                    every.append(_document(found, letter))
    if long:
        _print_every(every, json)
        return 0
    groups = sorted({key[:3] for key in counts})
    rows = [(*group, counts[*group, "open"], counts[*group, "done"]) for group in groups]
    if json:
        names = ("stream", "date", "reason", "open", "done")
        print_json({"dead_letters": [dict(zip(names, row, strict=True)) for row in rows]})
        return 0
    print_table(("stream", "date", "reason", "open", "done"), rows)
    if not rows:
        note("there are no dead letters")
    return 0


def _document(found: LetterFile, letter: Letter) -> dict[str, Any]:
    done = found.done(letter)
    body = {"stream": found.file.folder.stream, "file": found.file.key, "state": "done" if done else "open"}
    if done is not None:
        where = {"topic": done.topic, "partition": done.partition, "offset": done.new_offset, "at": done.at}
        return {**body, "redriven": where, **letter.document()}
    return {**body, **letter.document()}


def _print_every(every: list[dict[str, Any]], json: bool) -> None:
    if json:
        print_json({"dead_letters": every})
        return
    names = ("stream", "topic", "partition", "offset", "reason", "state", "detail", "value")
    print_table(names, [[_short(body[name]) for name in names] for body in every])


def _short(value: object) -> object:
    if not isinstance(value, str):
        return value
    return value if len(value) <= SHOWN_BYTES else f"{value[: SHOWN_BYTES - 3]}..."


def show(
    where: Annotated[list[str], typer.Argument(metavar="KEY | TOPIC PARTITION OFFSET", help="A file, or one record.")],
    config: ConfigOption = None,
    lake: LakeOption = None,
    json: JsonOption = False,
) -> int:
    """Print dead letters whole: all of one file, or the one of a record by topic, partition and offset.

    \b
    Example:
      streamer dead-letters show ticks 0 1234

    \b
    Exit status:
      0  done
      2  there is no such dead letter
      3  the store was unreachable
      5  a file of dead letters cannot be read
    """
    settings = settings_from(config, lake=lake)
    documents = asyncio.run(_show(settings, where))
    if json:
        print_json({"dead_letters": documents})
        return 0
    for number, body in enumerate(documents):
        if number:
            print()
        for name, value in body.items():
            print(f"{name:<14} {value if value is not None else '(null)'}")
    return 0


async def _show(settings: Settings, where: list[str]) -> list[dict[str, Any]]:
    from streamer.errors import NotFound
    from streamer.lake.dead_letters import LetterFile, LetterQuery, file_of, find_letters, read_letters
    from streamer.lake.redriven import read_note
    from streamer.records import TopicPartition

    async with opened_store(settings) as store:
        if len(where) == 1:
            file = file_of(where[0])
            try:
                found = LetterFile(file, await read_letters(store, file), await read_note(store, file))
            except NotFound:
                raise Invalid(
                    "there is no such file", hint="`streamer dead-letters list -l` shows them", key=where[0]
                ) from None
            return [_document(found, letter) for letter in found.letters]
        if len(where) != 3 or not (where[1].isdecimal() and where[2].isdecimal()):
            raise Invalid("show takes a KEY, or TOPIC PARTITION OFFSET", hint="streamer dead-letters show ticks 0 1234")
        source = TopicPartition(where[0], int(where[1]))
        query = LetterQuery(source=source, offsets=frozenset({int(where[2])}))
        documents = [_document(found, letter) async for found in find_letters(store, query) for letter in found.letters]
    if not documents:
        raise Invalid(
            "that record is not among the dead letters", hint="`streamer dead-letters list -l` shows them", record=where
        )
    return documents


def redrive(
    config: ConfigOption = None,
    lake: LakeOption = None,
    kafka: KafkaOption = None,
    to: Annotated[str | None, typer.Option(metavar="TOPIC", help="Send them there; default: each to its own topic.")] = None,
    stream: StreamOption = None,
    day: DateOption = None,
    reason: ReasonOption = None,
    offset: Annotated[list[int] | None, typer.Option("--offset", help="Only this offset; may be given again.")] = None,
    new_timestamps: Annotated[
        bool, typer.Option("--new-timestamps", help="Let Kafka stamp them now; else they keep their timestamps.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent, and send nothing.")] = False,
    yes: YesOption = False,
    json: JsonOption = False,
) -> int:
    """Send open dead letters to their topic again, or to another, after the schema was fixed: original key, value and headers,
    with the headers streamer-redriven-from (topic/partition/offset) and streamer-redrive-reason added. What Kafka has
    acknowledged is marked as done beside the letters, and a second redrive leaves it out. Between acknowledgement and mark lies
    the one moment in which a crash lets up to 500 of them be sent twice. Records older than the topic's retention would be
    deleted soon: --new-timestamps.

    \b
    Example:
      streamer dead-letters redrive --stream ticks --reason wrong_type --dry-run
      streamer dead-letters redrive --stream ticks --reason wrong_type --yes

    \b
    Exit status:
      0  all of them were sent and marked, or there was none
      2  the topic does not exist, or the answer was no
      3  the store or Kafka was unreachable; run it again
      4  credentials or permissions were refused
      5  a file of dead letters cannot be read
    """
    settings = settings_from(config, lake=lake, kafka=kafka)
    return asyncio.run(_redrive(settings, _query(stream, day, reason, offset), to, new_timestamps, dry_run, yes, json))


async def _redrive(
    settings: Settings, query: LetterQuery, to: str | None, new_timestamps: bool, dry_run: bool, yes: bool, json: bool
) -> int:
    async with opened_store(settings) as store:
        plan, targets, files = await _planned(store, query, to)
        total, sent = sum(plan.values()), 0
        for reason, number in sorted(plan.items()):
            note(f"{number} with reason {reason}")
        if total and not dry_run:
            if not yes and not typer.confirm(f"Send {total} records to {', '.join(sorted(targets))}?", err=True):
                note("nothing was sent")
                return Invalid.exit_code
            sent = await _send(settings, store, files, query, to, new_timestamps, targets)
    if json:
        print_json({"found": total, "sent": sent, "to": sorted(targets), "dry_run": dry_run})
    else:
        print(f"{total} would be sent" if dry_run else f"{sent} sent and marked as done")
    return 0


async def _planned(store: Store, query: LetterQuery, to: str | None) -> tuple[Counter[str], set[str], list[LakeFile]]:
    """Numbers by reason, the topics, and the files. Only these files are sent later: what the daemon refuses again meanwhile
    becomes new dead letters, and sending those too would go round for ever."""
    from streamer.lake.dead_letters import find_letters

    plan: Counter[str] = Counter()
    targets: set[str] = set()
    files = []
    async for found in find_letters(store, query):
        plan.update(letter.reason for letter in found.open)
        targets.update(to or letter.source.topic for letter in found.open)
        if found.open:
            files.append(found.file)
    return plan, targets, files


async def _send(
    settings: Settings,
    store: Store,
    files: list[LakeFile],
    query: LetterQuery,
    to: str | None,
    new_timestamps: bool,
    targets: set[str],
) -> int:
    from streamer.clock import SystemClock
    from streamer.lake.dead_letters import open_letters
    from streamer.lake.redrive import redrive as send_again
    from streamer.source.producer import Producer

    clock, sent = SystemClock(), 0
    async with Producer(kafka_of(settings), clock) as producer:
        for topic in sorted(targets):
            await producer.require(topic)
        for file in files:
            found = await open_letters(store, file, query)
            sent += len(await send_again(store, found, to, producer.send, clock, new_timestamps=new_timestamps))
    return sent
