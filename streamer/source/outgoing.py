"""Records on their way to Kafka, and where they arrived. Values only; `producer.py` sends them."""

from __future__ import annotations

from dataclasses import dataclass

from streamer.records import Headers


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record to be sent. `partition` None: by the key, as Kafka's own partitioner does. `timestamp` in milliseconds, None:
    the time of sending."""

    topic: str
    partition: int | None
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    timestamp: int | None = None


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """Where a record now is, all replicas agreeing."""

    topic: str
    partition: int
    offset: int
