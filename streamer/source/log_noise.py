"""aiokafka's own log lines, thinned: a broker that is down would write thirty errors a second.

Every sentence passes once in thirty seconds, with the number of its like that were held back.
"""

from __future__ import annotations

import logging

from streamer.clock import Clock

QUIET_SECONDS = 30.0
KEPT_TEMPLATES = 500


class RepeatFilter(logging.Filter):
    """Lets one record per logger and message template pass in `QUIET_SECONDS`."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._passed_at: dict[tuple[str, str], float] = {}
        self._held_back: dict[tuple[str, str], int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        # Its debug lines hold whole requests, the one with the password among them.
        if record.levelno < logging.INFO:
            return False
        template, now = (record.name, str(record.msg)[:200]), self._clock.monotonic()
        if now - self._passed_at.get(template, -QUIET_SECONDS) < QUIET_SECONDS:
            self._held_back[template] = self._held_back.get(template, 0) + 1
            return False
        if len(self._passed_at) >= KEPT_TEMPLATES:
            self._passed_at.clear()
            self._held_back.clear()
        self._passed_at[template] = now
        count = self._held_back.pop(template, 0)
        if count:
            record.msg = f"{record.getMessage()} ({count} more like this were held back)"
            record.args = ()
        return True


def thin_out_logs(clock: Clock) -> None:
    """Put one filter on every logger of aiokafka. Once per process; a second call does nothing."""
    names = [name for name in logging.root.manager.loggerDict if name == "aiokafka" or name.startswith("aiokafka.")]
    wanting = [
        logger for logger in map(logging.getLogger, names) if not any(isinstance(f, RepeatFilter) for f in logger.filters)
    ]
    if not wanting:
        return
    thin = RepeatFilter(clock)
    for logger in wanting:
        logger.addFilter(thin)
    root = logging.getLogger("aiokafka")
    if root.getEffectiveLevel() < logging.INFO:
        root.setLevel(logging.INFO)
