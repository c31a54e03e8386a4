"""`streamer demo`: the whole promise in twenty seconds, and, with `--feed`, the same market for a Kafka of one's own."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamer.cli.options import JsonOption
from streamer.cli.output import console, note, print_json
from streamer.errors import Damaged, Invalid

if TYPE_CHECKING:
    from rich.status import Status

    from streamer.embedded.demo import Outcome, Plan

INTERRUPTED = 130


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("demo")(demo)


def demo(
    directory: Annotated[
        Path, typer.Option("--dir", metavar="D", help="Where the run's folder is made; nothing in it is ever replaced.")
    ] = Path("demo-lake"),
    seconds: Annotated[float, typer.Option(min=1.0, max=3600.0, help="How long the market is open.")] = 8.0,
    follow: Annotated[bool, typer.Option("--follow", help="Keep the market open until Ctrl-C.")] = False,
    seed: Annotated[int, typer.Option(help="Another seed, another market.")] = 7,
    feed: Annotated[
        str | None,
        typer.Option("--feed", metavar="SERVERS", help="Only produce the market to this Kafka, until told to stop."),
    ] = None,
    rate: Annotated[float, typer.Option(min=0.1, max=20_000.0, help="Ticks per second, with --feed.")] = 100.0,
    json: JsonOption = False,
) -> int:
    """Start a broker and a lake out of the Python packages alone, produce a plausible market, run the real daemon, kill it with
    -9 in the middle, start it again, and prove with plain pyarrow that every record is in the lake exactly once. Nothing leaves
    this machine.

    \b
    Example:
      streamer demo
      streamer demo --follow --dir /tmp/lakes
      streamer demo --feed localhost:9092 --rate 50

    \b
    Exit status:
      0    every record is there exactly once
      1    a bug
      2    `pip install "streamer[demo]"` is missing, or the folder cannot be made
      3    with --feed: Kafka is unreachable
      5    a record is missing or double: please report it
      130  interrupted twice
    """
    if feed is not None:
        return asyncio.run(_feed(feed, seed, rate))
    from streamer.embedded.demo import Plan

    outcome = asyncio.run(_demo(Plan(directory, seconds, follow, seed), quiet=json))
    if json:
        from streamer.embedded.demo_report import document

        print_json(document(outcome))
    else:
        _print(outcome)
    return 0 if outcome.good else Damaged.exit_code


async def _demo(plan: Plan, *, quiet: bool) -> Outcome:
    from streamer.clock import SystemClock
    from streamer.embedded.demo import run_demo

    stop = asyncio.Event()
    with _Screen(quiet=quiet) as screen, _signals(stop):
        return await run_demo(plan, screen, SystemClock(), stop)


def _print(outcome: Outcome) -> None:
    from streamer.embedded.demo_report import called_as, report

    here = Path.cwd()
    print()
    for line in report(outcome, called_as(sys.argv[0], here), here):
        print(line)


async def _feed(servers: str, seed: int, rate: float) -> int:
    from streamer.clock import SystemClock
    from streamer.config.values import parse_servers
    from streamer.embedded.feed import Ledger, feed
    from streamer.embedded.market import TOPICS, Market
    from streamer.source.producer import Producer
    from streamer.source.settings import KafkaSettings

    try:
        settings = KafkaSettings(parse_servers(servers), client_id="streamer-demo-feed")
    except ValueError as error:
        raise Invalid(f"--feed: {error}", hint="--feed localhost:9092") from error
    clock, stop, ledger = SystemClock(), asyncio.Event(), Ledger(keep=False)
    with _signals(stop):
        async with Producer(settings, clock) as producer:
            for topic in TOPICS:
                await producer.require(topic)
            note(f"producing {rate:g} ticks per second to {', '.join(TOPICS)} at {settings.bootstrap_servers}")
            await feed(producer, Market(seed, clock.now(), rate), ledger, clock, stop)
    note(f"{ledger.count:,} records produced")
    return 0


@contextmanager
def _signals(stop: asyncio.Event) -> Iterator[None]:
    """The first signal ends in order, the second at once."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    interrupted = False

    def heard() -> None:
        nonlocal interrupted
        if stop.is_set() and task is not None:
            interrupted = True
            task.cancel()
        stop.set()

    for number in numbers:
        loop.add_signal_handler(number, heard)
    try:
        yield
    except asyncio.CancelledError:
        if interrupted:
            raise KeyboardInterrupt from None
        raise
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


class _Screen:
    """A `Teller`: steps as lines on standard error; progress on a terminal only, where the next replaces it."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._console = console(stderr=True)
        self._status: Status | None = None
        if sys.stderr.isatty() and not quiet:
            self._status = self._console.status("starting")

    def __enter__(self) -> _Screen:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()

    def say(self, text: str) -> None:
        if not self._quiet:
            self._console.print(text, markup=False, soft_wrap=True)

    def status(self, text: str) -> None:
        if self._status is not None:
            self._status.update(text)
