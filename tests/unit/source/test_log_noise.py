"""aiokafka's log lines: one of a kind in thirty seconds, none with a request in it."""

from __future__ import annotations

import logging

import pytest

from streamer.source.log_noise import RepeatFilter, thin_out_logs
from streamer.testing.manual_clock import ManualClock


def record(message: str, *arguments: object, level: int = logging.ERROR) -> logging.LogRecord:
    return logging.LogRecord("aiokafka.test", level, "file", 1, message, arguments, None)


async def test_one_line_of_a_template_passes_and_the_next_tells_how_many_were_held_back() -> None:
    clock = ManualClock()
    thin = RepeatFilter(clock)

    passed = [thin.filter(record("cannot connect to node %s", node)) for node in range(5)]
    other = thin.filter(record("another thing"))
    await clock.advance(31)
    late = record("cannot connect to node %s", 9)
    late_passed = thin.filter(late)

    assert passed == [True, False, False, False, False]
    assert other
    assert late_passed
    assert late.getMessage() == "cannot connect to node 9 (4 more like this were held back)"


def test_debug_lines_never_pass_because_they_hold_whole_requests() -> None:
    assert not RepeatFilter(ManualClock()).filter(record("Request %s", "SaslAuthenticate(secret)", level=logging.DEBUG))


def test_every_logger_of_aiokafka_gets_the_filter_once(caplog: pytest.LogCaptureFixture) -> None:
    name = "aiokafka.consumer.fetcher"
    thin_out_logs(ManualClock())
    thin_out_logs(ManualClock())
    filters = [found for found in logging.getLogger(name).filters if isinstance(found, RepeatFilter)]

    assert len(filters) == 1
