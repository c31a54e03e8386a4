"""From the sections of the streams to streams as the pipeline runs them, layouts included. Pure.

Everything that a layout can be wrong about is found here, before anything is connected.
"""

from __future__ import annotations

import pyarrow as pa

from streamer.config.quality_rules import demand_fitting, layout_checks, quality_rules
from streamer.config.settings import Settings
from streamer.config.stream import PATHS, HistorySection, StreamSection
from streamer.config.values import parse_rule
from streamer.errors import Invalid
from streamer.layout import Column, Layout, Rule, arrow_type
from streamer.schemas import RULES, SCHEMAS, columns_of
from streamer.streams import CutLimits, HistorySpec, Stream
from streamer.write.partition_path import PartitionPath


def streams(settings: Settings) -> tuple[Stream, ...]:
    """The enabled streams, in the order of the configuration.

    Raises `Invalid`, naming the stream, for columns, types, aliases, rules or path templates that cannot be.
    """
    return tuple(_stream(name, section) for name, section in settings.enabled_streams.items())


def _stream(name: str, section: StreamSection) -> Stream:
    try:
        layout = _layout(name, section)
    except Invalid as error:
        raise Invalid(f"streams.{name}: {error.message}", hint=error.hint, **error.context) from error
    cut = section.cut
    rules = quality_rules(section.quality)
    return Stream(
        name=name,
        topic=section.topic or name,
        layout=layout,
        cut=CutLimits(rows=cut.rows, bytes=cut.bytes, age_seconds=cut.age, idle_seconds=cut.idle),
        allowed_lateness_seconds=section.allowed_lateness,
        history=_history(section.history) if section.history is not None else None,
        quality=rules,
    )


def _history(section: HistorySection) -> HistorySpec:
    return HistorySpec(
        window=section.window,
        snapshot_every_seconds=section.snapshot_every,
        document=section.document,
        max_symbols=section.max_symbols,
        keep=section.keep,
        arrow=section.arrow,
    )


def _layout(name: str, section: StreamSection) -> Layout:
    built_in = {column.name for column in SCHEMAS[section.schema_name]}
    columns = columns_of(
        section.schema_name,
        {column: type_ for column, type_ in section.columns.items() if column not in built_in},
        section.aliases,
        {column: type_ for column, type_ in section.columns.items() if column in built_in},
    )
    path = PATHS[section.schema_name] if section.path is None else section.path
    PartitionPath.parse(path, columns)
    rules = quality_rules(section.quality)
    layout = Layout(
        stream=name,
        schema=section.schema_name,
        columns=columns,
        path=path,
        format=section.format,
        unknown=section.unknown,
        timestamp_fallback=section.timestamp_fallback,
        rules=(*_default_rules(section, columns), *(_rule(text, columns) for text in section.rules)),
        checks=layout_checks(rules),
    )
    demand_fitting(rules, layout)
    return layout


def _default_rules(section: StreamSection, columns: tuple[Column, ...]) -> tuple[Rule, ...]:
    """Those of the schema, for numbers that no rule of the user's is about."""
    named = {parse_rule(text)[0] for text in section.rules}
    numbers = {column.name for column in columns if _is_number(column)} - named
    return tuple(_rule(text, columns) for text in RULES.get(section.schema_name, ()) if parse_rule(text)[0] in numbers)


def _rule(text: str, columns: tuple[Column, ...]) -> Rule:
    name, operator, limit = parse_rule(text)
    column = next((c for c in columns if c.name == name), None)
    if column is None:
        known = ", ".join(c.name for c in columns if _is_number(c))
        raise Invalid(f"rule {text!r} names a column that is not there", hint=f"use one of {known}, or declare the column")
    if not _is_number(column):
        raise Invalid(f"rule {text!r} compares {column.type} with a number", hint="rules are for columns of numbers")
    return Rule(name, operator, limit)


def _is_number(column: Column) -> bool:
    kind, kinds = arrow_type(column.type), pa.types
    return bool(kinds.is_integer(kind) or kinds.is_floating(kind) or kinds.is_decimal(kind))
