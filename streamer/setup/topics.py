"""The topics of the enabled streams, as `streamer init --topics` finds them and makes them. None is ever changed or deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamer.clock import Clock
from streamer.config.values import format_duration
from streamer.setup.step import Step
from streamer.source.probe import probe
from streamer.source.topics import TopicPlan, create_topics

if TYPE_CHECKING:
    from streamer.config import Settings
    from streamer.source.settings import KafkaSettings


async def topic_steps(settings: Settings, kafka: KafkaSettings, clock: Clock) -> list[Step]:
    """One step for each topic. Raises `Unavailable` where Kafka cannot be asked, and `Denied`."""
    topics = [stream.topic or name for name, stream in settings.enabled_streams.items()]
    report = await probe(kafka, topics, clock)
    steps = []
    for found in report.topics:
        if found.problem is not None:
            raise found.problem
        about = f"topic {found.topic}"
        if found.partitions:
            there = (f"{found.partitions} partitions",)
            more = settings.topics.partitions > found.partitions
            remark = (
                f"topics.partitions is {settings.topics.partitions}; topics that exist are left as they are" if more else ""
            )
            steps.append(Step(about, "keep", there, there, remark))
        else:
            steps.append(_creation(found.topic, settings, kafka, clock))
    return steps


def _creation(topic: str, settings: Settings, kafka: KafkaSettings, clock: Clock) -> Step:
    wanted = settings.topics
    plan = TopicPlan(topic, wanted.partitions, wanted.replication, wanted.retention)
    lines = [f"{plan.partitions} partitions"]
    lines.append("copies as the brokers choose" if plan.replication < 0 else f"{plan.replication} copies")
    if plan.retention_seconds is not None:
        lines.append(f"records kept for {format_duration(plan.retention_seconds)}")
    return Step(f"topic {topic}", "create", (), tuple(lines), carry_out=lambda: create_topics(kafka, [plan], clock))
