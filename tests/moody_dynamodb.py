"""A DynamoDB with moods, in front of moto: what it throttles, leaves unprocessed, or does not answer, as a test says."""

from __future__ import annotations

import asyncio
import io
import itertools
import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

from streamer.clock import Clock
from streamer.index.dynamodb import IndexTable
from streamer.index.settings import TableSettings
from streamer.testing.manual_clock import ManualClock

_numbers = itertools.count()

THROTTLE = "throttle"
HALF = "half"  # of a batch is left unprocessed
DENY = "deny"
BROKEN = "broken"  # the connection ends without an answer


class QuickClock(ManualClock):
    """Whoever sleeps wakes at once, that much later."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self._seconds += seconds
        await asyncio.sleep(0)


@dataclass
class MoodyDynamo:
    """moods: of the next requests, one each. down: nothing is answered. batches: the keys of each BatchWriteItem."""

    behind: str
    endpoint: str = ""
    down: bool = False
    moods: deque[str] = field(default_factory=deque)
    batches: list[list[tuple[str, str]]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    opened: list[IndexTable] = field(default_factory=list)

    def table(self, name: str | None = None, clock: Clock | None = None, endpoint: str | None = None) -> IndexTable:
        """A table that nobody else has, where it is not named; not made yet. Closed at the end of the block."""
        settings = TableSettings(name or f"table-{next(_numbers)}", "us-east-1", endpoint or self.endpoint)
        self.opened.append(IndexTable(settings, clock or QuickClock()))
        return self.opened[-1]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        operation = request.headers.get("X-Amz-Target", ".").rpartition(".")[2]
        body = json.loads(await request.read())
        mood = self.moods.popleft() if self.moods else ""
        self.asked.append(operation)
        if self.down or mood == BROKEN:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if mood == THROTTLE:
            return _refusal("com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException", "slow down")
        if mood == DENY:
            said = "User: arn:aws:iam::1:user/x is not authorized to perform: dynamodb:BatchWriteItem on resource: y"
            return _refusal("com.amazonaws.dynamodb.v20120810#AccessDeniedException", said)
        left: dict[str, object] = {}
        if operation == "BatchWriteItem":
            ((table, puts),) = body["RequestItems"].items()
            self.batches.append([_key(put) for put in puts])
            if mood == HALF:
                body["RequestItems"] = {table: puts[: len(puts) // 2]}
                left = {table: puts[len(puts) // 2 :]}
        headers = {k: v for k, v in request.headers.items() if k.lower() not in ("host", "content-length")}
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.post(self.behind, data=io.BytesIO(json.dumps(body).encode()), headers=headers) as answer,
        ):
            said = await answer.json(content_type=None)
            if left and answer.status == 200:
                said["UnprocessedItems"] = left
            return web.json_response(said, status=answer.status, content_type="application/x-amz-json-1.0")


@asynccontextmanager
async def moody_dynamodb(behind: str) -> AsyncIterator[MoodyDynamo]:
    """The server, while the block lasts. behind: where moto is."""
    moody = MoodyDynamo(behind)
    app = web.Application(client_max_size=32 << 20)
    app.router.add_post("/", moody.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    moody.endpoint = f"http://{host}:{port}"
    try:
        yield moody
    finally:
        for table in moody.opened:
            await table.close()
        await runner.cleanup()


def _refusal(kind: str, message: str) -> web.Response:
    return web.json_response({"__type": kind, "message": message}, status=400, content_type="application/x-amz-json-1.0")


def _key(put: dict[str, dict[str, dict[str, dict[str, str]]]]) -> tuple[str, str]:
    item = put["PutRequest"]["Item"]
    return item["timestamp"]["S"], item["ticker"]["S"]
