"""What a log line looks like, and what is never in one."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from streamer import logs
from streamer.log_events import LogEvent


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    levels = {name: logging.getLogger(name).level for name in logs.CLIENTS}
    with warnings.catch_warnings():
        yield
        logging.captureWarnings(False)
    structlog.reset_defaults()
    for handler in [h for h in root.handlers if h not in handlers]:
        root.removeHandler(handler)
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def configured(level: str = "info", *, secrets: tuple[str, ...] = ()) -> io.StringIO:
    stream = io.StringIO()
    logs.configure(level, "json", stream, secrets=secrets)
    return stream


def test_an_event_is_one_json_object_on_one_line() -> None:
    stream = configured()
    structlog.get_logger().info(LogEvent.BATCH_COMMITTED, topic="ticks", rows=3, text="a\nb")

    (line,) = lines(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "batch_committed", "level": "info", "topic": "ticks", "rows": 3, "text": "a\nb"}


def test_what_is_below_the_level_is_not_written() -> None:
    stream = configured("warning")
    structlog.get_logger().info(LogEvent.STARTED)
    structlog.get_logger().warning(LogEvent.GAP)

    assert [line["event"] for line in lines(stream)] == ["gap"]


def test_the_clients_log_in_the_same_form_and_never_below_warning() -> None:
    stream = configured("debug")
    for name in ("aiokafka.consumer.fetcher", "aiobotocore.credentials", "botocore.hooks"):
        logging.getLogger(name).debug("noise")
        logging.getLogger(name).info("noise")
        logging.getLogger(name).warning("%s is down", name)

    found = [(line["logger"], line["level"], line["event"]) for line in lines(stream)]
    assert found[0] == ("aiokafka.consumer.fetcher", "warning", "aiokafka.consumer.fetcher is down")
    assert len(found) == 3


def test_at_level_error_the_clients_warn_no_more() -> None:
    stream = configured("error")
    logging.getLogger("aiokafka").warning("down")

    assert lines(stream) == []


def test_a_warning_of_python_is_a_log_line() -> None:
    stream = configured()
    warnings.simplefilter("always")
    warnings.warn("old", UserWarning, stacklevel=1)

    assert "UserWarning: old" in lines(stream)[0]["event"]


def test_one_of_many_equal_lines_is_enough_and_tells_of_the_others() -> None:
    filter_ = logs.Repeats()

    def record(created: float, message: str = "down") -> logging.LogRecord:
        made = logging.LogRecord("aiokafka", logging.ERROR, "", 0, message, None, None)
        made.created = created
        return made

    assert [filter_.filter(record(at)) for at in (0.0, 1.0, 9.9)] == [True, False, False]
    assert filter_.filter(record(5.0, "another"))
    later = record(10.0)
    assert filter_.filter(later)
    assert later.__dict__["repeats"] == 2
    assert filter_.filter(record(3.0))  # the clock was set back


def test_a_second_call_counts_alone() -> None:
    first, second = configured(), configured()
    structlog.get_logger().info(LogEvent.STARTED)
    logging.getLogger("aiokafka").warning("down")

    assert first.getvalue() == ""
    assert [line["event"] for line in lines(second)] == ["started", "down"]


def test_a_loggers_that_was_made_before_the_call_obeys_it() -> None:
    log = structlog.get_logger()
    stream = configured()
    log.info(LogEvent.STARTED)

    assert len(lines(stream)) == 1


def test_secrets_are_taken_out_of_values_names_tracebacks_and_the_clients_lines() -> None:
    stream = configured(secrets=("hunter2", "hunter2-token", "ab"))
    log = structlog.get_logger()
    log.info(
        LogEvent.STARTED, url="k:hunter2@host", nested={"hunter2": ["x", ("hunter2-token",)]}, short="ab", word="table", n=1
    )
    try:
        raise RuntimeError("password hunter2 is wrong")
    except RuntimeError:
        log.exception(LogEvent.TASK_DIED)
    logging.getLogger("aiokafka").error("sasl %s", "hunter2")

    assert "hunter2" not in stream.getvalue()
    first = lines(stream)[0]
    assert (first["url"], first["short"], first["word"], first["n"]) == ("k:********@host", "********", "table", 1)
    assert "RuntimeError: password ********" in lines(stream)[1]["exception"]


ANY_VALUE = st.recursive(
    st.text() | st.none() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5
)


@given(st.text(min_size=logs.SECRET_LENGTH_MIN, max_size=12), ANY_VALUE)
def test_no_shape_of_a_value_lets_a_secret_through(secret: str, value: Any) -> None:
    redacted = logs.Redaction((secret,))(None, "", {"value": value, "before": f"<{secret}>", "inside": [{"x": (secret,)}]})

    def texts(of: Any) -> Iterator[str]:
        if isinstance(of, dict):
            for name, inner in of.items():
                yield name
                yield from texts(inner)
        elif isinstance(of, list):
            for inner in of:
                yield from texts(inner)
        elif isinstance(of, str):
            yield of

    assert not [text for text in texts(redacted) if secret in text.replace(logs.REDACTED, "")]


@pytest.mark.parametrize("value", [2**80, "\ud800", float("nan"), object(), b"\xff", {1: 2}, LogEvent.GAP])
def test_no_value_costs_the_line(value: object) -> None:
    stream = configured()
    structlog.get_logger().info(LogEvent.STARTED, value=value)

    assert lines(stream)[0]["event"] == "started"


def test_a_stream_that_cannot_be_written_does_not_stop_the_process() -> None:
    class Full(io.StringIO):
        def write(self, _: str) -> int:
            raise OSError(28, "No space left on device")

    logs.configure("info", "json", Full())
    structlog.get_logger().info(LogEvent.STARTED)


def test_on_a_terminal_the_lines_are_for_people_and_show_no_local_variables() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    logs.configure("info", "auto", stream)

    def fails() -> None:
        local = "a-local-value"
        raise RuntimeError(str(len(local)))

    try:
        fails()
    except RuntimeError:
        structlog.get_logger().exception(LogEvent.TASK_DIED)

    assert "task_died" in stream.getvalue()
    assert "RuntimeError" in stream.getvalue()
    assert "a-local-value" not in stream.getvalue().replace('local = "a-local-value"', "")
