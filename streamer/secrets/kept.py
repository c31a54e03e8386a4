"""A secret in use: read once, read again before it expires and when a service refused it, and kept while it cannot be read.

One reader at a time, however many calls wait. A service may refuse for other reasons than the secret, so a refusal makes us
look, not stop: where nothing new is there the old value goes on, and is looked at less and less often.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import structlog

from streamer.clock import Clock, backoff_seconds
from streamer.errors import StreamerError
from streamer.log_events import LogEvent
from streamer.logs import hide
from streamer.secrets.contract import AwsKeys, KafkaLogin

log = structlog.get_logger()

Value = TypeVar("Value", AwsKeys, KafkaLogin)

EXPIRY_MARGIN_SECONDS = 300.0
"""Temporary keys are replaced so long before they end; where they live shorter, at half of their life."""
LOOK_AGAIN_SECONDS = 1.0
LOOK_AGAIN_SECONDS_MAX = 60.0


class KeptSecret(Generic[Value]):
    """The value of one secret, as `KeySource` and `LoginSource` want it.

    name: for people. read: fetches and parses it. refresh_seconds: it is read again so long after it was read.
    """

    def __init__(self, name: str, read: Callable[[], Awaitable[Value]], clock: Clock, *, refresh_seconds: float) -> None:
        self._name = name
        self._read: Callable[[], Awaitable[Value]] = read
        self._clock = clock
        self._refresh_seconds = refresh_seconds
        self._value: Value | None = None
        self._reading = asyncio.Lock()
        self._due_at = 0.0  # monotonic
        self._tried_at = 0.0
        self._fruitless = 0  # looks in a row that brought nothing new
        self._refused = False

    @property
    def known(self) -> Value | None:
        """What was read last; None before the first time."""
        return self._value

    async def current(self) -> Value:
        """As the contracts have it: at once, unless a look is due. Raises only while there is no value yet."""
        if self._value is not None and not self._look_is_due():
            return self._value
        async with self._reading:
            if self._value is None or self._look_is_due():
                await self._look()
            assert self._value is not None
            return self._value

    def refused(self, value: Value) -> None:
        """A service did not take it. Where another is known by now, that is no news."""
        if value == self._value:
            self._refused = True

    def _look_is_due(self) -> bool:
        now = self._clock.monotonic()
        wait = backoff_seconds(self._fruitless, first=LOOK_AGAIN_SECONDS, most=LOOK_AGAIN_SECONDS_MAX)
        return (self._refused or now >= self._due_at) and now >= self._tried_at + (wait if self._fruitless else 0.0)

    async def _look(self) -> None:
        self._tried_at = self._clock.monotonic()
        try:
            found = await self._read()
        except StreamerError as error:
            self._fruitless += 1
            if self._value is None:
                raise
            log.warning(LogEvent.SECRET_UNREADABLE, secret=self._name, problem=error.message, hint=error.hint)
            return
        for text in _texts(found):
            hide(text)
        changed = found != self._value
        if changed and self._value is not None:
            log.info(LogEvent.SECRET_CHANGED, secret=self._name)
        self._fruitless = 0 if changed else self._fruitless + self._refused
        self._refused = self._refused and not changed
        self._value = found
        self._due_at = self._tried_at + self._lasts_seconds(found)

    def _lasts_seconds(self, value: Value) -> float:
        if value.expires is None:
            return self._refresh_seconds
        left = (value.expires - self._clock.now()).total_seconds()
        # Expired already: whoever writes the secret is late. Look again soon, and often enough.
        return min(self._refresh_seconds, max(left - EXPIRY_MARGIN_SECONDS, left / 2, LOOK_AGAIN_SECONDS))


def _texts(value: AwsKeys | KafkaLogin) -> list[str]:
    if isinstance(value, KafkaLogin):
        return [value.password]
    return [text for text in (value.secret_access_key, value.session_token) if text]
