"""Topics of the measurement: made, filled and taken away again. Through librdkafka, so that filling is not what is measured."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

BATCH_RECORDS = 1_000
"""Records of one partition that go into one Kafka batch: what a busy producer with a little linger makes."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A filled topic. `payload_bytes` are those of the values."""

    name: str
    partitions: int
    records: int
    payload_bytes: int
    codec: str


class Topics:
    """Makes topics on one broker, under names nobody else has, and deletes what it made."""

    def __init__(self, kafka: str) -> None:
        self._kafka = kafka
        self._admin = AdminClient({"bootstrap.servers": kafka})
        self._made: list[str] = []

    def create(self, what: str, partitions: int) -> str:
        """A new topic's name. Its records stay as long as the topic: made ticks may be older than a broker's retention."""
        name = f"bench-{what}-{uuid.uuid4().hex[:8]}"
        settings = {"retention.ms": "-1", "segment.bytes": str(512 << 20)}
        self._admin.create_topics([NewTopic(name, partitions, 1, config=settings)])[name].result(30)
        self._made.append(name)
        return name

    def fill(self, what: str, ticks: Iterable[bytes], *, partitions: int = 4, codec: str = "lz4") -> Topic:
        """A topic with these ticks, spread over its partitions in runs, as several producers would."""
        name = self.create(what, partitions)
        producer = Producer(
            {
                "bootstrap.servers": self._kafka,
                "compression.type": codec,
                "linger.ms": 200,
                "batch.num.messages": BATCH_RECORDS,
                "batch.size": 1_000_000,
                "queue.buffering.max.messages": 400_000,
                "queue.buffering.max.kbytes": 400_000,
            }
        )
        records = payload_bytes = 0
        for tick in ticks:
            while True:
                try:
                    producer.produce(name, tick, partition=records % partitions)
                    break
                except BufferError:
                    producer.poll(0.05)
            records += 1
            payload_bytes += len(tick)
        if producer.flush(120):
            raise SystemExit(f"{name} could not be filled")
        return Topic(name, partitions, records, payload_bytes, codec)

    def close(self) -> None:
        """Delete every topic that was made here."""
        if self._made:
            for done in self._admin.delete_topics(self._made, request_timeout=30).values():
                done.exception(30)
