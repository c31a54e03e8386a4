"""Whatever stands in the file and in the environment, the outcome is settings or `Invalid`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamer.config import load
from streamer.config.clients import kafka_settings, s3_settings
from streamer.config.settings import Settings
from streamer.config.stream_layouts import streams
from streamer.config.tree import Names, fields, node
from streamer.errors import Invalid

_WORDS = (
    "ticks tick raw parquet s3://bucket ./lake 64MiB 5s true false price>0 SASL_SSL latest float64 timestamp bid symbol"
    " {symbol} {date} http://h:1 a:1 123456789012 _x extra features x y"
)
_NAMES = "ticks signals orders bid price timestamp extra A"
_PARTS = "KAFKA LAKE S3 STREAMS TICKS CUT ROWS COLUMNS URL HTTP PORT _ rules ALIASES BID SCHEMA"
_COLUMNS = "symbol price bid Price timestamp extra _x side a/b"
_PATHS = "{symbol} {price} {date} {hour} {bid} / = x %Y %d %Q . { }"

WORDS = st.sampled_from(_WORDS.split())
NUMBERS = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
ANYTHING = st.recursive(
    WORDS | st.text(max_size=8) | st.booleans() | NUMBERS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | WORDS, inner, max_size=3),
    max_leaves=6,
)


def body(here: Any) -> st.SearchStrategy[Any]:
    """Mostly a table with names that exist, and now and then anything else."""
    if isinstance(here, Names):
        names = st.sampled_from(_NAMES.split()) | st.text(max_size=4)
        inner = node(here.values)
        return st.dictionaries(names, body(inner) if inner is not None else ANYTHING, max_size=3)
    known = {name: body(inner) if (inner := node(f.annotation)) is not None else ANYTHING for name, f in fields(here).items()}
    return st.one_of(st.fixed_dictionaries({}, optional=known), ANYTHING)


def toml(value: Any) -> str:
    """JSON's texts and numbers are TOML's too; tables are written in one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)} = {toml(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


def problem(directory: Path, environment: dict[str, str]) -> Invalid | None:
    """What is wrong with it, if anything is."""
    try:
        found = load(environment=environment, directory=directory, require_lake=False)
        assert list(found.entries())
        kafka_settings(found)
        s3_settings(found)
        streams(found)
    except Invalid as error:
        return error
    return None


def assert_settled(directory: Path, environment: dict[str, str]) -> None:
    """Settings came of it, or an error that can be printed and says what to do."""
    error = problem(directory, environment)
    assert error is None or (str(error).encode(errors="backslashreplace") and error.hint)


once_a_directory = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@once_a_directory
@given(body(Settings))
def test_no_file_of_known_names_and_any_values_gives_a_traceback(tmp_path: Path, value: Any) -> None:
    named = value if isinstance(value, dict) else {"kafka": value}
    text = "\n".join(f"{json.dumps(name)} = {toml(inner)}" for name, inner in named.items())
    (tmp_path / "streamer.toml").write_text(text, encoding="utf-8", errors="replace")

    assert_settled(tmp_path, {})


@once_a_directory
@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode(errors="surrogatepass")))
def test_no_file_of_any_bytes_gives_a_traceback(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "streamer.toml").write_bytes(content)

    assert_settled(tmp_path, {})


VARIABLES = st.one_of(
    st.lists(st.sampled_from(["", *_PARTS.split()]), min_size=1, max_size=5).map(lambda parts: "__".join(["STREAMER", *parts])),
    st.sampled_from(["S3_BUCKET", "AWS_ENDPOINT_URL", "KAFKA_BOOTSTRAP_SERVERS", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]),
    st.text(max_size=6).map(lambda text: f"STREAMER__{text}"),
)
TEXTS = st.one_of(WORDS, st.text(max_size=8), ANYTHING.map(json.dumps), st.just("\udcff"))


@once_a_directory
@given(st.dictionaries(VARIABLES, TEXTS, max_size=4))
def test_no_environment_gives_a_traceback(tmp_path: Path, environment: dict[str, str]) -> None:
    assert_settled(tmp_path, environment)


OPERATORS = st.sampled_from([">", "<=", "~"])
LIMITS = st.sampled_from(["0", "-1e9", "x"])
COLUMNS = st.sampled_from(_COLUMNS.split())
TYPES = st.sampled_from(["float64", "string", "decimal128(38,18)", "timestamp[ns, UTC]", "list<string>", "flaot"])
STREAM = {
    "schema": st.sampled_from(["tick", "signal", "feature", "raw"]),
    "columns": st.dictionaries(COLUMNS, TYPES, max_size=2),
    "aliases": st.dictionaries(COLUMNS, st.lists(st.sampled_from(["p", "px", "bid", "price", ""]), max_size=2), max_size=2),
    "path": st.lists(st.sampled_from(_PATHS.split()), max_size=5).map("".join),
    "rules": st.lists(
        st.builds("{} {} {}".format, COLUMNS, st.sampled_from([">", "<=", "~"]), st.sampled_from(["0", "-1e9", "x"])),
        max_size=2,
    ),
}


@once_a_directory
@given(st.fixed_dictionaries({}, optional=STREAM))
def test_no_stream_that_nearly_makes_sense_gives_a_traceback(tmp_path: Path, stream: dict[str, Any]) -> None:
    assert_settled(tmp_path, {"STREAMER__STREAMS__TICKS": json.dumps(stream)})


def test_what_the_properties_above_vary_can_be_right(tmp_path: Path) -> None:
    stream = {"columns": {"bid": "float64"}, "path": "{symbol}/{date}", "rules": ["bid > 0"], "aliases": {"price": ["p"]}}

    assert problem(tmp_path, {"STREAMER__STREAMS__TICKS": json.dumps(stream), "S3_BUCKET": "bucket"}) is None
