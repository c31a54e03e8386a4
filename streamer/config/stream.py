"""The section of one stream, and the three streams that need none.

Only what a user writes; `streams.py` makes from it the layout that decides rows and keys.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from streamer.config.quality import QualityRuleSection, check_rule_names
from streamer.config.sections import Section
from streamer.config.values import Duration, Meaning, Size, TextList, at_least, none_if_empty, parse_lower, parse_rule

STREAM_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)
_DOCUMENT = re.compile(r"state/(?:[A-Za-z0-9-][A-Za-z0-9._-]{0,99}/){0,4}[A-Za-z0-9-][A-Za-z0-9._-]{0,199}\.json", re.ASCII)
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}", re.ASCII)

BUILT_IN: Mapping[str, Mapping[str, str]] = {
    "ticks": {"schema": "tick"},
    "signals": {"schema": "signal"},
    "features": {"schema": "feature"},
}
"""The lowest source of the configuration: a file extends these field by field."""

PATHS: Mapping[str, str] = {
    "tick": "symbol={symbol}/date={date}",
    "signal": "date={date}",
    "feature": "date={date}",
    "orderbook": "symbol={symbol}/date={date}",
    "pulse": "date={date}",
    "raw": "date={date}",
}
"""The partition path of a stream that names none, by its schema."""


class CutSection(Section):
    """When a batch is closed: whichever comes first."""

    rows: int = Field(default=500_000, ge=1, le=100_000_000, description="Records in the batch.")
    bytes: Size = Field(default=64 << 20, description="Keys and values as Kafka delivered them, decompressed.")
    age: Annotated[Duration, AfterValidator(at_least(0.01, "10ms"))] = Field(
        default=60.0,
        description="Since the batch's first record arrived. Of the first batch after a take-over half of it or more, so that "
        "partitions are not all written at once.",
    )
    idle: Annotated[
        Annotated[Duration, AfterValidator(at_least(0.01, "10ms"))] | None, BeforeValidator(none_if_empty), Meaning("duration")
    ] = Field(default=None, description="Since its last record arrived; never where not set.")


class HistorySection(Section):
    """Feature history for warm starts."""

    window: int = Field(default=20, ge=1, le=100_000, description="Rows kept for each symbol.")
    snapshot_every: Annotated[Duration, AfterValidator(at_least(0.1, "100ms"))] = Field(
        default=30.0, description="How often the history is saved."
    )
    document: str = Field(
        default="state/feature_history_latest.json",
        description="Key of the merged document, what `Lake.feature_history()` reads. Two streams cannot share one.",
    )
    max_symbols: int = Field(
        default=10_000,
        ge=1,
        le=10_000_000,
        description="Symbols kept for each partition; the least recently updated leave first, and are counted.",
    )
    keep: int = Field(default=24, ge=0, le=10_000, description="Older versions of the merged document that stay, for `as_of`.")
    arrow: bool = Field(
        default=False, description="Write the merged history as an Arrow file too, beside the document, for big ones."
    )

    @field_validator("document")
    @classmethod
    def _document_has_a_place(cls, value: str) -> str:
        if not _DOCUMENT.fullmatch(value) or value.startswith("state/feature_history/"):
            raise ValueError(
                "the document is a key such as state/feature_history_latest.json: below state/ but not below "
                "state/feature_history/, of letters, digits, dots, underscores and hyphens, and it ends in .json"
            )
        return value


TABLE_NAME = re.compile(r"[A-Za-z0-9_.-]{3,255}", re.ASCII)


def check_table(value: str | None) -> str | None:
    """The name of a DynamoDB table. Raises `ValueError`."""
    if value is not None and not TABLE_NAME.fullmatch(value):
        raise ValueError("a table's name has 3 to 255 letters, digits, dots, underscores and hyphens")
    return value


class IndexSection(Section):
    """A DynamoDB table that finds rows by symbol and time, made from the lake behind the commits. See `docs/events.md`."""

    table: Annotated[str | None, BeforeValidator(none_if_empty), AfterValidator(check_table), Meaning("text")] = Field(
        default=None, description="The table; no index where not set. `streamer init` makes it."
    )
    check_every: Annotated[Duration, AfterValidator(at_least(0.1, "100ms"))] = Field(
        default=10.0, le=86_400, description="How often the daemon looks whether there is something to index."
    )


class StreamSection(Section):
    """One topic, its schema, and its place in the lake."""

    enabled: bool = Field(default=True, description="`false` switches the stream off.")
    topic: Annotated[str | None, BeforeValidator(none_if_empty), Meaning("text")] = Field(
        default=None, description="The Kafka topic; the stream's name where not set. Two streams cannot share one."
    )
    schema_name: Annotated[Literal["tick", "signal", "feature", "orderbook", "pulse", "raw"], BeforeValidator(parse_lower)] = (
        Field(alias="schema", description="The columns to begin with; `raw` keeps the bytes as they came.")
    )
    path: Annotated[str | None, Meaning("text")] = Field(
        default=None,
        description="Folders of the data files below `raw/{stream}/`: columns, `{date}`, `{hour}`, strftime of the event time. "
        "Where not set: `symbol={symbol}/date={date}` for ticks and order books, else `date={date}`.",
    )
    format: Annotated[Literal["parquet", "ndjson.zst", "ndjson.gz"], BeforeValidator(parse_lower)] = Field(
        default="parquet", description="Format of the data files."
    )
    cut: CutSection = Field(default_factory=CutSection, description="When a batch is closed.")
    columns: dict[str, str] = Field(
        default_factory=dict,
        description="Columns beyond the schema, `name = Arrow type`; a name that the schema has changes that column's type.",
    )
    aliases: dict[str, TextList] = Field(
        default_factory=dict, description="Other names that messages use for a column, `column = [names]`."
    )
    unknown: Annotated[Literal["extra", "drop"], BeforeValidator(parse_lower)] = Field(
        default="extra",
        description="Fields that no column names: kept as JSON text in the column `extra`, or dropped and counted.",
    )
    timestamp_fallback: Annotated[Literal["kafka", "dead-letter"], BeforeValidator(parse_lower)] = Field(
        default="kafka", description="A message without a time of its own: take Kafka's, or make it a dead letter."
    )
    rules: TextList = Field(
        default=(),
        description='What must hold of a row, such as `"price > 0"`; else it is a dead letter. A null passes.',
    )
    quality: dict[str, QualityRuleSection] = Field(
        default_factory=dict, description="Data quality rules, by name, and what becomes of records that break them."
    )
    allowed_lateness: Duration = Field(
        default=0.0, description="How long after its time a record may arrive before the day counts as complete."
    )
    history: HistorySection | None = Field(default=None, description="Feature history.")
    index: IndexSection = Field(default_factory=IndexSection, description="An index in DynamoDB.")

    @field_validator("topic")
    @classmethod
    def _topic_is_possible(cls, value: str | None) -> str | None:
        if value is not None and (not _TOPIC.fullmatch(value) or value in (".", "..")):
            raise ValueError("a topic's name has at most 249 letters, digits, dots, underscores and hyphens")
        return value

    @field_validator("rules")
    @classmethod
    def _rules_can_be_read(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for rule in value:
            parse_rule(rule)
        return value

    @field_validator("quality")
    @classmethod
    def _rules_have_names(cls, value: dict[str, QualityRuleSection]) -> dict[str, QualityRuleSection]:
        check_rule_names(value)
        return value

    @field_validator("columns", "aliases")
    @classmethod
    def _names_are_possible(cls, value: dict[str, object]) -> dict[str, object]:
        for name in value:
            if not name or len(name) > 128 or not name.isprintable():
                raise ValueError("a column's name has 1 to 128 printable characters")
        return value

    @model_validator(mode="after")
    def _raw_has_no_columns(self) -> Self:
        if self.schema_name == "raw" and (self.columns or self.aliases or self.rules or self.quality):
            raise ValueError(
                "the schema raw keeps the bytes as they came: it takes no columns, aliases or rules, nor quality rules"
            )
        return self

    @model_validator(mode="after")
    def _index_has_symbols(self) -> Self:
        if self.index.table is not None and self.schema_name == "raw":
            raise ValueError("the schema raw has no index: its rows have neither symbol nor time of their own")
        return self

    @model_validator(mode="after")
    def _history_has_symbols(self) -> Self:
        if self.history is not None and self.schema_name not in ("tick", "feature"):
            raise ValueError(f"the schema {self.schema_name} has no history: only feature and tick have one")
        return self
