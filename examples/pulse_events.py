"""Market-pulse events: stored, found again by time and ticker, and summed up by the day.

python examples/pulse_events.py [s3://bucket | ./lake]

With AWS_DYNAMODB_PULSE_TABLE set (`streamer init` makes the table), DynamoDB finds them; without, the lake does.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta

from streamer import Lake

START = datetime(2024, 1, 15, 10, tzinfo=UTC)


def main(lake_url: str) -> None:
    with Lake.open(lake_url, create="://" not in lake_url) as lake:
        events = lake.events
        first = {
            "timestamp": START,
            "ticker": "BTCUSDT",
            "stress": 0.82,
            "regime": "panic",
            "velocity": -3.1,
            "source": {"venue": 1},
        }
        print(events.store(first).key)

        batch = [
            {
                "timestamp": START + timedelta(minutes=minute),
                "ticker": ticker,
                "stress": minute / 10,
                "regime": "calm",
                "velocity": 0.5,
            }
            for minute in range(1, 6)
            for ticker in ("BTCUSDT", "ETHUSDT")
        ]
        print(events.store_batch([*batch, first]), "stored, those that were there among them")

        for event in events.get("2024-01-15T10:00", "2024-01-15T10:03", ticker="BTCUSDT"):
            print(event["timestamp"], event["regime"], event["stress"])

        print(events.store_summary("2024-01-15").key)
        print(events.summary("2024-01-15")["events"]["stress"])


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "./example-lake")
