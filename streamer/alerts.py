"""Alerts: what somebody should look at, as one small JSON document each, on their way to wherever operations look.

Beside the log and the metrics, never instead of them. Handing an alert over costs nothing and never fails: what cannot be sent
waits in a bounded queue, and what does not fit is dropped and counted.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson
import structlog

from streamer.clock import Clock, backoff_seconds
from streamer.errors import StreamerError
from streamer.log_events import LogEvent
from streamer.metrics import Metrics

log = structlog.get_logger()

VERSION = 1
QUEUE_MAX = 1000
SENT_AT_ONCE = 100
RETRY_SECONDS_MAX = 60.0
GOODBYE_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Alert:
    """`event` is that of the log line that says the same; `about` tells what it is about apart, such as a partition and a rule:
    the key of its message. `fields` are those of the log line."""

    event: str
    about: str
    fields: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self, *, time: str, host: str) -> bytes:
        """The document. `time` is when it was handed over."""
        return orjson.dumps({"version": VERSION, "event": self.event, "time": time, "host": host, **self.fields}, default=str)


class Alerts(Protocol):
    """Takes alerts. Never blocks, never raises."""

    def send(self, alert: Alert) -> None: ...


class NoAlerts:
    """Where no topic is configured."""

    def send(self, alert: Alert) -> None:
        """Nothing to do: the log has it."""


class Sender(Protocol):
    """A connection that alerts go out by."""

    async def send(self, messages: Sequence[tuple[bytes, bytes]]) -> None:
        """Send keys and values, all of them. Raises `StreamerError`; some may then have been sent."""
        ...


class AlertQueue:
    """Alerts between those who hand them over and a connection that may be away. `run` sends them; `close` ends it.

    connect: opens a connection. It is kept while it works, and opened anew after a failure.
    """

    def __init__(
        self,
        connect: Callable[[], AbstractAsyncContextManager[Sender]],
        *,
        clock: Clock,
        metrics: Metrics,
        host: str,
        most: int = QUEUE_MAX,
    ) -> None:
        self._connect = connect
        self._clock = clock
        self._metrics = metrics
        self._host = host
        self._most = most
        self._waiting: deque[tuple[bytes, bytes]] = deque()
        self._changed = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._problem: str | None = None

    def send(self, alert: Alert) -> None:
        """See `Alerts.send`. The newest is dropped where the queue is full: those before it say since when."""
        if len(self._waiting) >= self._most:
            self._metrics.alerts.labels("dropped").inc()
            return
        body = alert.to_json(time=self._clock.now().isoformat(timespec="milliseconds"), host=self._host)
        self._waiting.append((alert.about.encode(), body))
        self._empty.clear()
        self._changed.set()

    async def run(self) -> None:
        """Send, for ever. Raises only for a bug."""
        attempt = 0
        while True:
            await self._some()
            try:
                async with self._connect() as sender:
                    while True:
                        await self._flush(sender)
                        attempt = 0
                        await self._some()
            except StreamerError as error:
                self._failed(error)
                await self._clock.sleep(self._clock.jitter(backoff_seconds(attempt, first=1.0, most=RETRY_SECONDS_MAX)))
                attempt += 1

    async def close(self, task: asyncio.Task[None]) -> None:
        """Wait a little for what is under way, then end `task`, which is running `run`; what is left is dropped and counted."""
        try:
            async with asyncio.timeout(GOODBYE_SECONDS):
                await self._empty.wait()
        except TimeoutError:
            self._metrics.alerts.labels("dropped").inc(len(self._waiting))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def _some(self) -> None:
        while not self._waiting:
            self._changed.clear()
            await self._changed.wait()

    async def _flush(self, sender: Sender) -> None:
        while self._waiting:
            messages = [self._waiting[at] for at in range(min(SENT_AT_ONCE, len(self._waiting)))]
            await sender.send(messages)
            for _ in messages:
                self._waiting.popleft()
            self._metrics.alerts.labels("sent").inc(len(messages))
            if self._problem is not None:
                log.info(LogEvent.ALERTS_SENT_AGAIN, after=self._problem)
                self._problem = None
        self._empty.set()

    def _failed(self, error: StreamerError) -> None:
        if error.message != self._problem:  # said once, not once a try
            self._problem = error.message
            log.warning(
                LogEvent.ALERTS_WAIT, problem=error.message, hint=error.hint, waiting=len(self._waiting), **error.context
            )
