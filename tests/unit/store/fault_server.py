"""A server on 127.0.0.1 that answers each request as the test says: the network's ways to fail, without sleeping."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from streamer.store.s3 import S3Settings

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Heard:
    """A request as it arrived; `body` is None where the server did not read it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes | None


@dataclass(frozen=True)
class Answer:
    """An answer of S3. `code` makes an error document of it."""

    status: int = 200
    code: str = ""
    message: str = "x"
    headers: str = 'ETag: "abc"\r\n'
    body: bytes = b""
    keep_alive: bool = False

    def encode(self, method: str) -> bytes:
        body = self.body
        if self.code and method != "HEAD":
            body = f'<?xml version="1.0"?><Error><Code>{self.code}</Code><Message>{self.message}</Message></Error>'.encode()
        kept = "" if self.keep_alive else "Connection: close\r\n"
        sizes = f"Content-Type: application/xml\r\nContent-Length: {len(body)}\r\n"
        return f"HTTP/1.1 {self.status} X\r\n{sizes}{kept}{self.headers}\r\n".encode() + body


HANG = "hang"  # reads everything, never answers
STALL = "stall"  # reads the head only, never answers
RESET = "reset"  # reads everything, then resets the connection
GARBAGE = "garbage"  # reads everything, answers with what is no HTTP
CUT = "cut"  # promises a body and sends half of it

Reply = Answer | str


class FaultServer:
    """Gives out `replies` in order; the last one is repeated."""

    def __init__(self) -> None:
        self.replies: deque[Reply] = deque([Answer()])
        self.heard: list[Heard] = []
        self.over = asyncio.Event()
        self.endpoint = ""

    def reply(self, *replies: Reply) -> None:
        self.replies = deque(replies)

    def settings(self, **more: object) -> S3Settings:
        """How to reach it, with deadlines that a test can wait for."""
        said = {
            "region": "us-east-1", "endpoint_url": self.endpoint, "access_key_id": "key", "secret_access_key": "hush-hush",
            "request_seconds": 20.0,
        }  # fmt: skip
        return S3Settings(**(said | more))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._answer_one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            # The client has gone, which is what many of the tests are about.
            return
        finally:
            writer.transport.abort()

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode().rstrip("\r\n").split("\r\n")
        method, path, _ = first.split(" ")
        reply = self.replies.popleft() if len(self.replies) > 1 else self.replies[0]
        length = _LENGTH.search(head)
        body = None if reply == STALL else await reader.readexactly(int(length[1]) if length else 0)
        headers = dict(line.lower().split(": ", 1) if ": " in line else (line.lower().rstrip(":"), "") for line in lines)
        self.heard.append(Heard(method, path, headers, body))
        match reply:
            case Answer():
                writer.write(reply.encode(method))
                await writer.drain()
                return reply.keep_alive
            case "garbage":
                writer.write(b"\x00\x01 not HTTP at all\r\n\r\n")
                await writer.drain()
            case "cut":
                writer.write(b'HTTP/1.1 200 OK\r\nETag: "abc"\r\nLast-Modified: Sat, 03 Jan 2026 12:00:00 GMT\r\n')
                writer.write(b"Content-Length: 100\r\n\r\nhalf of it")
                await writer.drain()
            case "hang" | "stall":
                await self.over.wait()
        return False


@asynccontextmanager
async def fault_server() -> AsyncIterator[FaultServer]:
    faults = FaultServer()
    server = await asyncio.start_server(faults.serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    faults.endpoint = f"http://{host}:{port}"
    try:
        yield faults
    finally:
        faults.over.set()
        server.close()
        await server.wait_closed()
