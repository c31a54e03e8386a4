"""What operations ask over HTTP: is it alive, is it ready and if not why, and its metrics. Read-only, no credentials.

Whoever reaches the port may ask, so nobody may hold it up: one request a connection, of limited size, in limited time, and
when there are too many connections the oldest goes, so that a probe is always answered.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import orjson
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from streamer.errors import Invalid
from streamer.metrics import Metrics

REQUEST_BYTES_MAX = 16 << 10
"""Of everything that one connection sends."""

CONNECTION_SECONDS = 10.0
"""From its first packet to the last of the answer."""

CONNECTIONS_MAX = 64

_LINE_BYTES = 4 << 10
_HEADERS_MAX = 64
_TEXT_FORMAT = "text/plain; version=0.0.4; charset=utf-8"


class HealthServer:
    """`/healthz`, `/readyz` and `/metrics` on one small server.

    `/healthz` answers 200 while the process runs its event loop. `/readyz` answers 200 when `problems()` is empty, else 503
    with the reasons. Restart on the first, route and alert on the second: a store that is away is no reason to restart.
    connection_seconds, connections_max: the limits above, for tests.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        problems: Callable[[], list[str]],
        metrics: Metrics,
        connection_seconds: float = CONNECTION_SECONDS,
        connections_max: int = CONNECTIONS_MAX,
    ) -> None:
        self._host, self._port = host, port
        self._problems = problems
        self._metrics = metrics
        app = web.Application(client_max_size=1024)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._exposition)
        app.on_response_prepare.append(_one_request_a_connection)
        self._runner = web.AppRunner(
            app,
            access_log=None,
            logger=_quiet_logger(),
            lingering_time=0,
            max_line_size=_LINE_BYTES,
            max_field_size=_LINE_BYTES,
            max_headers=_HEADERS_MAX,
        )
        self._guard = _Guard(self._runner, connection_seconds, connections_max)
        self._server: asyncio.Server | None = None

    async def start(self) -> int:
        """Listen, and return the port. Raises `Invalid` where the address is taken or not ours."""
        await self._runner.setup()
        try:
            self._server = await asyncio.get_running_loop().create_server(self._guard.admit, self._host, self._port)
        except OSError as error:
            await self._runner.cleanup()
            raise Invalid(
                f"cannot listen on {self._host}:{self._port}: {error.strerror or error}",
                hint="choose another with STREAMER__HTTP__PORT, or switch it off with STREAMER__HTTP__ENABLED=false",
            ) from error
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
        self._guard.end_all()
        await self._runner.cleanup()

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        problems = self._problems()
        body = orjson.dumps({"ready": not problems, "problems": problems}, option=orjson.OPT_APPEND_NEWLINE)
        return web.Response(body=body, status=503 if problems else 200, content_type="application/json")

    async def _exposition(self, _: web.Request) -> web.Response:
        self._metrics.tasks.set(len(asyncio.all_tasks()))
        return web.Response(body=self._metrics.exposition(), headers={"Content-Type": _TEXT_FORMAT})


async def _one_request_a_connection(_: web.Request, response: web.StreamResponse) -> None:
    response.force_close()
    response.headers["Connection"] = "close"
    response.headers["Server"] = "streamer"


def _quiet_logger() -> logging.Logger:
    """aiohttp's own writes an error and a traceback for every request that is none: any port scanner could fill the disk."""
    logger = logging.getLogger("streamer.health")
    logger.addFilter(_is_ours)
    return logger


def _is_ours(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


class _Guard:
    """Who is connected, and since when: aiohttp itself waits for ever for the rest of a request."""

    def __init__(self, runner: web.AppRunner, seconds: float, connections_max: int) -> None:
        self._runner = runner
        self._seconds = seconds
        self._connections_max = connections_max
        self._open: dict[_Connection, None] = {}  # in the order of their coming

    def admit(self) -> asyncio.BaseProtocol:
        """The protocol of a new connection."""
        assert self._runner.server is not None
        return _Connection(self, self._runner.server())

    def came(self, connection: _Connection) -> asyncio.TimerHandle:
        """Count `connection` in, and the oldest out where there are too many."""
        while len(self._open) >= self._connections_max:
            oldest = next(iter(self._open))
            self._open.pop(oldest)
            oldest.end()
        self._open[connection] = None
        return asyncio.get_running_loop().call_later(self._seconds, connection.end)

    def gone(self, connection: _Connection) -> None:
        self._open.pop(connection, None)

    def end_all(self) -> None:
        for connection in list(self._open):
            connection.end()


class _Connection(asyncio.Protocol):
    """One connection: aiohttp's protocol behind a limit of time and of bytes."""

    def __init__(self, guard: _Guard, inner: asyncio.Protocol) -> None:
        self._guard = guard
        self._inner = inner
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._received_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._deadline = self._guard.came(self)
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self._received_bytes += len(data)
        if self._received_bytes > REQUEST_BYTES_MAX:
            self.end()
        else:
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        self._guard.gone(self)
        if self._deadline is not None:
            self._deadline.cancel()
        self._inner.connection_lost(error)

    def end(self) -> None:
        """Hang up, whatever is under way."""
        if self._transport is not None:
            self._transport.abort()
