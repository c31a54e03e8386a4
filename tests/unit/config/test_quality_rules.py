"""Quality rules as people write them: what is accepted, what is refused and why, and what of it is part of the layout."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamer.config import Settings, load
from streamer.config.stream_layouts import streams
from streamer.errors import Invalid
from streamer.layout import FLAGS, Check, Layout
from streamer.quality_rules import Sequence
from streamer.streams import Stream

RULES = """
[streams.ticks.columns]
bid = "float64"
ask = "float64"
[streams.ticks.quality.price_range]
check = "range"
column = "price"
min = 0
max = 1e6
on_violation = "dead-letter"
[streams.ticks.quality.side_known]
check = "allowed"
column = "side"
values = ["buy", "sell"]
on_violation = "flag"
[streams.ticks.quality.whole]
check = "required"
columns = ["quantity", "exchange"]
[streams.ticks.quality.skew]
check = "clock-skew"
most = "5m"
on_violation = "flag"
[streams.ticks.quality.crossed]
check = "crossed"
[streams.ticks.quality.ordered]
check = "monotonic"
[streams.ticks.quality.jump]
check = "jump"
percent = 10
[streams.ticks.quality.ids]
check = "sequence"
by = ["symbol", "exchange"]
[streams.ticks.quality.alive]
check = "silent"
after = "1m"
"""


def configured(directory: Path, toml: str, **environment: str) -> Settings:
    (directory / "streamer.toml").write_text(toml)
    return load(environment={"S3_BUCKET": "bucket", **environment}, directory=directory)


def ticks(settings: Settings) -> Stream:
    return next(stream for stream in streams(settings) if stream.name == "ticks")


def test_every_kind_of_rule_can_be_written(tmp_path: Path) -> None:
    found = ticks(configured(tmp_path, RULES))

    assert found.quality.checks == (
        Check("price_range", "range", "dead-letter", ("price",), 0.0, 1e6),
        Check("side_known", "allowed", "flag", ("side",), values=("buy", "sell")),
        Check("whole", "required", "count", ("quantity", "exchange")),
        Check("skew", "clock-skew", "flag", ("timestamp", "_timestamp"), most=300.0),
        Check("crossed", "crossed", "count", ("bid", "ask")),
    )
    assert found.quality.sequences == (
        Sequence("ordered", "monotonic", "timestamp"),
        Sequence("jump", "jump", "price", limit=10.0),
        Sequence("ids", "sequence", "trade_id", ("symbol", "exchange")),
        Sequence("alive", "silent", "_timestamp", limit=60.0),
    )


def test_only_rules_that_change_files_are_part_of_the_layout(tmp_path: Path) -> None:
    plain = ticks(configured(tmp_path, '[streams.ticks.columns]\nbid = "float64"\nask = "float64"')).layout
    full = ticks(configured(tmp_path, RULES)).layout
    counting = RULES.replace('on_violation = "dead-letter"', "").replace('on_violation = "flag"', "")

    assert [check.name for check in full.checks] == ["price_range", "side_known", "skew"]
    assert full.fingerprint != plain.fingerprint
    assert full.arrow_schema.names == [*plain.arrow_schema.names, FLAGS]
    assert ticks(configured(tmp_path, counting)).layout == plain


def test_a_layout_without_rules_keeps_the_fingerprint_it_had_before_there_were_any() -> None:
    assert "checks" not in Layout("ticks", "tick", (), "").document()
    assert Layout("ticks", "tick", (), "").fingerprint == "dcecb59fd25d3213"


def test_a_layout_with_rules_is_read_back_from_its_document(tmp_path: Path) -> None:
    layout = ticks(configured(tmp_path, RULES)).layout

    read = Layout.from_document(layout.document())

    assert (read, read.fingerprint) == (layout, layout.fingerprint)


def test_a_rule_can_be_set_by_variables(tmp_path: Path) -> None:
    before = "STREAMER__STREAMS__TICKS__QUALITY__PRICE__"
    found = configured(tmp_path, "", **{f"{before}CHECK": "RANGE", f"{before}COLUMN": "price", f"{before}MIN": "0.5"})

    assert ticks(found).quality.checks == (Check("price", "range", "count", ("price",), 0.5),)


@pytest.mark.parametrize("action", ["dead-letter", "flag"])
@pytest.mark.parametrize(
    "body", ['check = "monotonic"', 'check = "jump"\npercent = 5', 'check = "sequence"', 'check = "silent"\nafter = 1']
)
def test_a_rule_about_order_that_would_change_files_is_refused_with_the_reason(tmp_path: Path, body: str, action: str) -> None:
    with pytest.raises(Invalid, match="a crash forgets what came before"):
        configured(tmp_path, f'[streams.ticks.quality.r]\n{body}\non_violation = "{action}"')


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('check = "range"\ncolumn = "price"', "range needs min, max or both"),
        ('check = "range"\nmin = 1', "range needs column"),
        ('check = "range"\ncolumn = "price"\nmin = 2\nmax = 1', "min is greater than max"),
        ('check = "range"\ncolumn = "price"\nmin = nan', "finite"),
        ('check = "allowed"\ncolumn = "side"', "allowed needs values"),
        ('check = "allowed"\ncolumn = "side"\nvalues = ["a"]\nmin = 1', "not min"),
        ('check = "jump"', "jump needs percent"),
        ('check = "jump"\npercent = 0', "greater than 0"),
        ('check = "silent"', "silent needs after"),
        ('check = "clock-skew"', "clock-skew needs most"),
        ('check = "required"', "required needs columns"),
        ('check = "crossed"\ncolumns = ["bid"]', "two columns"),
        ('check = "crossed"', "no column 'bid'"),
        ('check = "range"\ncolumn = "side"\nmin = 1', "must hold numbers"),
        ('check = "allowed"\ncolumn = "price"\nvalues = ["cheap"]', "none of the column price"),
        ('check = "monotonic"\nby = ["venue"]', "no column 'venue'"),
        ('check = "monotonic"\nby = []', "by is empty"),
        ('check = "sequence"\ncolumn = "price"', "whole numbers or text"),
        ('check = "jump"\npercent = 1\ncolumn = "side"', "must hold numbers"),
        ('check = "typo"', "check"),
    ],
)
def test_a_rule_that_cannot_be_is_refused_and_named(tmp_path: Path, body: str, said: str) -> None:
    with pytest.raises(Invalid) as refused:
        streams(configured(tmp_path, f"[streams.ticks.quality.mine]\n{body}"))

    assert "quality.mine" in str(refused.value)
    assert said in str(refused.value)


@pytest.mark.parametrize("name", ["Price", "a-b", "x" * 33, '"a,b"'])
def test_a_name_that_could_not_stand_in_a_flag_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(Invalid, match="name begins with"):
        configured(tmp_path, f'[streams.ticks.quality.{name}]\ncheck = "monotonic"')


def test_raw_bytes_have_no_quality(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="quality rules"):
        configured(tmp_path, '[streams.orders]\nschema = "raw"\n[streams.orders.quality.r]\ncheck = "monotonic"')


def test_alerts_about_alerts_are_refused(tmp_path: Path) -> None:
    toml = '[alerts]\ntopic = "ticks"\n[streams.ticks.quality.r]\ncheck = "monotonic"'

    with pytest.raises(Invalid, match="alerts about alerts"):
        configured(tmp_path, toml)


def test_features_may_be_grouped_by_what_they_have(tmp_path: Path) -> None:
    toml = '[streams.features.columns]\nrsi = "float64"\n'
    toml += '[streams.features.quality.rsi]\ncheck = "range"\ncolumn = "rsi"\nmax = 100'

    assert next(s for s in streams(configured(tmp_path, toml)) if s.name == "features").quality.checks[0].most == 100.0
