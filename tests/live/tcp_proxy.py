"""A TCP proxy on 127.0.0.1 that can cut the line, or hold it without a word. For tests that need a service to go away."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Literal

Mode = Literal["pass", "cut", "hang"]


class TcpProxy:
    """Forwards connections to `host:port`. `mode` may change at any time: cut refuses and closes, hang forwards nothing."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._mode: Mode = "pass"
        self._open = threading.Event()
        self._open.set()
        self._lines: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def set(self, mode: Mode) -> None:
        self._mode = mode
        (self._open.clear if mode == "hang" else self._open.set)()
        if mode == "cut":
            for line in list(self._lines):
                with contextlib.suppress(OSError):
                    line.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.set("cut")
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._mode == "cut":
                client.close()
                continue
            server = socket.create_connection(self._target)
            for one, other in ((client, server), (server, client)):
                self._lines.add(one)
                threading.Thread(target=self._forward, args=(one, other), daemon=True).start()

    def _forward(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                self._open.wait()
                if self._mode == "cut":
                    break
                other.sendall(data)
        for line in (one, other):
            self._lines.discard(line)
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
            line.close()
