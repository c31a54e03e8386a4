"""A broker that speaks Kafka's protocol, as a `World` for the contract of sources."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import uuid4

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.structs import TopicPartition as KafkaTopicPartition

from streamer.records import Headers, TopicPartition
from streamer.source.contract import Source
from streamer.source.kafka import KafkaSource
from streamer.source.settings import KafkaSettings, ReadMode
from streamer.workers import ThreadWorkers


class KafkaWorld:
    """Topics, records and sources on the brokers at `bootstrap_servers`; `close` stops what it started."""

    quiet_seconds = 0.6

    def __init__(self, bootstrap_servers: str, read_mode: ReadMode) -> None:
        self.settings = KafkaSettings(
            bootstrap_servers=bootstrap_servers,
            read_mode=read_mode,
            heartbeat_seconds=0.3,
            session_timeout_seconds=10.0,
            missing_topics_check_seconds=0.3,
            start_timeout_seconds=10.0,
            fetch_max_wait_seconds=0.1,
            fetch_min_bytes=1,
        )
        self.workers = ThreadWorkers(2)
        self.sources: list[KafkaSource] = []
        self._clients: list[Any] = []

    def name(self) -> str:
        return f"contract-{uuid4().hex[:12]}"

    async def create_topic(self, name: str, partitions: int = 1, configs: dict[str, str] | None = None) -> None:
        admin = await self.admin()
        await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=configs or {})])

    async def admin(self) -> AIOKafkaAdminClient:
        for client in self._clients:
            if isinstance(client, AIOKafkaAdminClient):
                return client
        admin = AIOKafkaAdminClient(bootstrap_servers=self.settings.bootstrap_servers)
        await admin.start()
        self._clients.append(admin)
        return admin

    async def producer(self, **options: Any) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(bootstrap_servers=self.settings.bootstrap_servers, **options)
        self._clients.append(producer)
        await producer.start()
        return producer

    async def write(
        self,
        partition: TopicPartition,
        values: Sequence[bytes | None],
        *,
        key: bytes | None = None,
        headers: Headers = (),
        timestamp: int | None = None,
        compression: str | None = None,
    ) -> list[int]:
        producer = await self.producer(compression_type=compression, linger_ms=5)
        sent = [
            await producer.send(
                partition.topic,
                value,
                key=key,
                partition=partition.partition,
                headers=list(headers),
                timestamp_ms=timestamp,
            )
            for value in values
        ]
        await producer.flush()
        acknowledged = await asyncio.gather(*sent)
        await self._close(producer)
        return [record.offset for record in acknowledged]

    async def write_transaction(self, partition: TopicPartition, values: Sequence[bytes | None], *, commit: bool) -> list[int]:
        producer = await self.producer(transactional_id=self.name())
        await producer.begin_transaction()
        sent = [await producer.send_and_wait(partition.topic, value, partition=partition.partition) for value in values]
        await (producer.commit_transaction() if commit else producer.abort_transaction())
        await self._close(producer)
        return [record.offset for record in sent]

    async def truncate(self, partition: TopicPartition, beginning: int) -> None:
        admin = await self.admin()
        await admin.delete_records({KafkaTopicPartition(*partition): RecordsToDelete(before_offset=beginning)})

    async def source(self, group: str, member: str, **changes: Any) -> Source:
        source = KafkaSource(replace(self.settings, group_id=group, client_id=member, **changes), self.workers)
        self.sources.append(source)
        return source

    async def close(self) -> None:
        await asyncio.gather(*(source.stop() for source in self.sources))
        for client in list(self._clients):
            await self._close(client)
        self.workers.close()

    async def _close(self, client: Any) -> None:
        self._clients.remove(client)
        await (client.close() if isinstance(client, AIOKafkaAdminClient) else client.stop())
