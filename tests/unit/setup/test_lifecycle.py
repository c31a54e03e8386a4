"""Lifecycle rules: what they move, and above all what they never move."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from streamer.archive.cold import CERTIFIED
from streamer.config.setup import DAY_SECONDS, NEEDED, LifecycleSection
from streamer.keys import certificate_key, layout_key
from streamer.setup.lifecycle import lines, merged, owner, rules

COLD = ("GLACIER", "DEEP_ARCHIVE")
DAYS = st.integers(1, 2000).map(lambda days: days * DAY_SECONDS) | st.none()


def moves_to_glacier(rule: dict[str, Any], key: str, tags: dict[str, str]) -> bool:
    """As S3 would see it: whether `rule` ever moves this object where a GET does not answer."""
    where = rule["Filter"].get("And", rule["Filter"])
    tagged = all(tags.get(tag["Key"]) == tag["Value"] for tag in where.get("Tags", []))
    cold = any(move["StorageClass"] in COLD for move in rule.get("Transitions", []))
    return cold and key.startswith(where.get("Prefix", "")) and tagged


@st.composite
def sections(draw: st.DrawFn) -> LifecycleSection:
    body = {name: draw(DAYS) for name in ("infrequent_after", "glacier_after", "deep_archive_after", "cache", "old_versions")}
    body["cold"] = draw(st.lists(st.sampled_from(["backups/", "logs/", "user-data/x/", "analytics/"]), max_size=3, unique=True))
    try:
        return LifecycleSection.model_validate(body)
    except ValidationError:
        return LifecycleSection()


@given(sections(), st.sampled_from(["", "lake/", "a/b/"]), st.sampled_from(NEEDED), st.text("abc/=._-", max_size=20))
def test_nothing_that_is_read_at_any_time_is_moved_to_glacier_by_its_age(
    section: LifecycleSection, prefix: str, folder: str, rest: str
) -> None:
    key = f"{prefix}{folder}{rest}"

    assert not any(moves_to_glacier(rule, key, {}) for rule in rules(section, prefix))


@given(sections(), st.sampled_from(["", "lake/"]))
def test_a_rule_touches_only_what_is_below_the_lakes_prefix(section: LifecycleSection, prefix: str) -> None:
    for rule in rules(section, prefix):
        where = rule["Filter"].get("And", rule["Filter"])
        assert where["Prefix"].startswith(prefix)
        assert len(rule["ID"]) <= 255


def test_raw_files_of_certified_days_go_to_glacier_and_others_stay() -> None:
    key = "raw/ticks/symbol=BTCUSDT/date=2024-01-01/ticks-00000-1-2.parquet"
    made = rules(LifecycleSection(), "")

    assert any(moves_to_glacier(rule, key, dict(CERTIFIED)) for rule in made)
    assert not any(moves_to_glacier(rule, key, {}) for rule in made)
    assert not any(moves_to_glacier(rule, layout_key("a" * 64), dict(CERTIFIED)) for rule in made)


def test_the_steps_are_those_of_the_configuration() -> None:
    section = LifecycleSection.model_validate({"cold": ["backups/"], "cache": "3d", "uploads": None, "old_versions": None})

    assert lines(rules(section, "x/"), "x/") == (
        "x/backups/: to GLACIER after 90 d, to DEEP_ARCHIVE after 365 d",
        "x/cache/: deleted after 3 d",
        "x/dead-letters/: to STANDARD_IA after 30 d",
        "x/features/: to STANDARD_IA after 30 d",
        "x/ohlcv/: to STANDARD_IA after 30 d",
        "x/orderbooks/: to STANDARD_IA after 30 d",
        "x/raw/, tagged streamer=certified: to GLACIER after 90 d, to DEEP_ARCHIVE after 365 d",
        "x/raw/: to STANDARD_IA after 30 d",
        "x/signals/: to STANDARD_IA after 30 d",
        "x/streams/: to STANDARD_IA after 30 d",
        "x/ticks/: to STANDARD_IA after 30 d",
    )


def test_rules_of_others_and_of_another_lake_in_the_bucket_stay() -> None:
    foreign = {"ID": "theirs", "Filter": {"Prefix": "x/"}, "Status": "Enabled"}
    neighbour = rules(LifecycleSection(), "y/")
    ours = rules(LifecycleSection(), "x/")

    after = merged([foreign, *neighbour, *rules(LifecycleSection(cache=DAY_SECONDS), "x/")], ours, "x/")

    assert after == [foreign, *neighbour, *ours]
    assert owner("a" * 400) != owner("a" * 399)


@pytest.mark.parametrize("folder", [*NEEDED, "raw/ticks/", "s/../state/x/", certificate_key.__name__])
def test_a_folder_that_something_still_reads_cannot_be_called_cold(folder: str) -> None:
    if folder.startswith(NEEDED):
        with pytest.raises(ValidationError, match="cannot be moved to GLACIER by age"):
            LifecycleSection.model_validate({"cold": [folder]})
    elif not folder.endswith("/"):
        with pytest.raises(ValidationError, match="ends in /"):
            LifecycleSection.model_validate({"cold": [folder]})


@pytest.mark.parametrize(
    ("body", "part"),
    [
        ({"infrequent_after": "20d"}, "at least 30d"),
        ({"infrequent_after": "30d", "glacier_after": "45d"}, "30d more"),
        ({"glacier_after": "365d"}, "deep_archive_after must be more than glacier_after"),
        ({"cache": "90m"}, "whole days"),
    ],
)
def test_what_s3_would_refuse_is_refused_before(body: dict[str, str], part: str) -> None:
    with pytest.raises(ValidationError, match=part):
        LifecycleSection.model_validate(body)
