"""How old a record is when a reader can see it, at a steady rate; the loop's worst pause; what the PUTs cost."""

from __future__ import annotations

import asyncio
import re
import signal
import time
import uuid
from dataclasses import dataclass

from confluent_kafka import Producer

from bench.throughput.daemon import BOTH, Daemon, daemon_environment
from bench.throughput.places import Bucket, Places
from bench.throughput.ticks import made_ticks
from bench.throughput.topics import Topics
from streamer.store.s3 import S3Store

CUT_AGE_SECONDS = 5.0
LOOK_SECONDS = 0.1
_RANGE = re.compile(r"-(\d{5})-(\d{20})-(\d{20})\.parquet$")


@dataclass(frozen=True, slots=True)
class Freshness:
    """Seconds from produce to visible, of the first record of each file: the oldest that it holds."""

    rate: int
    p50_seconds: float
    p99_seconds: float
    max_seconds: float
    samples: int
    worst_pause_seconds: float
    puts_per_million: float
    cpu_per_million: float
    peak_bytes: int


def measure_freshness(places: Places, bucket: Bucket, topics: Topics, *, rate: int, seconds: float) -> Freshness:
    """Produce `rate` records a second for a while, and watch them appear. Cuts by age, after five seconds."""
    topic, corner = topics.create("fresh", 4), f"fresh-{uuid.uuid4().hex[:6]}"
    more = {"STREAMER__STREAMS__TICKS__PATH": BOTH, "STREAMER__STREAMS__TICKS__CUT__AGE": f"{CUT_AGE_SECONDS:g}s"}
    daemon = Daemon(daemon_environment(places, f"s3://{bucket.name}/{corner}", topic, corner, more), options=())
    while daemon.began is None:
        time.sleep(0.1)
    time.sleep(2)
    sent, seen = asyncio.run(_produce_and_watch(places, bucket, corner, topic, rate, seconds))
    puts = daemon.metric("streamer_store_request_seconds_count", 'operation="put"')
    daemon.signal(signal.SIGTERM)
    run = daemon.finish()
    bucket.empty(f"{corner}/")
    ages = sorted(
        seen[key] - sent[partition][start] for key, (partition, start) in _ranges(seen).items() if start in sent[partition]
    )
    if not ages:
        raise SystemExit("nothing became visible")

    def at(share: float) -> float:
        return ages[min(len(ages) - 1, int(len(ages) * share))]

    return Freshness(
        rate,
        at(0.5),
        at(0.99),
        ages[-1],
        len(ages),
        daemon.worst_pause_seconds,
        puts * 1e6 / run.records,
        run.cpu_per_million,
        run.peak_bytes,
    )


def _ranges(seen: dict[str, float]) -> dict[str, tuple[int, int]]:
    found = {key: _RANGE.search(key) for key in seen}
    return {key: (int(match[1]), int(match[2])) for key, match in found.items() if match}


async def _produce_and_watch(
    places: Places, bucket: Bucket, corner: str, topic: str, rate: int, seconds: float
) -> tuple[dict[int, dict[int, float]], dict[str, float]]:
    producer = Producer({"bootstrap.servers": places.kafka, "compression.type": "lz4", "linger.ms": 5})
    sent: dict[int, dict[int, float]] = {number: {} for number in range(4)}
    seen: dict[str, float] = {}
    store = S3Store(bucket.name, corner, places.settings())
    ended = asyncio.Event()

    async def produce() -> None:
        began, records = time.monotonic(), 0
        ticks = made_ticks(int(rate * seconds))
        while records < rate * seconds:
            now = time.monotonic()
            due = min(int((now - began) * rate), int(rate * seconds)) - records
            for _ in range(due):
                partition = records % 4
                sent[partition][records // 4] = now
                producer.produce(topic, next(ticks), partition=partition)
                records += 1
            producer.poll(0)
            await asyncio.sleep(0.01)
        await asyncio.to_thread(producer.flush, 30)
        await asyncio.sleep(CUT_AGE_SECONDS + 3)
        ended.set()

    async def watch() -> None:
        while not ended.is_set():
            async for info in store.list("raw/"):
                seen.setdefault(info.key, time.monotonic())
            await asyncio.sleep(LOOK_SECONDS)

    await asyncio.gather(produce(), watch())
    await store.close()
    return sent, seen
