"""A TCP proxy on 127.0.0.1 that can cut the line, hold it, slow it or reset it. For tests that need a service to go away."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from typing import Literal

Mode = Literal["pass", "cut", "slow", "reset", "hang", "hang_answers"]

SLOW_SECONDS = 0.4
RESET_SECONDS = 0.03


class TcpProxy:
    """Forwards connections to `host:port`. `mode` may change at any time: cut refuses and closes, hang forwards nothing (with
    `hang_answers`: requests only), slow delays each piece, reset ends each connection with RST before the answer."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._mode: Mode = "pass"
        self._open = {"requests": threading.Event(), "answers": threading.Event()}
        self._lines: set[socket.socket] = set()
        self.set("pass")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def set(self, mode: Mode) -> None:
        self._mode = mode
        for way, event in self._open.items():
            held = mode == "hang" or (mode == "hang_answers" and way == "answers")
            (event.clear if held else event.set)()
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
            for one, other, way in ((client, server, "requests"), (server, client, "answers")):
                self._lines.add(one)
                threading.Thread(target=self._forward, args=(one, other, way), daemon=True).start()

    def _forward(self, one: socket.socket, other: socket.socket, way: str) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                if self._mode == "slow":
                    time.sleep(SLOW_SECONDS)
                if self._mode == "reset" and way == "answers":
                    time.sleep(RESET_SECONDS)
                    for line in (one, other):
                        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    break
                self._open[way].wait()
                if self._mode == "cut":
                    break
                other.sendall(data)
        for line in (one, other):
            self._lines.discard(line)
            with contextlib.suppress(OSError):
                # Reading alone: it wakes the other thread, and says nothing to the peer before the RST does.
                line.shutdown(socket.SHUT_RD if self._mode == "reset" else socket.SHUT_RDWR)
            line.close()
