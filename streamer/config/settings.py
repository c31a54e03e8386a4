"""The whole configuration as one frozen value, with the checks between its sections.

What users may tune, and nothing else: clients, clocks and stores are made from it by others. `load.py` reads it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from pydantic import Field, PrivateAttr, SecretStr, model_validator

from streamer.config.archive import ArchiveSection, RetentionSection
from streamer.config.documents import DocumentsSection
from streamer.config.quality import AlertsSection
from streamer.config.sections import (
    HttpSection,
    KafkaSection,
    LakeSection,
    LogSection,
    MemorySection,
    ModelsSection,
    S3Section,
    Section,
    StopSection,
    UploadsSection,
    WorkersSection,
)
from streamer.config.setup import BucketSection, DynamoSection, LifecycleSection, SecretsSection, TopicsSection
from streamer.config.stream import BUILT_IN, PATHS, STREAM_NAME, StreamSection
from streamer.config.tree import Path, field_at, meaning
from streamer.config.values import format_duration, format_size

DEFAULT = "default"
REDACTED = "********"
_DAY_FIRST = re.compile(r"[^{%]*(?:\{date\}|%Y-%m-%d)")


@dataclass(frozen=True, slots=True)
class Entry:
    """One value of the configuration, as shown to people: its dotted name, its value without secrets, and where it is from."""

    path: str
    value: Any
    text: str
    origin: str


def _built_in_streams() -> dict[str, StreamSection]:
    return {name: StreamSection.model_validate(dict(body)) for name, body in BUILT_IN.items()}


class Settings(Section):
    """Everything that can be configured."""

    kafka: KafkaSection = Field(default_factory=KafkaSection, description="Where the records come from.")
    lake: LakeSection = Field(default_factory=LakeSection, description="Where the lake is.")
    s3: S3Section = Field(default_factory=S3Section, description="How S3 is reached.")
    memory: MemorySection = Field(default_factory=MemorySection, description="How much the process may hold.")
    http: HttpSection = Field(default_factory=HttpSection, description="Health and metrics.")
    log: LogSection = Field(default_factory=LogSection, description="What is logged.")
    stop: StopSection = Field(default_factory=StopSection, description="How the process ends.")
    workers: WorkersSection = Field(default_factory=WorkersSection, description="Threads that decode and encode.")
    uploads: UploadsSection = Field(default_factory=UploadsSection, description="Writing to the store.")
    streams: dict[str, StreamSection] = Field(default_factory=_built_in_streams, description="Which topics are kept, and how.")
    archive: ArchiveSection = Field(default_factory=ArchiveSection, description="How days are closed.")
    retention: RetentionSection = Field(default_factory=RetentionSection, description="What is removed of closed days.")
    alerts: AlertsSection = Field(default_factory=AlertsSection, description="Alerts to a Kafka topic.")
    models: ModelsSection = Field(default_factory=ModelsSection, description="Model checkpoints.")
    documents: DocumentsSection = Field(default_factory=DocumentsSection, description="Kinds of documents.")
    bucket: BucketSection = Field(default_factory=BucketSection, description="The bucket as `streamer init` makes it.")
    lifecycle: LifecycleSection = Field(default_factory=LifecycleSection, description="What becomes of old objects.")
    topics: TopicsSection = Field(default_factory=TopicsSection, description="Topics that `streamer init` creates.")
    secrets: SecretsSection = Field(default_factory=SecretsSection, description="Where secrets are.")

    dynamodb: DynamoSection = Field(default_factory=DynamoSection, description="Where indexes are.")

    _origins: Mapping[Path, str] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _streams_are_apart(self) -> Self:
        for name in self.streams:
            if not STREAM_NAME.fullmatch(name) or "__" in name:
                raise ValueError(
                    f"streams.{name[:80]}: a stream's name begins with a lower-case letter, "
                    "and has up to 64 lower-case letters, digits and single underscores"
                )
        owners: dict[str, str] = {}
        for name, stream in self.enabled_streams.items():
            topic = stream.topic or name
            if topic in owners:
                raise ValueError(
                    f"streams.{owners[topic]} and streams.{name} share the topic {topic}: give one of them another topic, "
                    f"or switch one off with enabled = false"
                )
            owners[topic] = name
        watched = owners.get(self.alerts.topic or "")
        if watched is not None and self.streams[watched].quality:
            raise ValueError(
                f"alerts.topic is the topic of streams.{watched}, whose quality rules would raise alerts about alerts"
            )
        documents: dict[str, str] = {}
        for name, stream in self.enabled_streams.items():
            if stream.history is not None and (other := documents.setdefault(stream.history.document, name)) != name:
                raise ValueError(
                    f"streams.{other}.history and streams.{name}.history share the document {stream.history.document}: "
                    "give one of them another document"
                )
        tables: dict[str, str] = {}
        for name, table in self.indexed.items():
            other = tables.setdefault(table, name)
            if other != name and {self.streams[other].schema_name, self.streams[name].schema_name} != {"pulse"}:
                raise ValueError(f"streams.{other}.index and streams.{name}.index share the table {table}: give one another")
        if not owners:
            raise ValueError("every stream is switched off: enable one, or add [streams.NAME] with a schema")
        return self

    @property
    def enabled_streams(self) -> dict[str, StreamSection]:
        """The streams to run, by name."""
        return {name: stream for name, stream in self.streams.items() if stream.enabled}

    @property
    def indexed(self) -> dict[str, str]:
        """The tables of the enabled streams that are indexed, by the stream's name."""
        found = {}
        for name, stream in self.enabled_streams.items():
            table = stream.index.table or (self.dynamodb.pulse_table if stream.schema_name == "pulse" else None)
            if table is not None:
                found[name] = table
        return found

    @property
    def tables(self) -> tuple[str, ...]:
        """Every DynamoDB table that this configuration names."""
        named = [*self.indexed.values(), *([self.dynamodb.pulse_table] if self.dynamodb.pulse_table is not None else [])]
        return tuple(dict.fromkeys(named))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was accepted, and will not do what its writer may expect. One sentence each."""
        found = []
        for name, stream in self.enabled_streams.items():
            if stream.cut.bytes > self.memory.budget:
                found.append(
                    f"streams.{name}.cut.bytes is more than memory.budget: batches are cut earlier, for lack of memory"
                )
            path = stream.path if stream.path is not None else PATHS[stream.schema_name]
            if name in self.indexed and not _DAY_FIRST.match(path):
                found.append(
                    f"streams.{name}.index: the folders of {path} do not begin with the date, so the whole stream is listed "
                    "whenever something is indexed"
                )
        return tuple(found)

    @property
    def hidden_values(self) -> tuple[str, ...]:
        """The values that must never be shown or logged."""
        return tuple(secret.get_secret_value() for secret in _secrets_in(self))

    def with_origins(self, origins: Mapping[Path, str]) -> Self:
        """The same settings, knowing where each value came from."""
        copy = self.model_copy()
        copy._origins = dict(origins)
        return copy

    def origin(self, path: str | Path) -> str:
        """Where a value came from: a file's name, a variable's, an option's, `built in` or `default`. `path` is dotted text."""
        return self._origins.get(tuple(path.split(".")) if isinstance(path, str) else path, DEFAULT)

    def entries(self) -> Iterator[Entry]:
        """Every value, in the order of the sections. Secrets are replaced."""
        yield from self._entries_below((), self)

    def _entries_below(self, path: Path, value: Any) -> Iterator[Entry]:
        if isinstance(value, Section):
            for name, field in type(value).model_fields.items():
                yield from self._entries_below((*path, field.alias or name), getattr(value, name))
        elif isinstance(value, dict):
            for name, inner in value.items():
                yield from self._entries_below((*path, name), inner)
        else:
            shown, text = _shown(value, meaning(field_at(type(self), path)))
            yield Entry(".".join(path), shown, text, self.origin(path))


def _secrets_in(value: Any) -> Iterator[SecretStr]:
    if isinstance(value, SecretStr):
        yield value
    elif isinstance(value, Section):
        for name in type(value).model_fields:
            if name != "access_key_id":  # it names who signed, as a user name does, and AWS's own errors have it
                yield from _secrets_in(getattr(value, name))
    elif isinstance(value, Mapping | list | tuple):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _secrets_in(inner)


def _shown(value: Any, kind: str) -> tuple[Any, str]:
    if value is None:
        return None, "(not set)"
    if isinstance(value, SecretStr):
        return REDACTED, REDACTED
    if kind == "size":
        return value, format_size(value)
    if kind == "duration":
        return value, format_duration(value)
    if isinstance(value, tuple):
        return list(value), ", ".join(map(str, value)) or "(none)"
    return value, str(value).lower() if isinstance(value, bool) else str(value)
