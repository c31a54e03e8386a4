"""Order books from Kafka to spread, depth and imbalance. Brings its own broker, runs the real daemon, needs no network.

pip install 'streamer[demo,sql]'
python examples/order_books.py [FOLDER]
"""

from __future__ import annotations

import asyncio
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.compute as pc

from streamer import Lake
from streamer.clock import SystemClock
from streamer.embedded.mock_cluster import MockCluster
from streamer.source.outgoing import Outgoing
from streamer.source.producer import Producer
from streamer.source.settings import KafkaSettings

CONFIGURATION = """
[kafka]
bootstrap_servers = "{servers}"
[lake]
url = "{lake}"
[http]
port = 0
[streams.ticks]
enabled = false
[streams.signals]
enabled = false
[streams.features]
enabled = false
[streams.orderbooks]
topic = "depth"
schema = "orderbook"
[streams.orderbooks.quality.crossed]
check = "crossed"
columns = ["bids", "asks"]
on_violation = "flag"
"""
BOOKS = 400
LEVELS = 10


def books() -> Iterator[bytes]:
    """Two symbols, each in the spelling of another exchange. Every hundredth book is crossed."""
    for number in range(BOOKS):
        symbol, start = (("BTCUSDT", 68_120.0), ("ETH/USDT", 3_512.0))[number % 2]
        middle = start * (1 + math.sin(number / 40) / 100)
        crossed = -1 if number % 100 == 0 else 1
        bids, asks = (
            [
                [f"{middle * (1 + side * crossed * (n + 1) * 5e-5):.2f}", f"{1.5 + math.sin(number + n * side + side):.4f}"]
                for n in range(LEVELS)
            ]
            for side in (-1, 1)
        )
        at = 1_767_434_400_000 + number * 250
        if symbol == "BTCUSDT":
            yield json.dumps({"s": symbol, "T": at, "lastUpdateId": 71_000_000 + number, "b": bids, "a": asks}).encode()
        else:
            sides = [[{"price": float(price), "size": float(size)} for price, size in side] for side in (bids, asks)]
            yield json.dumps({"symbol": symbol, "ts": at, "sequence": number, "bids": sides[0], "asks": sides[1]}).encode()


async def archive(folder: Path) -> None:
    """What producers and `streamer run` do elsewhere."""
    (folder / "lake").mkdir(parents=True, exist_ok=True)
    async with MockCluster() as cluster:
        await cluster.create_topic("depth", 2)
        config = folder / "streamer.toml"
        config.write_text(CONFIGURATION.format(servers=cluster.bootstrap_servers, lake=folder / "lake"))
        producer = Producer(KafkaSettings(bootstrap_servers=cluster.bootstrap_servers, client_id="example"), SystemClock())
        async with producer:
            await producer.send([Outgoing("depth", None, None, value) for value in books()])
        command = [sys.executable, "-m", "streamer", "run", "--config", str(config), "--until-caught-up"]
        with (folder / "daemon.log").open("wb") as log:
            daemon = await asyncio.create_subprocess_exec(*command, stderr=log)
            if await daemon.wait() != 0:
                raise SystemExit(f"the daemon failed: read {log.name}")


def main(folder: Path) -> None:
    folder = folder.resolve()
    asyncio.run(archive(folder))
    with Lake.open(str(folder / "lake"), cache=None) as lake:
        rows = lake.scan("orderbooks", symbols="BTCUSDT")
        bid = pc.struct_field(pc.list_element(rows["bids"], 0), "price")
        ask = pc.struct_field(pc.list_element(rows["asks"], 0), "price")
        print(f"BTCUSDT: {len(rows)} books, mean spread {pc.mean(pc.subtract(ask, bid)).as_py():.2f}")

        print(f"crossed: {lake.scan('orderbooks', where=pc.field('_flags') == 'crossed').num_rows}")
        found = lake.sql(
            """SELECT symbol, count(*) AS books, round(avg(asks[1].price - bids[1].price), 2) AS spread,
                      round(avg(list_sum([level.quantity FOR level IN bids])), 1) AS bid_depth,
                      round(avg((bids[1].quantity - asks[1].quantity) / (bids[1].quantity + asks[1].quantity)), 3) AS imbalance
               FROM orderbooks WHERE _flags IS NULL GROUP BY symbol ORDER BY symbol"""
        )
        for row in found.to_pylist():
            print(row)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "./example-books"))
