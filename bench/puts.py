"""What a PUT of a small file costs, with botocore's request machinery and without.

    python -m bench.puts [--s3 'http://localhost:9000|key|secret'] [--puts 800] [--rounds 3]

Without --s3 the other end is a process that answers 200 to everything, on connections that stay open as those of Amazon S3 do.
CPU seconds are this process's own, user and system.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import re
import time
import uuid
from multiprocessing.connection import Connection

from bench.throughput.places import Places
from streamer.store.contract import Create
from streamer.store.s3 import S3Store
from streamer.store.s3_put import PlainPuts

BODY = bytes(range(256)) * 78
SLOTS = 16
METADATA = {"batch_rows": "5000", "batch_crc": "1234567890", "batch_epoch": "7"}


class _Sink(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self._held = transport, b""

    def data_received(self, data: bytes) -> None:
        self._held += data
        head, _, body = self._held.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
        if length is not None and len(body) >= int(length[1]):
            self._held = b""
            self._transport.write(b'HTTP/1.1 200 OK\r\nContent-Length: 0\r\nETag: "abc"\r\n\r\n')  # type: ignore[attr-defined]


def sink(told: Connection) -> None:
    """Answer until the process is ended."""

    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(_Sink, "127.0.0.1", 0)
        told.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(serve())


async def measure(places: Places, bucket: str, puts: int, plain: bool) -> float:
    """CPU milliseconds of one PUT."""
    store = S3Store(bucket, uuid.uuid4().hex, places.settings())
    slots = asyncio.Semaphore(SLOTS)

    async def put(number: int) -> None:
        async with slots:
            await store.put(f"raw/symbol=SYM{number}/file.parquet", BODY, mode=Create(), metadata=METADATA)

    await put(-1)
    held = store._requests._puts
    assert isinstance(held, PlainPuts)
    assert held.plain
    if not plain:
        held._form, held._looks_left = None, 0
    await put(-2)
    began = time.process_time()
    await asyncio.gather(*(put(number) for number in range(puts)))
    spent = time.process_time() - began
    await store.close()
    return spent / puts * 1e3


async def compare(places: Places, puts: int, rounds: int) -> None:
    bucket = f"bench-{uuid.uuid4().hex[:10]}"
    store = S3Store(bucket, settings=places.settings())
    await store.create_bucket()
    await store.close()
    for _ in range(rounds):
        through, plain = [await measure(places, bucket, puts, kind) for kind in (False, True)]
        print(f"through botocore {through:.2f} ms, plain {plain:.2f} ms of CPU a PUT of {len(BODY) // 1000} KB")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.puts", description=__doc__)
    parser.add_argument("--s3", help="URL|access key|secret key[|region]")
    parser.add_argument("--puts", type=int, default=800)
    parser.add_argument("--rounds", type=int, default=3)
    said = parser.parse_args()
    hears, tells = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("spawn").Process(target=sink, args=(tells,), daemon=True)
    where = said.s3
    if where is None:
        process.start()
        where = f"http://127.0.0.1:{hears.recv()}|key|secret"
    try:
        asyncio.run(compare(Places("", where), said.puts, said.rounds))
    finally:
        if said.s3 is None:
            process.terminate()


if __name__ == "__main__":
    main()
