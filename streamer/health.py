"""What operations ask over HTTP: is it alive, is it ready and if not why, and its metrics. Read-only, no credentials."""

from __future__ import annotations

from collections.abc import Callable

import orjson
from aiohttp import web

from streamer.errors import Invalid
from streamer.metrics import Metrics

_TEXT_FORMAT = "text/plain; version=0.0.4; charset=utf-8"


class HealthServer:
    """`/healthz`, `/readyz` and `/metrics` on one small server.

    `/healthz` answers 200 while the process runs its event loop. `/readyz` answers 200 when `problems()` is empty, else 503
    with the reasons. Restart on the first, route and alert on the second: a store that is away is no reason to restart.
    """

    def __init__(self, host: str, port: int, *, problems: Callable[[], list[str]], metrics: Metrics) -> None:
        self._host, self._port = host, port
        self._problems = problems
        self._metrics = metrics
        app = web.Application(client_max_size=1024)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._exposition)
        self._runner = web.AppRunner(app, access_log=None, keepalive_timeout=15)

    async def start(self) -> int:
        """Listen, and return the port. Raises `Invalid` where the address is taken or not ours."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port)
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            raise Invalid(
                f"cannot listen on {self._host}:{self._port}: {error.strerror or error}",
                hint="choose another with STREAMER__HTTP__PORT, or switch it off with STREAMER__HTTP__ENABLED=false",
            ) from error
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        problems = self._problems()
        body = orjson.dumps({"ready": not problems, "problems": problems}, option=orjson.OPT_APPEND_NEWLINE)
        return web.Response(body=body, status=503 if problems else 200, content_type="application/json")

    async def _exposition(self, _: web.Request) -> web.Response:
        return web.Response(body=self._metrics.exposition(), headers={"Content-Type": _TEXT_FORMAT})
