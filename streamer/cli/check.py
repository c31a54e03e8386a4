"""`streamer check`: does it work from here, and if not, what is to be done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

import typer

from streamer.cli.options import ConfigOption, JsonOption, KafkaOption, LakeOption, settings_from
from streamer.cli.output import print_json, print_line, progress
from streamer.errors import Denied, Invalid, NotFound, StreamerError

if TYPE_CHECKING:
    from streamer.clock import Clock
    from streamer.config import Settings
    from streamer.source.probe import KafkaReport
    from streamer.store.contract import Store

WORST_FIRST = (1, 5, 2, 4, 3, 6)
CONNECT_SECONDS = 6.0
SKEW_WARN_SECONDS = 30.0
"""S3 refuses requests from 15 minutes on. Positions and snapshots carry wall-clock times for people."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `exit_code` is 0 unless it failed."""

    about: str
    status: Literal["ok", "warn", "fail"]
    message: str
    hint: str = ""
    exit_code: int = 0

    @classmethod
    def failed(cls, about: str, error: StreamerError) -> Finding:
        return cls(about, "fail", str(error), error.hint, error.exit_code)


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("check")(check)


def check(config: ConfigOption = None, lake: LakeOption = None, kafka: KafkaOption = None, json: JsonOption = False) -> int:
    """Look at the configuration, Kafka, the store and its conditional writes, and say what works, what does not, and what to
    do. Reads no record, joins no group, creates no topic; writes only below _streamer/probe/, and deletes it again.

    \b
    Example:
      streamer check
      streamer check --json | jq -r '.findings[] | select(.status != "ok") | .message'

    \b
    Exit status:
      0  everything works (warnings may remain), else that of the worst finding:
      1  a bug
      2  the configuration is wrong, the lake does not exist or cannot give exactly once
      3  Kafka or the store is unreachable
      4  credentials or permissions were refused
    """
    findings = asyncio.run(_examine(settings_or_error(config, lake, kafka), quiet=json))
    code = worst(findings)
    if json:
        print_json({"findings": [asdict(finding) for finding in findings], "exit_code": code})
    return code


def settings_or_error(config: ConfigOption, lake: LakeOption, kafka: KafkaOption) -> Settings | Invalid:
    """The settings, or what is wrong with them: that is a finding, too."""
    try:
        return settings_from(config, lake=lake, kafka=kafka, require_lake=False)
    except Invalid as error:
        return error


def worst(findings: list[Finding]) -> int:
    """The exit status that stands for all of `findings`."""
    codes = {finding.exit_code for finding in findings if finding.status == "fail"}
    return next((code for code in WORST_FIRST if code in codes), max(codes, default=0))


async def _examine(settings: Settings | Invalid, *, quiet: bool) -> list[Finding]:
    findings = []
    with nullcontext() if quiet else progress("looking ..."):
        async for finding in examine(settings):
            findings.append(finding)
            if not quiet:
                print_line(finding.status, finding.about, finding.message, finding.hint)
    return findings


async def examine(settings: Settings | Invalid) -> AsyncIterator[Finding]:
    """Every finding, as soon as it is known. Raises nothing that a service or a file can cause."""
    from streamer.clock import SystemClock

    if isinstance(settings, Invalid):
        yield Finding.failed("configuration", settings)
        return
    clock = SystemClock()
    for finding in look_at_configuration(settings):
        yield finding
    async for finding in look_at_kafka(settings, clock):
        yield finding
    async for finding in look_at_lake(settings, clock):
        yield finding
    for name in settings.tables:
        async for finding in look_at_table(settings, name, clock):
            yield finding


def look_at_configuration(settings: Settings) -> list[Finding]:
    """Layouts, and what was accepted with a doubt."""
    from streamer.config.stream_layouts import streams

    findings = []
    try:
        for stream in streams(settings):
            where = "/".join(part for part in ("raw", stream.name, stream.layout.path) if part)
            message = f"topic {stream.topic}, {len(stream.layout.columns)} columns, {stream.layout.format} in {where}"
            findings.append(Finding(f"stream {stream.name}", "ok", message))
    except StreamerError as error:
        findings.append(Finding.failed("configuration", error))
    findings += [Finding("configuration", "warn", warning, "take it out, or change it") for warning in settings.warnings]
    return findings


async def look_at_kafka(settings: Settings, clock: Clock) -> AsyncIterator[Finding]:
    """The cluster, each topic, the group."""
    from dataclasses import replace

    from streamer.config.clients import kafka_settings
    from streamer.source.probe import probe

    topics = [section.topic or name for name, section in settings.enabled_streams.items()]
    try:
        client = replace(kafka_settings(settings), start_timeout_seconds=CONNECT_SECONDS)
        report = await probe(client, topics, clock)
    except StreamerError as error:
        yield Finding.failed("kafka", error)
        return
    brokers = "1 broker" if report.brokers == 1 else f"{report.brokers} brokers"
    yield Finding("kafka", "ok", f"cluster {report.cluster_id}, {brokers}, at {settings.kafka.bootstrap_servers}")
    for finding in _about_report(report):
        yield finding


def _about_report(report: KafkaReport) -> list[Finding]:
    findings = []
    for topic in report.topics:
        about = f"topic {topic.topic}"
        if topic.problem is not None:
            findings.append(Finding.failed(about, topic.problem))
        elif topic.partitions:
            findings.append(Finding(about, "ok", "1 partition" if topic.partitions == 1 else f"{topic.partitions} partitions"))
        else:
            hint = "create it, correct streams.NAME.topic, or set enabled = false; streamer waits and never creates topics"
            findings.append(Finding(about, "warn", "does not exist", hint))
    group = report.group
    if group.problem is not None:
        findings.append(Finding.failed(f"group {group.group}", group.problem))
    else:
        members = "1 member" if group.members == 1 else f"{group.members} members"
        state = "new" if group.state == "Dead" else f"{group.state.lower()}, {members}"
        findings.append(Finding(f"group {group.group}", "ok", state))
    return findings


async def look_at_table(settings: Settings, name: str, clock: Clock) -> AsyncIterator[Finding]:
    """The table of an index: there, of the right keys, ready; and what we may do with it. Writes nothing."""
    from streamer.config.clients import table_settings
    from streamer.index.dynamodb import IndexTable
    from streamer.setup.table import demand_keys

    about = f"table {name}"
    table = IndexTable(table_settings(settings, name), clock)
    try:
        state = await table.describe()
        if state is None:
            yield Finding(about, "fail", "does not exist", "`streamer init` makes it", Invalid.exit_code)
            return
        demand_keys(name, state)
        if state.status == state.index_status == "ACTIVE":
            yield Finding(about, "ok", "is there, with its index")
        else:
            hint = "wait" if state.index_keys else "`streamer init` makes the index; readers cannot ask for a ticker without it"
            yield Finding(about, "warn", f"table {state.status}, index {state.index_status or 'missing'}", hint)
        yield await _try_table(f"{about} write", table.check_writing, "the daemon and whoever stores events need it")
        yield await _try_table(f"{about} read", table.check_reading, "readers of events need it, the daemon does not")
    except StreamerError as error:
        yield Finding.failed(about, error)
    finally:
        await table.close()


async def _try_table(about: str, attempt: Callable[[], Awaitable[None]], who: str) -> Finding:
    """A permission that is missing is no failure by itself: nobody who runs this needs both."""
    try:
        await attempt()
    except Denied as error:
        return Finding(about, "warn", f"not allowed: {who}", error.hint)
    return Finding(about, "ok", "allowed")


async def look_at_lake(settings: Settings, clock: Clock) -> AsyncIterator[Finding]:
    """The place, each operation, conditional writes, the server's clock."""
    from streamer.config.clients import s3_settings
    from streamer.store.open import open_store

    if settings.lake.url is None:
        missing = Invalid("no lake is configured", hint="set S3_BUCKET_NAME, lake.url in streamer.toml, or --lake URL")
        yield Finding.failed("lake", missing)
        return
    try:
        store = open_store(settings.lake.url, s3_settings(settings), clock)
    except StreamerError as error:
        yield Finding.failed("lake", error)
        return
    try:
        async for finding in _try_store(store, settings, clock):
            yield finding
    finally:
        await store.close()


async def _try_store(store: Store, settings: Settings, clock: Clock) -> AsyncIterator[Finding]:
    """Each operation by itself: a permission that is missing does not keep the next one from being tried."""
    from streamer.store.contract import Overwrite, StoredObject
    from streamer.store.probe import PROBES, probe_conditional_writes

    key, stored = f"{PROBES}{clock.token()}", list[StoredObject]()
    try:
        await store.prepare()
    except StreamerError as error:
        yield Finding.failed("lake", error)
        return
    yield Finding("lake", "ok", f"{store.url} is there")
    before = clock.now()
    try:
        await store.put(key, b"probe", mode=Overwrite())
        put, after = Finding("lake put", "ok", "allowed"), clock.now()
    except StreamerError as error:
        put = Finding.failed("lake put", error)
    yield put

    async def get() -> Finding:
        stored.append(await store.get(key))
        return Finding("lake get", "ok", "allowed")

    async def list_() -> Finding:
        return _about_listing(key in [info.key async for info in store.list(PROBES)] or put.status != "ok")

    async def list_uploads() -> Finding:
        uploads = [upload async for upload in store.list_uploads(PROBES)]
        return Finding("lake list uploads", "ok", f"allowed, {len(uploads)} of probes" if uploads else "allowed")

    yield await _attempt("lake get", get)
    yield await _attempt("lake list", list_)
    if settings.models.watch is not None:
        yield await _attempt("lake list uploads", list_uploads)
    if stored and put.status == "ok":
        early, late = (before - stored[0].info.modified).total_seconds(), (stored[0].info.modified - after).total_seconds()
        yield _about_clock(max(early, late, 0.0))
    yield await _try_delete(store, key)
    if put.status != "ok":
        return
    try:
        yield _about_conditional_writes(
            await probe_conditional_writes(store, clock), at_least_once=settings.lake.allow_at_least_once
        )
    except StreamerError as error:
        yield Finding.failed("conditional writes", error)


async def _attempt(about: str, call: Callable[[], Awaitable[Finding]]) -> Finding:
    try:
        return await call()
    except NotFound:
        return Finding(about, "ok", "allowed")  # the probe could not be put; to be told so needs the permission
    except StreamerError as error:
        return Finding.failed(about, error)


def _about_listing(listed: bool) -> Finding:
    if listed:
        return Finding("lake list", "ok", "allowed")
    hint = "use a store whose listings are current: recovery and `verify` rest on them"
    return Finding("lake list", "fail", "an object just written is not listed", hint, Invalid.exit_code)


def _about_clock(skew_seconds: float) -> Finding:
    if skew_seconds <= SKEW_WARN_SECONDS:
        return Finding("clock", "ok", "agrees with the store's")
    hint = "set this machine's clock (chrony, systemd-timesyncd); S3 refuses requests that are 15 minutes off"
    return Finding("clock", "warn", f"differs from the store's by {skew_seconds:.0f} s", hint)


async def _try_delete(store: Store, key: str) -> Finding:
    try:
        await store.delete(key)
    except Denied:
        hint = "nothing that runs now needs it; closing days and retention do. A few bytes stay under _streamer/probe/"
        return Finding("lake delete", "warn", "not allowed", hint)
    except StreamerError as error:
        return Finding.failed("lake delete", error)
    return Finding("lake delete", "ok", "allowed")


def _about_conditional_writes(honoured: bool, *, at_least_once: bool) -> Finding:
    about = "conditional writes"
    if honoured:
        return Finding(about, "ok", "honoured: exactly once")
    if at_least_once:
        return Finding(about, "warn", "not honoured: rows may be there twice", "allow_at_least_once = true accepts this")
    hint = "use a store that honours If-None-Match and If-Match, or accept doubles with lake.allow_at_least_once = true"
    return Finding(about, "fail", "not honoured: no exactly once here", hint, Invalid.exit_code)
