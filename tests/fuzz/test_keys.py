"""The names of the lake: every parser is the exact inverse of its builder, for any text; no message can name another's file."""

from __future__ import annotations

import contextlib
import posixpath
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer import keys
from streamer.errors import Invalid
from streamer.models.name import ModelName, kept_name
from streamer.records import BatchRange, TopicPartition
from streamer.schemas import columns_of
from streamer.store.limits import check_key
from streamer.store.open import open_store
from streamer.store.s3_settings import S3Settings
from streamer.testing.manual_clock import ManualClock
from streamer.write.partition_path import PartitionPath
from tests.fuzz.mutations import torn
from tests.fuzz.profile import examples

SOURCES = st.builds(
    TopicPartition,
    st.from_regex(r"[A-Za-z0-9._-]{1,20}", fullmatch=True).filter(lambda topic: topic not in (".", "..")),
    st.integers(0, 2**31),
)
RANGES = st.builds(
    lambda source, start, size, lineage: BatchRange(source, start, start + size, lineage),
    SOURCES, st.integers(0, 2**62), st.integers(1, 2**61), st.integers(0, 10**9),
)  # fmt: skip
KEYS = st.one_of(
    st.builds(
        keys.data_key, st.just("ticks"), st.sampled_from(["", "date=2026-01-03", "symbol=B/date=x"]), RANGES, st.just("parquet")
    ),
    st.builds(keys.dead_letter_key, st.just("ticks"), st.just("2026-01-03"), RANGES),
    st.builds(keys.position_key, SOURCES),
    st.builds(keys.feature_history_key, SOURCES),
    st.builds(keys.kept_key, st.just("state/h.json"), st.datetimes(datetime(1970, 1, 1), timezones=st.just(UTC))),
    st.builds(keys.model_version_key, st.just("hmm.x"), st.integers(1, 10**9), st.sampled_from(["", ".pkl", ".tar.gz"])),
    st.builds(keys.model_registry_key, st.just("hmm")),
    st.builds(keys.certificate_key, st.dates()),
)
DIGITS = str.maketrans("0123456789", "\u0660\u0661\u0662\u0663\u0664\u0665\u0666\u0667\u0668\u0669")
NEARLY = st.one_of(
    KEYS,
    KEYS.flatmap(lambda key: torn(key.encode()).map(lambda body: body.decode(errors="replace"))),
    KEYS.map(lambda key: key.translate(DIGITS)),
    KEYS.map(lambda key: key + "\n"),
    st.text(max_size=40),
)


def built_again(key: str) -> list[str]:
    """The keys that come of what each parser finds in `key`."""
    found: list[Any] = []
    if (data := keys.parse_data_key(key)) is not None:
        top = keys.DEAD_LETTERS if data.dead_letters else keys.RAW
        parts = [data.stream, data.partition_path] if data.partition_path else [data.stream]
        found.append(top + "/".join([*parts, keys.file_name(data.range, data.suffix)]))
    if (source := keys.parse_position_key(key)) is not None:
        found.append(keys.position_key(source))
    if (source := keys.parse_feature_history_key(key)) is not None:
        found.append(keys.feature_history_key(source))
    if (written := keys.parse_kept_key("state/h.json", key)) is not None:
        found.append(keys.kept_key("state/h.json", written))
    if (version := keys.parse_model_version_key(key)) is not None:
        found.append(keys.model_version_key(version.stem, version.n, version.suffix))
    if (stem := keys.parse_model_registry_key(key)) is not None:
        found.append(keys.model_registry_key(stem))
    if (day := keys.parse_certificate_key(key)) is not None:
        found.append(keys.certificate_key(day))
    return found


@examples(300)
@given(NEARLY)
def test_what_any_parser_finds_in_any_key_builds_that_key_again(key: str) -> None:
    assert all(again == key for again in built_again(key))


@examples(100)
@given(KEYS)
def test_every_key_that_is_built_is_a_key_that_one_parser_knows(key: str) -> None:
    check_key(key)
    assert built_again(key) == [key]


TEMPLATES = st.sampled_from(
    ["{symbol}", "symbol={symbol}/date={date}", "{symbol}/{side}", "{side}={symbol}/%Y/%m/%d/%H", "s={symbol}/n={n}/{date}"]
)
VALUES = st.one_of(
    st.none(),
    st.text(max_size=12),
    st.sampled_from(["", ".", "..", "../../x", "a/b", "a%2Fb", "%", "%25", "a\x00", "\n", "_", "-", "\U0001f600", "x" * 300]),
    st.sampled_from(["=", "\\", "A", "a"]),
)


def paths_of(template: str, rows: list[tuple[str | None, str | None, int]]) -> list[str]:
    columns = columns_of("tick", {"n": "int64"})
    table = pa.table(
        {
            "symbol": pa.array([row[0] for row in rows], pa.string()),
            "side": pa.array([row[1] for row in rows], pa.string()),
            "n": pa.array([row[2] for row in rows], pa.int64()),
            "timestamp": pa.array([datetime(2026, 1, 3, tzinfo=UTC)] * len(rows), pa.timestamp("us", tz="UTC")),
            "_offset": pa.array(range(len(rows)), pa.int64()),
        }
    )
    found: list[str] = [""] * len(rows)
    for path, part in PartitionPath.parse(template, columns).groups(table):
        for offset in part["_offset"].to_pylist():
            found[offset] = path
    return found


@examples(150)
@given(TEMPLATES, st.lists(st.tuples(VALUES, VALUES, st.integers(-5, 5)), min_size=1, max_size=6))
def test_no_value_of_a_message_leaves_its_folder_or_meets_another(
    template: str, rows: list[tuple[str | None, str | None, int]]
) -> None:
    found = paths_of(template, rows)

    used = [name for name in ("symbol", "side", "n") if f"{{{name}}}" in template]
    told = [tuple(dict(zip(("symbol", "side", "n"), row, strict=True))[name] for name in used) for row in rows]
    for path, values in zip(found, told, strict=True):
        key = keys.data_key("ticks", path, BatchRange(TopicPartition("t", 0), 0, 1), "parquet")
        check_key(key)
        assert posixpath.normpath(key) == key
        assert path.count("/") == template.count("/")
        assert path.isascii()
        assert all((path == other) == (values == mine) for other, mine in zip(found, told, strict=True))


@examples(150)
@given(st.text(max_size=12), st.text(max_size=12))
def test_a_models_name_is_one_segment_or_refused(stem: str, suffix: str) -> None:
    names = []
    with contextlib.suppress(Invalid):
        names.append(ModelName.of_file(stem + suffix))
    with contextlib.suppress(ValueError):
        names.append(kept_name(stem, suffix))
    for name in names:
        assert "/" not in name.file
        assert name.file not in ("", ".", "..")
        check_key(name.copy_key)


@pytest.mark.parametrize("prefix", ["a/../b", "../x", "a//b", "./a", "a/\x00", "a/..", ".."])
def test_a_lakes_prefix_cannot_lead_out_of_itself(prefix: str) -> None:
    with pytest.raises(Invalid):
        open_store(f"s3://bucket/{prefix}", S3Settings(), ManualClock())


@examples(100)
@given(st.text(max_size=20))
def test_any_text_for_a_lake_is_a_place_or_invalid(text: str) -> None:
    for url in (text, f"s3://{text}", f"file://{text}", f"s3://bucket/{text}"):
        with contextlib.suppress(Invalid):
            assert open_store(url, S3Settings(), ManualClock()).url


def test_the_day_of_a_certificate_is_a_day_of_the_calendar() -> None:
    assert keys.parse_certificate_key("archive/2026-02-30.json") is None
    assert keys.parse_certificate_key("archive/2026-02-28.json") == date(2026, 2, 28)
