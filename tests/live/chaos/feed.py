"""Ticks at a constant rate, and the ledger of what the brokers acknowledged: partition -> offset -> number of the tick."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import defaultdict

from confluent_kafka import Message, Producer

SYMBOLS = ("BTC/USDT", "ETHUSDT", "KRW-XRP", "SOL_USD")
POISON_EVERY = 199
"""Every so many records one is not JSON: it must be in the lake as a dead letter."""

BURST_SECONDS = 0.05


class Feed:
    """Produces in a thread of its own until `stop`, acknowledged by all copies, idempotent."""

    def __init__(self, servers: str, topic: str, partitions: int, records_per_second: int) -> None:
        self.acknowledged: dict[int, dict[int, int]] = defaultdict(dict)
        self.failed = 0  # given up by the client: it may be in Kafka, it need not
        self.repeated = 0  # offsets acknowledged twice, which would be Kafka's fault
        self._ends: dict[int, int] = {}
        self._topic, self._partitions, self._rate = topic, partitions, records_per_second
        self._producer = Producer(
            {
                "bootstrap.servers": servers,
                "acks": "all",
                "enable.idempotence": True,
                "linger.ms": 20,
                "compression.type": "lz4",
                "queue.buffering.max.messages": 2_000_000,
            }
        )
        self._number = 0
        self._chance = random.Random(1)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="feed")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop, when everything sent has been acknowledged or given up."""
        self._stopping.set()
        self._thread.join()
        assert self._producer.flush(120) == 0

    def ends(self) -> dict[int, int]:
        """Per partition: one more than the greatest acknowledged offset."""
        return dict(self._ends)

    def _run(self) -> None:
        began, sent = time.monotonic(), 0
        while not self._stopping.is_set():
            due = int((time.monotonic() - began) * self._rate)
            for _ in range(min(due - sent, self._rate)):
                self._send()
            sent = due
            self._producer.poll(BURST_SECONDS)

    def _send(self) -> None:
        number, chance = self._number, self._chance
        self._number += 1
        tick = {
            "symbol": chance.choice(SYMBOLS),
            "price": str(100 + number % 1000 / 8) if number % 2 else 100 + number % 1000 / 8,
            "quantity": round(chance.expovariate(2), 4),
            "timestamp": 1_767_500_000_000 + number - chance.randrange(0, 30 * 3_600_000),
            "trade_id": number,
        }
        value = f"poison {number}".encode() if number % POISON_EVERY == 0 else json.dumps(tick).encode()
        try:
            self._producer.produce(self._topic, value, partition=chance.randrange(self._partitions), on_delivery=self._note)
        except BufferError:
            self._number -= 1
            self._producer.poll(0.1)

    def _note(self, error: object, message: Message) -> None:
        if error is not None:
            self.failed += 1
            return
        partition, offset = message.partition(), message.offset()
        assert partition is not None
        assert offset is not None
        ledger = self.acknowledged[partition]
        self.repeated += offset in ledger
        self._ends[partition] = max(offset + 1, self._ends.get(partition, 0))
        text = (message.value() or b"").decode()
        ledger[offset] = int(text.removeprefix("poison ")) if text.startswith("poison ") else json.loads(text)["trade_id"]
