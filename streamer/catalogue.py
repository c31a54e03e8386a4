"""The page about metrics and log events, made from their catalogues: `python -m streamer.catalogue > docs/metrics.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from streamer.log_events import LogEvent
from streamer.metrics import Metrics

_HEAD = """# Metrics and log events

Made by `make docs` from `streamer/metrics.py` and `streamer/log_events.py`.

## Metrics

`GET /metrics` on `http.host`:`http.port` (127.0.0.1:9464), Prometheus text format. Counters end in `_total`.
With them come the usual `process_*`: CPU seconds, resident memory, open file descriptors, start time.

| metric | kind | labels | meaning |
|---|---|---|---|
"""

_EVENTS = """
## Log events

One JSON object a line on stderr (readable text on a terminal); `event` is one of these. Fields name topic, partition,
range or key; `hint` says what to do next. Lines of the Kafka and S3 clients carry `logger`.

| event | meaning |
|---|---|
"""


def page() -> str:
    """The whole page, Markdown."""
    return _HEAD + "".join(_metric_rows()) + _EVENTS + "".join(f"| `{event}` | {event.meaning} |\n" for event in LogEvent)


def _metric_rows() -> Iterator[str]:
    for metric in vars(Metrics()).values():
        if (described := getattr(metric, "describe", None)) is None:
            continue
        for family in described():
            name = f"{family.name}_total" if family.type == "counter" else family.name
            labels = ", ".join(f"`{label}`" for label in metric._labelnames)
            yield f"| `{name}` | {family.type} | {labels} | {family.documentation} |\n"


if __name__ == "__main__":
    sys.stdout.write(page())
