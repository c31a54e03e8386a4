"""How log lines are written: JSON, one object a line, or readable text on a terminal; always to one stream.

streamer's own events take structlog's short way; the Kafka and S3 clients log through the standard library and are brought
into the same form, never below WARNING (aiokafka at DEBUG prints whole responses). Values of secrets are taken out of every
line. A line that cannot be written is counted, and never stops the archive.
"""

from __future__ import annotations

import io
import json
import logging
import sys
import threading
from base64 import b64encode
from collections.abc import Collection, Mapping, MutableMapping
from typing import IO, Any, Literal, cast
from urllib.parse import quote

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

REDACTED = "********"
SECRET_LENGTH_MIN = 4
"""Shorter secrets are only taken out where they are a whole value: as parts they are in half of all words."""

REPEAT_SECONDS = 10.0
"""A broker that is down makes aiokafka log 10 to 30 equal lines a second; one of them in this time is enough."""

CLIENTS = ("aiokafka", "aiobotocore", "botocore", "aiohttp", "asyncio", "urllib3", "py.warnings")
_REPEATS_KEPT = 1000

SECRET_VARIABLES = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "STREAMER_MODEL_KEY")


def configure(
    level: str = "info",
    format: Literal["auto", "json", "console"] = "auto",  # noqa: A002 -- it is called so in the configuration
    stream: IO[str] | None = None,
    *,
    secrets: Collection[str] = (),
) -> None:
    """Send all log lines of this process to `stream` (default: standard error).

    level: `debug`, `info`, `warning` or `error`. format: `auto` is `console` where `stream` is a terminal, else `json`.
    secrets: texts that no line may contain. May be called again; the last call counts.
    """
    global _redaction
    _redaction = Redaction(secrets)
    stream = cast("IO[str]", _StandardError()) if stream is None else stream
    terminal = stream.isatty()
    readable = format == "console" or (format == "auto" and terminal)
    number = logging.getLevelNamesMapping()[level.upper()]
    renderer: Processor = (
        # Rich tracebacks would show local variables, and with them credentials.
        structlog.dev.ConsoleRenderer(colors=terminal, exception_formatter=structlog.dev.plain_traceback)
        if readable
        else structlog.processors.JSONRenderer(serializer=_json_text)
    )
    stamp = structlog.processors.TimeStamper(fmt="%H:%M:%S.%f" if readable else "iso", utc=True)
    finish: list[Processor] = [structlog.processors.format_exc_info, _redaction, _in_reading_order, renderer]
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, structlog.processors.add_log_level, stamp, *finish],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=_Lines(stream),
        # One event a batch does not need the cache, and a cached logger would not hear of a second call.
        cache_logger_on_first_use=False,
    )
    _configure_clients(stream, max(number, logging.WARNING), stamp, finish)


def _configure_clients(stream: IO[str], level: int, stamp: Processor, finish: list[Processor]) -> None:
    handler = _ClientHandler(stream)
    handler.addFilter(Repeats())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.stdlib.ExtraAdder(allow=["repeats"]),
                stamp,
            ],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *finish],
        )
    )
    root = logging.getLogger()
    for old in [h for h in root.handlers if isinstance(h, _ClientHandler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    for name in CLIENTS:
        logging.getLogger(name).setLevel(level)
    logging.captureWarnings(True)


def redacted(text: str) -> str:
    """`text` without the secrets that no line may contain: for what is printed beside the log."""
    return _redaction.text(text)


def secret_variables(environment: Mapping[str, str]) -> tuple[str, ...]:
    """What stands in the variables that hold secrets, whether the configuration took them from there or not."""
    return tuple(value for name in SECRET_VARIABLES if (value := environment.get(name)))


_learned: set[str] = set()


def hide(secret: str) -> None:
    """No line of this process may contain `secret` from now on: one that was learned while running."""
    if secret:
        _learned.add(secret)


class Redaction:
    """A processor that replaces secrets wherever they are in an event: in values, nested ones, names, tracebacks."""

    def __init__(self, secrets: Collection[str]) -> None:
        self._given = frozenset(secret for secret in secrets if secret)
        self._prepare()

    def _prepare(self) -> None:
        self._learned = len(_learned)
        self._whole = frozenset(form for secret in self._given | _learned for form in _forms(secret))
        # The longest first: one secret may be a part of another.
        self._parts = tuple(sorted((s for s in self._whole if len(s) >= SECRET_LENGTH_MIN), key=len, reverse=True))

    def __call__(self, _: WrappedLogger, __: str, event: EventDict) -> Mapping[str, Any]:
        if len(_learned) != self._learned:
            self._prepare()
        return self._mapping(event) if self._whole else event

    def text(self, text: str) -> str:
        """`text` without them."""
        if len(_learned) != self._learned:
            self._prepare()
        return self._text(text)

    def _mapping(self, values: Mapping[Any, Any]) -> MutableMapping[str, Any]:
        return {self._text(str(name)): self._value(value) for name, value in values.items()}

    def _value(self, value: Any) -> Any:
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, Mapping):
            return self._mapping(value)
        if isinstance(value, list | tuple | set | frozenset):
            return [self._value(each) for each in value]
        return self._text(str(value))

    def _text(self, text: str) -> str:
        if text in self._whole:
            return REDACTED
        for secret in self._parts:
            text = text.replace(secret, REDACTED)
        return text


def _forms(secret: str) -> set[str]:
    """How a secret looks as it is, in a repr, in JSON, in a URL, and in the base64 of a header."""
    raw = secret.encode("utf-8", "surrogateescape")
    forms = {secret, repr(secret)[1:-1], ascii(secret)[1:-1], repr(raw)[2:-1], json.dumps(secret)[1:-1]}
    return forms | {quote(raw), quote(raw, safe=""), b64encode(raw).decode()}


class _StandardError(io.TextIOBase):
    """Standard error as it is when a line is written: whoever redirects it later has the lines."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()

    def isatty(self) -> bool:
        return sys.stderr.isatty()


_redaction = Redaction(())


class Repeats(logging.Filter):
    """Lets one of many equal lines of a client through every `REPEAT_SECONDS`, and tells how many it held back."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[tuple[str, int, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether `record` is to be written."""
        key = (record.name, record.levelno, str(record.msg))
        since, held_back = self._seen.get(key, (-REPEAT_SECONDS, 0))
        if 0 <= record.created - since < REPEAT_SECONDS:
            self._seen[key] = (since, held_back + 1)
            return False
        if len(self._seen) >= _REPEATS_KEPT:
            self._seen.clear()
        self._seen[key] = (record.created, 0)
        if held_back:
            record.repeats = held_back
        return True


class _ClientHandler(logging.StreamHandler[IO[str]]):
    """Its own class, so that a second `configure` finds the handler of the first."""


class _Lines:
    """structlog's logger factory and logger at once: whole lines to one stream, from any thread."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self.lost = 0

    def __call__(self, *_: object) -> _Lines:
        return self

    def msg(self, line: str) -> None:
        """Write `line`. A full disk, or a reader that has gone, costs the line and not the process."""
        with self._lock:
            try:
                self._stream.write(line + "\n")
                self._stream.flush()
            except (OSError, ValueError):
                self.lost += 1

    debug = info = warning = warn = error = err = critical = fatal = exception = failure = log = msg


def _in_reading_order(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    first = [name for name in ("timestamp", "level", "event") if name in event]
    return {name: event[name] for name in (*first, *event)}


def _json_text(event: Any, **_: Any) -> str:
    try:
        return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:
        # Integers beyond 64 bits, lone surrogates: rare, and no reason to lose the line.
        return json.dumps(event, default=str)
