"""Which rules can be applied to which tables."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from streamer.quality import checks, sequences
from streamer.quality_rules import QualityRules


def problems(rules: QualityRules, schema: pa.Schema) -> Iterator[tuple[str, str]]:
    """The rules that cannot be applied to tables of `schema`, by name, and why."""
    for check in rules.checks:
        if found := checks.problem(check, schema):
            yield check.name, found
    for rule in rules.sequences:
        if found := sequences.problem(rule, schema):
            yield rule.name, found


def fitting(rules: QualityRules, schema: pa.Schema) -> QualityRules:
    """The rules that can be applied to tables of `schema`."""
    out = dict(problems(rules, schema))
    return QualityRules(
        tuple(check for check in rules.checks if check.name not in out),
        tuple(rule for rule in rules.sequences if rule.name not in out),
    )
