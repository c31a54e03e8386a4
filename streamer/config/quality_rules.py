"""From the sections of a stream's quality rules to the rules themselves. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from streamer.config.quality import SEQUENCES, QualityRuleSection
from streamer.errors import Invalid
from streamer.layout import Check, CheckKind, Layout
from streamer.quality.checks import columns_of_skew
from streamer.quality.fitting import problems
from streamer.quality.sequences import default_column
from streamer.quality_rules import QualityRules, Sequence, SequenceKind


def quality_rules(sections: Mapping[str, QualityRuleSection]) -> QualityRules:
    """The rules, in the order of the configuration."""
    checks = tuple(_check(name, section) for name, section in sections.items() if section.check not in SEQUENCES)
    sequences = tuple(_sequence(name, section) for name, section in sections.items() if section.check in SEQUENCES)
    return QualityRules(checks, sequences)


def layout_checks(rules: QualityRules) -> tuple[Check, ...]:
    """The rules that decide what files hold."""
    return tuple(check for check in rules.checks if check.on_violation != "count")


def demand_fitting(rules: QualityRules, layout: Layout) -> None:
    """Raises `Invalid` where a rule cannot be applied to the rows of `layout`."""
    for name, problem in problems(rules, layout.arrow_schema):
        known = ", ".join(column.name for column in layout.columns)
        raise Invalid(f"quality.{name}: {problem}", hint=f"there are {known}; declare others under columns")


def _check(name: str, section: QualityRuleSection) -> Check:
    kind = cast("CheckKind", section.check)
    if kind == "required":
        return Check(name, kind, section.on_violation, tuple(dict.fromkeys(section.columns)))
    if kind == "crossed":
        return Check(name, kind, section.on_violation, section.columns or ("bid", "ask"))
    if kind == "clock-skew":
        return Check(name, kind, section.on_violation, columns_of_skew(), most=section.most)
    return Check(
        name, kind, section.on_violation, (section.column or "",), least=section.min, most=section.max, values=section.values
    )


def _sequence(name: str, section: QualityRuleSection) -> Sequence:
    kind = cast("SequenceKind", section.check)
    limit = section.percent if kind == "jump" else section.after if kind == "silent" else None
    return Sequence(name, kind, section.column or default_column(kind), tuple(dict.fromkeys(section.by)), limit or 0.0)
