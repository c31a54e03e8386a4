"""`streamer plan`: its arithmetic against what the real encoder writes, and its command line."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import pytest

from streamer.config import Settings, load
from streamer.config.stream_layouts import streams
from streamer.decode.decoder import make_decoder
from streamer.embedded.market import Market
from streamer.errors import Invalid
from streamer.records import BatchRange, RecordChunk, TopicPartition
from streamer.setup.estimate import GOOD_FILE_BYTES, StreamEstimate, estimate, process
from streamer.setup.prices import CLASSES, REQUESTS, prices
from streamer.setup.traffic import Sizes, Traffic, measured_rate, measured_sizes, of_the_market
from streamer.streams import Stream
from streamer.write.batch_files import BatchWriter

START = datetime(2024, 1, 1, 12, tzinfo=UTC)


def configured(**variables: str) -> tuple[Settings, Stream]:
    settings = load(lake="s3://lake", environment={f"STREAMER__{name}": value for name, value in variables.items()})
    return settings, streams(settings)[0]


def ticks(count: int, rate: float) -> RecordChunk:
    """So many good ticks of the demo's market, of one partition."""
    messages = ((at, m) for at, m in Market(5, START, rate).messages() if m.topic == "ticks" and m.refusal is None)
    found = list(islice(messages, count))
    stamps = [int((START.timestamp() + at) * 1000) for at, _ in found]
    return RecordChunk(
        TopicPartition("ticks", 0), 0, count, list(range(count)), stamps, [m.key for _, m in found], [m.value for _, m in found]
    )


def traffic(rate: float, *, partitions: int = 1, folders: int = 1, row_bytes: float = 20.0) -> Traffic:
    return Traffic(rate, partitions, folders, Sizes(150.0, row_bytes, 4000.0, folders, "made up"), "stated")


def one(settings: Settings, stream: Stream, what: Traffic) -> StreamEstimate:
    return estimate(stream, what, settings, prices())


def test_the_files_of_a_batch_are_as_many_and_as_large_as_the_encoder_makes_them() -> None:
    settings, stream = configured(STREAMS__TICKS__ALIASES='{"price": ["p"], "quantity": ["q"], "trade_id": ["t"]}')
    chunk = ticks(6000, 100.0)
    decoded = make_decoder(stream.layout).decode(chunk)
    plan = BatchWriter(stream.layout).plan(BatchRange(chunk.source, 0, 6000), [decoded.table], [])
    written = [len(file.encode().body) for file in plan.files]

    measured = measured_sizes(stream, [ticks(3000, 100.0)], "a smaller sample")
    found = one(settings, stream, Traffic(100.0, 1, measured.folders, measured, "stated"))

    assert found.batch_seconds == pytest.approx(60, rel=0.01)
    batches = 86_400 / found.batch_seconds
    assert found.files / batches == pytest.approx(len(written), rel=0.01)
    assert found.file_bytes == pytest.approx(sum(written) / len(written), rel=0.35)


def test_a_rate_is_measured_over_the_times_of_the_records() -> None:
    chunk = ticks(1000, 250.0)
    twin = RecordChunk(TopicPartition("ticks", 1), 0, 1000, chunk.offsets, chunk.timestamps, chunk.keys, chunk.values)

    assert measured_rate([chunk]) == pytest.approx(250, rel=0.1)
    assert measured_rate([chunk, twin]) == pytest.approx(500, rel=0.1)


def test_records_of_one_instant_tell_no_rate() -> None:
    chunk = RecordChunk(TopicPartition("ticks", 0), 0, 2, [0, 1], [5, 5], [None, None], [b"{}", b"{}"])

    with pytest.raises(Invalid) as error:
        measured_rate([chunk])
    assert "--rate" in error.value.hint


@pytest.mark.parametrize(
    ("variables", "rate", "cut_by", "seconds"),
    [
        ({"AGE": "10s"}, 1000.0, "age", 10.0),
        ({"ROWS": "5000"}, 1000.0, "rows", 5.0),
        ({"BYTES": "150000"}, 1000.0, "bytes", 1.0),
        ({"IDLE": "1s"}, 0.1, "idle", 10.0),
    ],
)
def test_the_limit_that_comes_first_makes_the_cut(variables: dict[str, str], rate: float, cut_by: str, seconds: float) -> None:
    settings, stream = configured(**{f"STREAMS__TICKS__CUT__{name}": value for name, value in variables.items()})
    found = one(settings, stream, traffic(rate))

    assert found.cut_by == cut_by
    assert found.batch_seconds == pytest.approx(seconds, rel=0.01)


def test_more_folders_make_more_and_smaller_files_and_cost_more_puts() -> None:
    settings, stream = configured()
    few, many = (one(settings, stream, traffic(1000.0, folders=folders)) for folders in (10, 1000))

    assert many.files > 50 * few.files
    assert many.file_bytes < few.file_bytes < GOOD_FILE_BYTES
    assert many.dollars_first_month > few.dollars_first_month
    assert any("take the symbol out of the path" in remark for remark in many.remarks)


def test_what_retention_removes_is_not_paid_for() -> None:
    for_ever, stream = configured()
    a_month, _ = configured(RETENTION__RAW="30d", RETENTION__DRY_RUN="false")
    kept, removed = (one(settings, stream, traffic(5000.0)) for settings in (for_ever, a_month))

    assert removed.dollars_after_a_year < 0.7 * kept.dollars_after_a_year
    assert removed.dollars_first_month == kept.dollars_first_month


def test_what_does_not_fit_into_the_budget_is_said() -> None:
    settings, stream = configured(MEMORY__BUDGET="16MiB", STREAMS__TICKS__CUT__AGE="20s")
    whole = process([one(settings, stream, traffic(10_000.0))], settings)

    assert whole.buffered_bytes == pytest.approx(10_000 * 20 * 150, rel=0.01)
    assert any("memory.budget" in remark for remark in whole.remarks)


@pytest.mark.parametrize("schema", ["tick", "signal", "feature", "orderbook", "raw"])
@pytest.mark.parametrize("format_", ["parquet", "ndjson.zst", "ndjson.gz"])
def test_every_schema_and_format_has_sizes(schema: str, format_: str) -> None:
    settings = load(
        lake="s3://lake",
        environment={"STREAMER__STREAMS__MINE__SCHEMA": schema, "STREAMER__STREAMS__MINE__FORMAT": format_},
    )
    (mine,) = [stream for stream in streams(settings) if stream.name == "mine"]
    sizes = of_the_market(mine)

    assert 0 < sizes.row_bytes < sizes.message_bytes * 2
    assert sizes.folders >= 1


def test_a_stream_whose_records_become_no_rows_counts_them_as_they_are() -> None:
    _, stream = configured()
    chunk = RecordChunk(TopicPartition("ticks", 0), 0, 2, [0, 1], [5, 6], [None, None], [b"nonsense", b"nonsense"])

    assert measured_sizes(stream, [chunk], "x").row_bytes == 8


def test_the_price_list_has_a_date_and_every_price() -> None:
    listed = prices()

    assert datetime.fromisoformat(listed.date)
    assert "--prices" in listed.source
    assert set(CLASSES) <= set(listed.gb_month)
    assert set(REQUESTS) <= set(listed.per_1000)
    assert listed.storage(1e9, "STANDARD") == listed.gb_month["STANDARD"]


@pytest.mark.parametrize(
    ("text", "part"), [("{}", "is none"), ("nonsense", "is none"), ('{"gb_month": {}}', "is none"), (None, "cannot be read")]
)
def test_a_file_that_is_no_price_list_is_refused(tmp_path: Path, text: str | None, part: str) -> None:
    file = tmp_path / "prices.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(Invalid, match=part):
        prices(file)


def test_a_price_list_of_ones_own_counts(tmp_path: Path) -> None:
    settings, stream = configured()
    theirs = json.loads((Path(estimate.__code__.co_filename).parent / "prices.json").read_text())
    theirs["per_1000"]["put"] *= 1000
    (tmp_path / "prices.json").write_text(json.dumps(theirs))
    listed, dear = (estimate(stream, traffic(100.0), settings, p) for p in (prices(), prices(tmp_path / "prices.json")))

    assert dear.dollars_first_month > 100 * listed.dollars_first_month
    theirs["gb_month"].pop("GLACIER")
    (tmp_path / "prices.json").write_text(json.dumps(theirs))
    with pytest.raises(Invalid, match="lacks GLACIER"):
        prices(tmp_path / "prices.json")
