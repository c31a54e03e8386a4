"""The line between the replicas and S3, and what can go wrong on it: Toxiproxy, or a small proxy of our own."""

from __future__ import annotations

import contextlib
import json
import urllib.error
import urllib.request
import uuid
from typing import ClassVar, Literal, Protocol

from tests.live.tcp_proxy import TcpProxy

State = Literal["pass", "cut", "slow", "reset", "hang", "hang_answers"]
"""pass; no connections; slow; every connection reset after a moment; nothing gets through; requests get through, no answers."""


class Line(Protocol):
    """One line. `address` is where clients connect to."""

    name: str
    address: str

    def set(self, state: State) -> None: ...
    def close(self) -> None: ...


class ToxicLine:
    """A line through Toxiproxy."""

    name = "Toxiproxy"

    _TOXICS: ClassVar[dict[str, list[dict[str, object]]]] = {
        "slow": [
            {"type": "latency", "stream": "downstream", "attributes": {"latency": 400, "jitter": 200}},
            {"type": "bandwidth", "stream": "upstream", "attributes": {"rate": 48}},
        ],
        "reset": [{"type": "reset_peer", "stream": "downstream", "attributes": {"timeout": 30}}],
        "hang": [{"type": "timeout", "stream": "upstream", "attributes": {"timeout": 0}}],
        "hang_answers": [{"type": "timeout", "stream": "downstream", "attributes": {"timeout": 0}}],
    }

    def __init__(self, api: str, upstream: str) -> None:
        self._api = api.rstrip("/")
        self._proxy = f"chaos-{uuid.uuid4().hex[:8]}"
        made = self._ask("POST", "/proxies", {"name": self._proxy, "listen": "127.0.0.1:0", "upstream": upstream})
        self.address = str(made["listen"])

    def set(self, state: State) -> None:
        path = f"/proxies/{self._proxy}"
        self._ask("POST", path, {"enabled": state != "cut"})
        for toxic in self._ask("GET", path)["toxics"]:
            self._ask("DELETE", f"{path}/toxics/{toxic['name']}")
        for toxic in self._TOXICS.get(state, []):
            self._ask("POST", f"{path}/toxics", toxic)

    def close(self) -> None:
        with contextlib.suppress(urllib.error.HTTPError):
            self._ask("DELETE", f"/proxies/{self._proxy}")

    def _ask(self, method: str, path: str, body: object = None) -> dict[str, list[dict[str, object]]]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._api + path, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            text = answer.read()
        return json.loads(text) if text else {}


class OwnLine:
    """A line through the tests' own proxy, where there is no Toxiproxy."""

    name = "tests/live/tcp_proxy.py"

    def __init__(self, upstream: str) -> None:
        host, _, port = upstream.rpartition(":")
        self._proxy = TcpProxy(host, int(port))
        self.address = self._proxy.address

    def set(self, state: State) -> None:
        self._proxy.set(state)

    def close(self) -> None:
        self._proxy.close()


def draw_line(toxiproxy: str | None, upstream: str) -> Line:
    return ToxicLine(toxiproxy, upstream) if toxiproxy else OwnLine(upstream)
