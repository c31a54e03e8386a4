"""Temporary credentials in front of a real S3: a session token is good until the next one is issued.

The S3 server that the tests run on knows one key that never expires, and no tokens. The gate stands before it and does what STS
and S3 do together: it refuses requests whose token has run out, with S3's own answer, and passes all others on, signed with the
server's own key. The replicas read keys and token from a profile, as a credential helper would write it.
"""

from __future__ import annotations

import asyncio
import threading
import uuid
from pathlib import Path
from typing import Literal

import aiohttp
from aiohttp import web
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from yarl import URL

from tests.live.conftest import S3Server

Refusal = Literal["ExpiredToken", "InvalidAccessKeyId"]

_STATUS: dict[Refusal, int] = {"ExpiredToken": 400, "InvalidAccessKeyId": 403}
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "expect"}
_SIGNED_ANEW = {"host", "authorization", "x-amz-security-token", "x-amz-date", "x-amz-content-sha256"}


class TokenGate:
    """A reverse proxy on 127.0.0.1, in a thread of its own. `address` is where it listens."""

    def __init__(self, server: S3Server, profile: Path) -> None:
        self._server = server
        self._profile = profile
        self._token = ""
        self._refusal: Refusal = "ExpiredToken"
        self.refused = 0
        self.address = ""
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="gate")
        self._thread.start()
        assert self._listening.wait(10)
        self.renew()

    def expire(self, refusal: Refusal) -> None:
        """The tokens handed out so far are good no more, and nobody has a newer one yet."""
        self._refusal = refusal
        self._token = uuid.uuid4().hex

    def renew(self) -> None:
        """Hand out a new token: from now on it is in the profile."""
        self._token = self._token or uuid.uuid4().hex
        text = (
            f"[default]\naws_access_key_id = TEMPORARY{self._token[:8]}\n"
            f"aws_secret_access_key = {self._token[8:]}\naws_session_token = {self._token}\n"
        )
        staged = self._profile.with_suffix(".new")
        staged.write_text(text)
        staged.replace(self._profile)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    async def _serve(self) -> None:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self._pass_on)
        timeout = aiohttp.ClientTimeout(total=None)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(auto_decompress=False, timeout=timeout, connector=connector) as self._session:
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.address = f"127.0.0.1:{runner.addresses[0][1]}"
            self._listening.set()
            await self._stop.wait()
            await runner.cleanup()

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if request.headers.get("x-amz-security-token") != self._token:
            self.refused += 1
            code = self._refusal
            text = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>refused</Message></Error>'
            text = "" if request.method == "HEAD" else text
            return web.Response(status=_STATUS[code], text=text, content_type="application/xml")
        ours = {n: v for n, v in request.headers.items() if n.lower() not in _HOP_BY_HOP | _SIGNED_ANEW}
        url = self._server.endpoint + request.raw_path
        signed = AWSRequest(request.method, url, ours, body)
        S3SigV4Auth(Credentials(self._server.access_key, self._server.secret_key), "s3", "us-east-1").add_auth(signed)
        try:
            async with self._session.request(
                request.method,
                URL(url, encoded=True),
                headers=list(signed.headers.items()),
                data=body or None,
                allow_redirects=False,
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            ) as answer:
                content = await answer.read()
                back = [(name, value) for name, value in answer.headers.items() if name.lower() not in _HOP_BY_HOP]
                if request.method != "HEAD":
                    back = [(name, value) for name, value in back if name.lower() != "content-length"]
                return web.Response(status=answer.status, headers=back, body=None if request.method == "HEAD" else content)
        except aiohttp.ClientError as error:
            return web.Response(status=502, text=str(error))
