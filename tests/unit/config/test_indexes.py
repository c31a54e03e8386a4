"""Which streams are indexed, where, and what cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamer import Lake
from streamer.config import Settings, load
from streamer.config.clients import table_settings
from streamer.config.index_settings import indexed_streams
from streamer.config.stream_layouts import streams
from streamer.errors import Invalid
from streamer.index.settings import IndexedStream, TableSettings, table_of_environment
from streamer.lake.opening import configured as of_lake

PULSE = {"STREAMER__STREAMS__PULSE__SCHEMA": "pulse"}


def configured(**environment: str) -> Settings:
    return load(lake="./lake", environment=environment)


def test_nothing_is_indexed_unless_a_table_is_named() -> None:
    settings = configured(**PULSE)

    assert indexed_streams(settings) == ()
    assert settings.tables == ()


def test_the_pulse_table_is_that_of_streams_of_the_schema_that_name_none() -> None:
    settings = configured(
        **PULSE,
        AWS_DYNAMODB_PULSE_TABLE="pulse-table",
        STREAMER__STREAMS__OTHER__SCHEMA="pulse",
        STREAMER__STREAMS__OTHER__TOPIC="other.v1",
        STREAMER__STREAMS__OTHER__INDEX__TABLE="other-table",
        STREAMER__STREAMS__OTHER__INDEX__CHECK_EVERY="1m",
    )

    assert set(indexed_streams(settings)) == {
        IndexedStream("pulse", "pulse", "pulse-table"),
        IndexedStream("other", "other.v1", "other-table", 60.0),
    }
    assert set(settings.tables) == {"pulse-table", "other-table"}


def test_a_table_without_a_stream_is_that_of_events_alone() -> None:
    settings = configured(AWS_DYNAMODB_PULSE_TABLE="pulse-table")

    assert indexed_streams(settings) == ()
    assert settings.tables == ("pulse-table",)


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"STREAMER__STREAMS__X__SCHEMA": "raw", "STREAMER__STREAMS__X__INDEX__TABLE": "table"}, "raw has no index"),
        ({"STREAMER__STREAMS__TICKS__INDEX__TABLE": "a b"}, "letters, digits"),
        ({"AWS_DYNAMODB_PULSE_TABLE": "x"}, "3 to 255"),
        (
            {"STREAMER__STREAMS__TICKS__INDEX__TABLE": "same", "STREAMER__STREAMS__SIGNALS__INDEX__TABLE": "same"},
            "share the table same",
        ),
    ],
)
def test_what_cannot_be_is_refused(environment: dict[str, str], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        configured(**environment)


def test_folders_that_do_not_begin_with_the_date_are_a_warning() -> None:
    by_symbol = configured(STREAMER__STREAMS__TICKS__INDEX__TABLE="ticks-table")
    by_date = configured(STREAMER__STREAMS__TICKS__INDEX__TABLE="ticks-table", STREAMER__STREAMS__TICKS__PATH="date={date}")

    assert ["streams.ticks.index" in warning for warning in by_symbol.warnings] == [True]
    assert by_date.warnings == ()


def test_the_table_is_reached_as_the_configuration_or_the_environment_says() -> None:
    settings = configured(AWS_REGION="eu-west-1", AWS_ENDPOINT_URL_DYNAMODB="http://localhost:1")
    there = {"AWS_DYNAMODB_PULSE_TABLE": "table", "AWS_DEFAULT_REGION": "eu-west-1", "AWS_ENDPOINT_URL": "http://localhost:2"}

    assert table_settings(settings, "table") == TableSettings("table", "eu-west-1", "http://localhost:1")
    assert table_of_environment(there) == TableSettings("table", "eu-west-1", "http://localhost:2")
    assert table_of_environment({"AWS_DYNAMODB_PULSE_TABLE": " "}) is None
    ours = {"AWS_DYNAMODB_PULSE_TABLE": "theirs", "STREAMER__DYNAMODB__PULSE_TABLE": "ours"}
    assert (configured(**ours).dynamodb.pulse_table, table_of_environment(ours)) == ("ours", TableSettings("ours"))


def test_a_lake_of_the_environment_has_the_table_of_its_environment_or_of_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AWS_DYNAMODB_PULSE_TABLE", "of-the-process")
    file = tmp_path / "mine.toml"
    file.write_text('[dynamodb]\npulse_table = "of-the-file"\nregion = "eu-west-1"\n')

    assert of_lake({}) == ({}, None)
    assert of_lake({"AWS_DYNAMODB_PULSE_TABLE": "given"})[1] == TableSettings("given")
    assert of_lake({}, file)[1] == TableSettings("of-the-file", "eu-west-1")
    with Lake.from_env({"LOCAL_STORAGE_PATH": "./lake", "ENABLE_CACHE": "false"}) as lake:
        lake.events.store({"timestamp": "2024-01-15T10:00:00Z", "ticker": "BTC"})
        assert [event["ticker"] for event in lake.events.get("2024-01-15")] == ["BTC"]


def test_the_schemas_own_rules_hold_unless_the_user_has_one_for_the_column() -> None:
    def rules(**environment: str) -> list[str]:
        (stream,) = (each for each in streams(configured(**PULSE, **environment)) if each.name == "pulse")
        return [str(rule) for rule in stream.layout.rules]

    assert rules() == ["stress >= 0", "stress <= 1"]
    assert rules(STREAMER__STREAMS__PULSE__RULES="velocity > 0") == ["stress >= 0", "stress <= 1", "velocity > 0"]
    assert rules(STREAMER__STREAMS__PULSE__RULES="stress < 5") == ["stress < 5"]
    assert rules(STREAMER__STREAMS__PULSE__COLUMNS__STRESS="string") == []


def test_the_pulse_bucket_is_the_lake_where_no_other_is_named() -> None:
    assert load(environment={"AWS_S3_PULSE_BUCKET": "pulse"}).lake.url == "s3://pulse"
    assert load(environment={"AWS_S3_PULSE_BUCKET": "pulse", "S3_BUCKET": "other"}).lake.url == "s3://other"
