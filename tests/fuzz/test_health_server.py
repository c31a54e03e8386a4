"""The health server under any bytes and any patience: it answers or hangs up, and the next probe is answered always."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.config.sections import HttpSection
from streamer.health import CONNECTIONS_MAX, REQUEST_BYTES_MAX, HealthServer
from streamer.metrics import Metrics
from tests.fuzz.mutations import torn
from tests.fuzz.profile import examples

PROBE = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
NO_HURRY_SECONDS = 30.0


def server(**limits: float) -> HealthServer:
    return HealthServer("127.0.0.1", 0, problems=lambda: ["Kafka is away"], metrics=Metrics(), **limits)  # type: ignore[arg-type]


@pytest.fixture
async def port() -> AsyncIterator[int]:
    running = server()
    yield await running.start()
    await running.stop()


async def said(port: int, request: bytes, *, half_close: bool = False) -> bytes:
    """Everything that comes back until the server hangs up."""
    async with asyncio.timeout(NO_HURRY_SECONDS):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        answer = b""
        try:
            writer.write(request)
            if half_close:
                writer.write_eof()
            answer = await reader.read()
        except ConnectionError:
            pass
        finally:
            await end(writer)
        return answer


async def end(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def pieces(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """What comes until the connection ends, one way or the other; the test gives up where it does not."""
    async with asyncio.timeout(NO_HURRY_SECONDS):
        with suppress(ConnectionError):
            while piece := await reader.read(1 << 16):
                yield piece


async def hung_up(reader: asyncio.StreamReader) -> bool:
    """Whether the connection ends without a byte of an answer."""
    return [piece async for piece in pieces(reader)] == []


async def assert_answers(port: int) -> None:
    assert (await said(port, PROBE)).startswith(b"HTTP/1.1 200 ")


REQUESTS = st.one_of(
    st.binary(max_size=300),
    torn(PROBE),
    torn(b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"),
    torn(b"POST /readyz HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
    st.builds(
        lambda method, target, version, header: b"%b %b HTTP/%b\r\n%b\r\n\r\n" % (method, target, version, header),
        st.sampled_from([b"GET", b"HEAD", b"PUT", b"OPTIONS", b"CONNECT", b"TRACE", b"PRI", b"get", b"\xff"]),
        st.one_of(
            st.sampled_from([b"/healthz", b"/metrics", b"*", b"//x/../readyz", b"http://h/readyz", b"/%2e%2e"]),
            st.binary(max_size=20),
        ),
        st.sampled_from([b"1.1", b"1.0", b"0.9", b"2.0", b"9.9", b"x"]),
        st.one_of(
            st.sampled_from([b"Upgrade: websocket\r\nConnection: upgrade", b"Expect: 100-continue", b"Content-Length: -1"]),
            st.binary(max_size=40),
        ),
    ),
)


@examples(80)
@given(REQUESTS)
def test_any_bytes_get_an_answer_or_a_hang_up_and_the_next_probe_is_answered(request_: bytes) -> None:
    async def ask() -> None:
        running = server()
        port = await running.start()
        answer = await said(port, request_, half_close=True)
        assert answer == b"" or answer.startswith(b"HTTP/1.")
        assert b"Traceback" not in answer
        await assert_answers(port)
        await running.stop()

    asyncio.run(ask())


@pytest.mark.parametrize(
    "flood",
    [
        b"GET /healthz HTTP/1.1\r\n" + b"X: " + b"y" * (1 << 20),
        b"GET /" + b"a" * (1 << 20),
        b"GET /healthz HTTP/1.1\r\n" + b"".join(b"X%d: y\r\n" % n for n in range(100_000)),
        b"POST /healthz HTTP/1.1\r\nContent-Length: 1000000000\r\n\r\n" + b"x" * (1 << 20),
        b"POST /healthz HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"1000\r\n"
        + b"x" * 0x1000
        + b"\r\n"
        + b"z" * (1 << 20),
        PROBE * 50_000,
    ],
    ids=["a long header", "a long path", "many headers", "a long body", "a chunked body", "many requests"],
)
async def test_a_request_that_is_too_long_is_cut_off(port: int, flood: bytes) -> None:
    assert len(flood) > REQUEST_BYTES_MAX

    answer = await said(port, flood)

    assert answer.count(b"HTTP/1.1 200 ") <= 1
    await assert_answers(port)


async def test_one_connection_has_one_answer(port: int) -> None:
    answer = await said(port, PROBE * 3)

    assert answer.count(b"HTTP/1.1 200 ") == 1
    assert b"Connection: close" in answer
    assert b"aiohttp" not in answer


@pytest.mark.parametrize("start", [b"", b"GET /he", b"GET /healthz HTTP/1.1\r\nHost: x\r\n"])
async def test_who_does_not_end_a_request_is_hung_up_on(start: bytes) -> None:
    running = server(connection_seconds=0.05)
    port = await running.start()

    assert await said(port, start) == b""

    await running.stop()


async def test_who_sends_a_byte_now_and_then_gains_no_time_by_it() -> None:
    running = server(connection_seconds=0.2)
    port = await running.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def drip() -> None:
        while True:
            writer.write(b"X: y\r\n")
            await asyncio.sleep(0.01)

    writer.write(b"GET /healthz HTTP/1.1\r\n")
    dripping = asyncio.create_task(drip())
    assert await hung_up(reader)
    dripping.cancel()
    await end(writer)
    await running.stop()


async def test_who_does_not_read_the_answer_is_hung_up_on() -> None:
    metrics = Metrics()
    running = HealthServer("127.0.0.1", 0, problems=lambda: ["x" * 20_000_000], metrics=metrics, connection_seconds=0.3)
    port = await running.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
    writer.write(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
    await asyncio.sleep(1.0)

    got = b"".join([piece async for piece in pieces(reader)])
    assert len(got) < 20_000_000
    await end(writer)
    await running.stop()


async def test_when_too_many_are_connected_the_oldest_goes_and_a_probe_is_answered() -> None:
    running = server(connections_max=5)
    port = await running.start()
    idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(12)]

    await assert_answers(port)

    assert all([await hung_up(reader) for reader, _ in idle[:7]])
    for _, writer in idle:
        await end(writer)
    await running.stop()
    assert CONNECTIONS_MAX < 256


async def test_bad_requests_leave_no_line_in_the_log(port: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for request in (
        b"\x00\xff\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"BREW /coffee HTTP/1.1\r\n\r\n",
        b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n",
    ):
        await said(port, request)

    assert caplog.records == []


async def test_a_stop_does_not_wait_for_those_who_hold_on(port: int) -> None:
    running = server()
    held = await running.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", held)
    writer.write(b"GET /he")

    async with asyncio.timeout(5):
        await running.stop()

    assert await hung_up(reader)
    await end(writer)
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.1", held)


async def test_it_listens_on_loopback_unless_told() -> None:
    section = HttpSection()
    running = HealthServer(section.host, 0, problems=list, metrics=Metrics())
    await running.start()

    assert running._server is not None
    assert {each.getsockname()[0] for each in running._server.sockets} == {"127.0.0.1"}

    await running.stop()
