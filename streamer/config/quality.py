"""The section of one quality rule of a stream, and that of the alerts. What the rules mean: `quality/`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from streamer.config.sections import OptionalText, Section
from streamer.config.values import Duration, Meaning, TextList, at_least, none_if_empty, parse_lower

RULES_MAX = 32
RULE_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}", re.ASCII)

CheckName = Literal["required", "range", "allowed", "clock-skew", "crossed", "monotonic", "jump", "sequence", "silent"]
SEQUENCES = ("monotonic", "jump", "sequence", "silent")

_TAKEN: Mapping[str, frozenset[str]] = {
    "required": frozenset({"columns"}),
    "range": frozenset({"column", "min", "max"}),
    "allowed": frozenset({"column", "values"}),
    "clock-skew": frozenset({"most"}),
    "crossed": frozenset({"columns"}),
    "monotonic": frozenset({"by"}),
    "jump": frozenset({"column", "percent", "by"}),
    "sequence": frozenset({"column", "by"}),
    "silent": frozenset({"after", "by"}),
}
_NEEDED: Mapping[str, tuple[str, ...]] = {
    "required": ("columns",),
    "range": ("column",),
    "allowed": ("column", "values"),
    "clock-skew": ("most",),
    "jump": ("percent",),
    "silent": ("after",),
}

OptionalNumber = Annotated[float | None, BeforeValidator(none_if_empty), Meaning("number")]
OptionalDuration = Annotated[
    Annotated[Duration, AfterValidator(at_least(0.001, "1ms"))] | None, BeforeValidator(none_if_empty), Meaning("duration")
]


class QualityRuleSection(Section):
    """One quality rule; its name is in flags, metrics and logs. Which fields belong to which check: docs/quality.md."""

    check: Annotated[CheckName, BeforeValidator(parse_lower)] = Field(
        description="What is looked at. The first five look at one record, the others at rows in their order."
    )
    on_violation: Annotated[Literal["dead-letter", "flag", "count"], BeforeValidator(parse_lower)] = Field(
        default="count",
        description="Make the record a dead letter, name the rule in the row's `_flags`, or only count. "
        "`monotonic`, `jump`, `sequence` and `silent` can only count.",
    )
    column: OptionalText = Field(
        default=None, description="For `range`, `allowed`, `jump` (default `price`) and `sequence` (default `trade_id`)."
    )
    columns: TextList = Field(
        default=(), description="For `required`: none may be null. For `crossed`: bid and ask (default `bid`, `ask`)."
    )
    min: OptionalNumber = Field(default=None, allow_inf_nan=False, description="For `range`: the least allowed.")
    max: OptionalNumber = Field(default=None, allow_inf_nan=False, description="For `range`: the most allowed.")
    values: TextList = Field(default=(), description="For `allowed`: the values there may be.")
    most: OptionalDuration = Field(
        default=None, description="For `clock-skew`: the greatest distance between event time and Kafka's."
    )
    percent: OptionalNumber = Field(
        default=None, gt=0, allow_inf_nan=False, description="For `jump`: the greatest change from one row to the next."
    )
    after: OptionalDuration = Field(default=None, description="For `silent`: how long nothing may come.")
    by: TextList = Field(
        default=("symbol",), description="For the rules about order: the columns whose values part the rows into groups."
    )

    @model_validator(mode="after")
    def _order_only_counts(self) -> Self:
        if self.check in SEQUENCES and self.on_violation != "count":
            raise ValueError(
                f"{self.check} can only count: a crash forgets what came before, and a batch that is written again must come "
                'out the same. Write on_violation = "count", or use required, range, allowed, clock-skew or crossed'
            )
        return self

    @model_validator(mode="after")
    def _fields_belong_to_the_check(self) -> Self:
        given = self.model_fields_set - {"check", "on_violation"}
        if strange := sorted(given - _TAKEN[self.check]):
            raise ValueError(f"{self.check} takes {', '.join(sorted(_TAKEN[self.check]))}, not {', '.join(strange)}")
        if missing := [name for name in _NEEDED.get(self.check, ()) if getattr(self, name) in (None, ())]:
            raise ValueError(f"{self.check} needs {' and '.join(missing)}")
        if self.check == "range" and self.min is None and self.max is None:
            raise ValueError("range needs min, max or both")
        if self.check == "range" and self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("min is greater than max: nothing would be within")
        if self.check == "crossed" and len(self.columns) not in (0, 2):
            raise ValueError('crossed compares two columns, the bid first: columns = ["bid", "ask"]')
        if not self.by:
            raise ValueError('by is empty: name the columns that part the rows into groups, such as ["symbol"]')
        return self


class AlertsSection(Section):
    """Alerts to a Kafka topic, beside the log and the metrics: quality violations, gaps, partitions refused."""

    topic: OptionalText = Field(
        default=None,
        pattern=r"^[A-Za-z0-9._-]{1,249}$",
        description="The topic; it must exist. Not set: no alerts. One JSON document each, its key the partition and the rule.",
    )


def check_rule_names(rules: Mapping[str, object]) -> None:
    """Raises `ValueError` where there are too many rules, or where one cannot be called what it is."""
    if len(rules) > RULES_MAX:
        raise ValueError(f"a stream has at most {RULES_MAX} quality rules")
    for name in rules:
        if not RULE_NAME.fullmatch(name):
            raise ValueError(
                f"quality.{name[:40]}: a rule's name begins with a lower-case letter, "
                "and has up to 32 lower-case letters, digits and underscores"
            )
