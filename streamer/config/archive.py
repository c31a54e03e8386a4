"""The sections about closed days: how they are archived, and what may be removed once they are."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from streamer.archive.interval import Interval
from streamer.config.sections import Section
from streamer.config.values import Duration, Meaning, Size, TextList, at_least, none_if_empty
from streamer.errors import Invalid


def check_intervals(value: tuple[str, ...]) -> tuple[str, ...]:
    """Lengths of bars. Raises `ValueError`."""
    try:
        found = [Interval.parse(text) for text in value]
    except Invalid as error:
        raise ValueError(f"{error.message}: {error.hint}") from None
    if len(set(found)) < len(found):
        raise ValueError("an interval is there twice")
    return value


Days = Annotated[
    Annotated[Duration, AfterValidator(at_least(86_400, "1d"))] | None, BeforeValidator(none_if_empty), Meaning("duration")
]


class ArchiveSection(Section):
    """How a day is closed once it is complete: compacted files, bars, a summary, and the certificate."""

    enabled: bool = Field(
        default=True, description="Whether the daemon closes days by itself. `streamer archive` does it by hand."
    )
    streams: TextList = Field(
        default=(),
        description="The streams whose days are closed; none named: all of the schemas tick, signal, feature and orderbook.",
    )
    intervals: Annotated[TextList, AfterValidator(check_intervals)] = Field(
        default=("1m",), description='Lengths of the bars made of ticks, such as `["1m", "5m", "1h"]`; each divides a day.'
    )
    fill: bool = Field(
        default=False, description="Bars for times without a trade, too, between the first and the last of the day."
    )
    lateness: Duration = Field(
        default=600.0, description="How long after its end a day is left alone, so that stragglers cost no second revision."
    )
    gap_threshold: Duration = Field(
        default=60.0, description="Times without a tick longer than this are in the day's summary; `0s` looks for none."
    )
    memory: Annotated[Size, AfterValidator(at_least(16 << 20, "16MiB"))] = Field(
        default=128 << 20,
        description="For the rows of a day that is being closed, beside `memory.budget`; more goes to the disk.",
    )
    check_every: Annotated[Duration, AfterValidator(at_least(1, "1s"))] = Field(
        default=300.0, description="How often the daemon looks whether a day is complete."
    )
    reopen_every: Annotated[Duration, AfterValidator(at_least(1, "1s"))] = Field(
        default=6 * 3600.0, description="How often it lists the lake for data of certified days that came late."
    )
    lease: Annotated[Duration, AfterValidator(at_least(5, "5s"))] = Field(
        default=60.0, description="How long after the death of a replica another one closes days in its place."
    )


class RetentionSection(Section):
    """What is removed of days whose certificate was verified just before. Nothing, where nothing is set."""

    raw: Days = Field(
        default=None, description="Data files below `raw/`, so long after the end of their day. Never where not set."
    )
    dead_letters: Days = Field(
        default=None, description="Files below `dead-letters/`, so long after the end of their day. Never where not set."
    )
    snapshots: Days = Field(
        default=None,
        description="Older versions of feature histories (`history.keep`), so long after the end of the day on which they were "
        "written; the newest stays. Never where not set.",
    )
    dry_run: bool = Field(
        default=True, description="Only log what would be removed. Set it to false when the log is as you want it."
    )
