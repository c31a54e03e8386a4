"""A processed document, the rules that its data must keep, and the way back to the records that it was made of.

python examples/lineage.py [s3://bucket | ./lake]
"""

from __future__ import annotations

import statistics
import sys

from streamer import Lake
from streamer.errors import Invalid

VERSION = "1.4.2"


def main(lake_url: str) -> None:
    with Lake.open(lake_url, create="://" not in lake_url) as lake:
        lake.documents.declare(
            "trades",
            schema={"price": "float64", "quantity": "float64", "side": "string"},
            rules=["price > 0"],
            quality={"known_side": {"check": "allowed", "column": "side", "values": ["buy", "sell"]}},
        )
        trades = [
            lake.documents.put(
                "trades",
                [{"price": 43_000 + 10 * minute, "quantity": 0.5, "side": "buy"}],
                at=f"2024-01-15T10:{minute:02d}:00",
                symbol="BTC/USDT",
            )
            for minute in range(3)
        ]
        try:
            lake.documents.put("trades", [{"price": -1, "side": "buy"}], symbol="BTC/USDT")
        except Invalid as refused:
            print(f"refused: {refused}")

        prices = [row["price"] for info in trades for row in lake.documents.read(info).data]
        percentiles = lake.processed.store(
            "percentiles",
            "BTC/USDT",
            {"p50": statistics.median(prices)},
            version=VERSION,
            sources=trades,
            at="2024-01-15T11:00",
        )
        features = lake.processed.store(
            "features", "BTC/USDT", {"p50_by_last": 1.0}, version="7", sources=[percentiles, trades[-1]], at="2024-01-15T11:00"
        )
        print("\n".join(lake.lineage(features.key).lines()))

        print(lake.processed.get_latest("percentiles", "BTC/USDT").data)
        print(len(lake.processed.by_date("percentiles", "BTC/USDT", "2024-01-15")), "of the day")
        print(len(lake.processed.by_version("percentiles", "BTC/USDT", VERSION)), "of version", VERSION)

        lake.documents.delete(trades[0])
        for link in lake.lineage(features.key).outdated:
            print(f"{link.key} is {link.state}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "./example-lake")
