"""From the section `[archive]` to what the rooms of the archive work with. Pure."""

from __future__ import annotations

from streamer.archive.interval import Interval
from streamer.archive.retention import RetentionSettings
from streamer.archive.settings import PLAIN_NAMES, ArchivedStream, ArchiveSettings, Recipe
from streamer.config.quality_rules import quality_rules
from streamer.config.settings import Settings
from streamer.errors import Invalid

ARCHIVED_SCHEMAS = tuple(PLAIN_NAMES)


def archive_settings(settings: Settings) -> ArchiveSettings:
    """What is archived, and how. Raises `Invalid` where `archive.streams` names a stream that cannot be."""
    section = settings.archive
    enabled = settings.enabled_streams
    names = section.streams or tuple(name for name, stream in enabled.items() if stream.schema_name in ARCHIVED_SCHEMAS)
    streams = []
    for name in names:
        stream = enabled.get(name)
        if stream is None or stream.schema_name not in ARCHIVED_SCHEMAS:
            known = ", ".join(n for n, s in enabled.items() if s.schema_name in ARCHIVED_SCHEMAS)
            raise Invalid(
                f"archive.streams names {name!r}, which is no enabled stream of ticks, signals, features or order books",
                hint=f"there are {known or 'none'}",
            )
        streams.append(ArchivedStream(name, stream.topic or name, stream.schema_name, quality_rules(stream.quality)))
    return ArchiveSettings(
        streams=tuple(streams),
        recipe=Recipe(tuple(map(Interval.parse, section.intervals)), section.fill, section.gap_threshold),
        lateness_seconds=section.lateness,
        budget_bytes=section.memory,
        check_seconds=section.check_every,
        reopen_seconds=section.reopen_every,
        lease_seconds=section.lease,
    )


def retention_settings(settings: Settings) -> RetentionSettings | None:
    """What is removed of certified days; None where nothing is."""
    section = settings.retention
    if section.raw is None and section.dead_letters is None and section.snapshots is None:
        return None
    documents = tuple(s.history.document for s in settings.enabled_streams.values() if s.history is not None)
    return RetentionSettings(section.raw, section.dead_letters, section.dry_run, section.snapshots, documents)
