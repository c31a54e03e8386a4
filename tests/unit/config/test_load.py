"""Who wins, who said so, and what a mistake is answered with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from streamer.config import Settings, load
from streamer.errors import Invalid

LAKE = {"S3_BUCKET_NAME": "a-bucket"}


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A working directory without a configuration."""
    return tmp_path


def write(directory: Path, toml: str, name: str = "streamer.toml") -> Path:
    path = directory / name
    path.write_text(toml)
    return path


def refused(directory: Path, environment: dict[str, str], **options: object) -> Invalid:
    with pytest.raises(Invalid) as caught:
        load(environment=environment, directory=directory, **options)  # type: ignore[arg-type]
    assert caught.value.hint
    return caught.value


def test_two_variables_are_enough(here: Path) -> None:
    settings = load(environment={"KAFKA_BOOTSTRAP_SERVERS": "k:9092", **LAKE}, directory=here)

    assert settings.kafka.bootstrap_servers == "k:9092"
    assert settings.lake.url == "s3://a-bucket"
    assert list(settings.enabled_streams) == ["ticks", "signals", "features"]


def test_without_a_lake_the_two_variables_are_named(here: Path) -> None:
    error = refused(here, {})

    assert "S3_BUCKET_NAME" in error.hint
    assert "KAFKA_BOOTSTRAP_SERVERS" in error.hint


def test_what_needs_no_lake_does_without(here: Path) -> None:
    assert load(environment={}, directory=here, require_lake=False).lake.url is None


def test_each_source_covers_the_one_below_it(here: Path) -> None:
    well_known = {"KAFKA_BOOTSTRAP_SERVERS": "well-known:1", **LAKE}
    variable = {"STREAMER__KAFKA__BOOTSTRAP_SERVERS": "variable:1"}

    def servers_and_origin(environment: dict[str, str], kafka: str | None = None) -> tuple[str, str]:
        settings = load(environment=environment, directory=here, kafka=kafka)
        return settings.kafka.bootstrap_servers, settings.origin("kafka.bootstrap_servers")

    assert servers_and_origin(LAKE) == ("localhost:9092", "default")
    assert servers_and_origin(well_known) == ("well-known:1", "KAFKA_BOOTSTRAP_SERVERS")
    file = write(here, '[kafka]\nbootstrap_servers = "file:1"')
    assert ("file:1", str(file)) == servers_and_origin(well_known)
    assert servers_and_origin(well_known | variable) == ("variable:1", "STREAMER__KAFKA__BOOTSTRAP_SERVERS")
    assert servers_and_origin(well_known | variable, "option:1") == ("option:1", "--kafka")


def test_the_named_file_is_read_instead_of_the_one_that_lies_about(here: Path) -> None:
    write(here, '[kafka]\ngroup_id = "wrong"')
    named = write(here, '[kafka]\ngroup_id = "right"', "other.toml")

    assert load(named, environment=LAKE, directory=here).kafka.group_id == "right"


def test_a_file_extends_a_built_in_stream_field_by_field(here: Path) -> None:
    write(here, '[streams.ticks]\ncut = { rows = 5 }\n[streams.ticks.columns]\nbid = "float64"')
    settings = load(environment={"STREAMER__STREAMS__TICKS__CUT__AGE": "5s", **LAKE}, directory=here)
    ticks = settings.streams["ticks"]

    assert (ticks.schema_name, ticks.cut.rows, ticks.cut.age, ticks.cut.bytes) == ("tick", 5, 5.0, 64 << 20)
    assert ticks.columns == {"bid": "float64"}
    assert settings.origin("streams.ticks.schema") == "built in"
    assert settings.origin("streams.ticks.cut.age") == "STREAMER__STREAMS__TICKS__CUT__AGE"
    assert settings.origin("streams.ticks.cut.bytes") == "default"


def test_a_stream_can_be_switched_off(here: Path) -> None:
    settings = load(environment={"STREAMER__STREAMS__SIGNALS__ENABLED": "false", **LAKE}, directory=here)

    assert list(settings.enabled_streams) == ["ticks", "features"]


def test_variables_alone_can_make_a_stream(here: Path) -> None:
    environment = {"STREAMER__STREAMS__ORDER_BOOK__SCHEMA": "raw", "STREAMER__STREAMS__ORDER_BOOK__TOPIC": "book.v1", **LAKE}

    assert load(environment=environment, directory=here).streams["order_book"].topic == "book.v1"


def test_a_variable_for_a_table_holds_json_and_one_for_a_value_covers_it(here: Path) -> None:
    environment = {
        "STREAMER__STREAMS__TICKS": '{"cut": {"rows": 1, "age": "9s"}, "rules": ["price > 0"]}',
        "STREAMER__STREAMS__TICKS__CUT__ROWS": "2",
        "STREAMER__STREAMS__TICKS__ALIASES__PRICE": "p,px",
        "STREAMER__STREAMS__TICKS__COLUMNS": '{"isMaker": "bool"}',
        "STREAMER__STREAMS__TICKS__COLUMNS__BID": "float64",
        "STREAMER__STREAMS__TICKS__COLUMNS__askSize": "int64",
        **LAKE,
    }
    ticks = load(environment=environment, directory=here).streams["ticks"]

    assert (ticks.cut.rows, ticks.cut.age) == (2, 9.0)
    assert ticks.rules == ("price > 0",)
    assert ticks.aliases == {"price": ("p", "px")}
    assert ticks.columns == {"isMaker": "bool", "bid": "float64", "askSize": "int64"}


def test_the_order_of_the_environment_does_not_change_the_order_of_columns(here: Path) -> None:
    variables = {f"STREAMER__STREAMS__TICKS__COLUMNS__{name}": "float64" for name in ("B", "A", "C")} | LAKE
    backwards = dict(reversed(variables.items()))

    first, second = (list(load(environment=e, directory=here).streams["ticks"].columns) for e in (variables, backwards))

    assert ["a", "b", "c"] == first == second


def test_an_empty_variable_takes_back_what_a_file_says(here: Path) -> None:
    write(here, '[kafka]\ngroup_instance_id = "x"')

    assert load(environment={"STREAMER__KAFKA__GROUP_INSTANCE_ID": "", **LAKE}, directory=here).kafka.group_instance_id is None


def test_an_empty_well_known_variable_is_as_good_as_none(here: Path) -> None:
    environment = {"S3_BUCKET_NAME": "", "S3_BUCKET": "second", "AWS_REGION": "", "AWS_DEFAULT_REGION": "eu-west-1"}
    settings = load(environment=environment, directory=here)

    assert (settings.lake.url, settings.s3.region) == ("s3://second", "eu-west-1")


def test_the_endpoint_for_s3_alone_is_nearer_than_the_one_for_all_of_aws(here: Path) -> None:
    environment = {"AWS_ENDPOINT_URL": "http://all:1", "AWS_ENDPOINT_URL_S3": "http://s3:1", **LAKE}

    assert load(environment=environment, directory=here).s3.endpoint_url == "http://s3:1"


def test_keys_of_two_sources_are_never_mixed(here: Path) -> None:
    write(here, '[s3]\naccess_key_id = "file"\nsecret_access_key = "file-secret"')
    aws = {"AWS_ACCESS_KEY_ID": "env", "AWS_SECRET_ACCESS_KEY": "env-secret", "AWS_SESSION_TOKEN": "env-token", **LAKE}
    s3 = load(environment=aws, directory=here).s3

    assert s3.access_key_id is not None
    assert s3.access_key_id.get_secret_value() == "file"
    assert s3.session_token is None


@pytest.mark.parametrize(
    ("toml", "part"),
    [
        ("[kafka]\ngroupid = 1", "unknown name kafka.groupid (did you mean group_id?)"),
        ("[kafak]\n", "unknown name kafak (did you mean kafka?)"),
        ("[streams.ticks]\ncut = { row = 1 }", "unknown name streams.ticks.cut.row (did you mean rows?)"),
        ("kafka = 3", "kafka is a table of names, not a number"),
        ("streams = []", "streams is a table of names, not a list"),
        (
            "[streams.ticks]\nformat = 'parket'",
            "streams.ticks.format: must be one of parquet, ndjson.zst, ndjson.gz (did you mean parquet?)",
        ),
        ("[streams.orders]\n", "streams.orders.schema: is missing"),
        ("[streams.tick]\nenabled = true", "did you mean streams.ticks?"),
        ("[streams.Ticks]\nschema = 'tick'", "a stream's name begins with a lower-case letter"),
        ("[streams.a__b]\nschema = 'tick'", "a stream's name begins with a lower-case letter"),
        ("[streams.a]\nschema = 'tick'\ntopic = 'ticks'", "streams.ticks and streams.a share the topic ticks"),
        ("[streams.a]\nschema = 'tick'\ntopic = 'a/b'", "a topic's name"),
        ("[http]\nport = 'x'", "http.port: must be a whole number, not 'x'"),
        ("[http]\nport = 70000", "http.port: must be at most 65535, not 70000"),
        ("[kafka]\nsession_timeout = '2h'", "kafka.session_timeout: must be at most 30m, not '2h'"),
        ("[memory]\nbudget = '1MiB'", "memory.budget: must be at least 16MiB, not '1MiB'"),
        ("[memory]\nbudget = 'lots'", "a size is a number of bytes"),
        ("[lake]\nallow_at_least_once = 'perhaps'", "must be true or false"),
        ("[kafka]\nsasl_username = 'me'", "sasl_username and sasl_password are not used with security_protocol PLAINTEXT"),
        ("[kafka]\nsecurity_protocol = 'SASL_SSL'", "needs kafka.sasl_username and sasl_password"),
        ("[kafka]\nssl_cafile = 'ca.pem'", "set it to SSL or SASL_SSL"),
        ("[s3]\naccess_key_id = 'a'", "set access_key_id and secret_access_key together"),
        ("[lake]\nkms_key_id = 'a'", "only used with server_side_encryption"),
        ("[lake]\nurl = 'gs://bucket'", "write s3://bucket"),
        ("[lake]\nurl = 'lake'", "write s3://bucket"),
        ("[lake]\nexpected_bucket_owner = 12", "lake.expected_bucket_owner"),
        ("[streams.ticks]\nrules = ['price']", "is not a rule"),
        ("[streams.ticks]\nrules = [1]", "streams.ticks.rules: must be text"),
        ("[streams.r]\nschema = 'raw'\ncolumns = { a = 'int64' }", "takes no columns, aliases or rules"),
        ("[streams]\nticks.enabled=false\nsignals.enabled=false\nfeatures.enabled=false", "every stream is switched off"),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_place(here: Path, toml: str, part: str) -> None:
    file = write(here, toml)
    error = refused(here, {})

    assert part in str(error)
    assert str(file) in str(error) or part.startswith(("a stream's", "every", "streams.ticks and"))


@pytest.mark.parametrize(
    ("variable", "value", "part"),
    [
        ("STREAMER__KAFKA__GROUPID", "x", "unknown variable STREAMER__KAFKA__GROUPID (did you mean group_id?)"),
        ("STREAMER_KAFKA__GROUP_ID", "x", "did you mean STREAMER__KAFKA__GROUP_ID?"),
        ("STREAMER__LAKE__URL__X", "x", "STREAMER__LAKE__URL is a single value"),
        ("STREAMER__", "x", "unknown variable STREAMER__"),
        ("STREAMER__STREAMS__TICKS", "[1]", "is a table of names, not a list"),
        ("STREAMER__KAFKA", "x", "give it a JSON object"),
        ("STREAMER__KAFKA", "[" * 100_000, "give it a JSON object"),
        ("STREAMER__KAFKA__GROUP_ID", "", "must not be empty"),
    ],
)
def test_a_mistake_in_a_variable_is_named(here: Path, variable: str, value: str, part: str) -> None:
    assert part in str(refused(here, {variable: value, **LAKE}))


def test_variables_of_others_are_left_alone(here: Path) -> None:
    kubernetes = {"STREAMER_SERVICE_HOST": "10.0.0.1", "STREAMER_PORT": "tcp://10.0.0.1:9464", "STREAMERS__X": "1"}

    assert load(environment=kubernetes | LAKE, directory=here).lake.url == "s3://a-bucket"


def test_all_mistakes_are_told_at_once(here: Path) -> None:
    write(here, "[http]\nport = -1\n[log]\nlevel = 'loud'\n[memory]\nbudget = 0")
    message = str(refused(here, {}))

    assert all(part in message for part in ("3 errors", "http.port", "log.level", "memory.budget"))


@pytest.mark.parametrize(
    ("environment", "secret"),
    [
        ({"STREAMER__KAFKA__SASL_PASSWORD": "hunter2"}, "hunter2"),
        ({"STREAMER__KAFKA": '{"sasl_password": ["hunter2"]}'}, "hunter2"),
        ({"STREAMER__S3__SECRET_ACCESS_KEY": "hunter2"}, "hunter2"),
        ({"S3_BUCKET_NAME": "s3://key:hunter2@bucket"}, "hunter2"),
        ({"AWS_ENDPOINT_URL": "http://key:hunter2@host", **LAKE}, "hunter2"),
        ({"KAFKA_BOOTSTRAP_SERVERS": "key:hunter2@host:9092", **LAKE}, "hunter2"),
    ],
)
def test_no_mistake_makes_an_error_repeat_a_secret(here: Path, environment: dict[str, str], secret: str) -> None:
    error = refused(here, environment)

    assert secret not in f"{error!s} {error!r} {error.hint} {error.context}"
    assert error.__cause__ is None or secret not in repr(error.__cause__)


def test_secrets_are_in_no_repr_and_no_entry(here: Path) -> None:
    environment = {
        "AWS_ACCESS_KEY_ID": "AKIAhunter2",
        "AWS_SECRET_ACCESS_KEY": "hunter2",
        "AWS_SESSION_TOKEN": "hunter2-token",
        **LAKE,
    }
    settings = load(environment=environment, directory=here)
    shown = json.dumps([(entry.path, entry.value, entry.text, entry.origin) for entry in settings.entries()])

    assert "hunter2" not in f"{settings!r} {settings!s} {shown}"
    assert {"hunter2", "hunter2-token"} == set(settings.hidden_values)


def test_a_file_that_is_not_toml_is_named_with_the_line(here: Path) -> None:
    write(here, "[kafka\n")

    assert "line 1" in str(refused(here, {}))


@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b"a = " + b"[" * 100_000, b"a = " + b"9" * 5000, b"[s3]\nregion = 0x" + b"f" * 9000]
)
def test_a_file_of_rubbish_is_an_error_and_no_traceback(here: Path, content: bytes) -> None:
    (here / "streamer.toml").write_bytes(content)

    refused(here, {})


def test_a_named_file_that_is_not_there_is_an_error(here: Path) -> None:
    with pytest.raises(Invalid, match="cannot be read"):
        load(here / "none.toml", environment=LAKE)
    with pytest.raises(Invalid, match="cannot be read"):
        load(here, environment=LAKE)


def test_settings_made_by_hand_have_the_built_in_streams() -> None:
    assert {"ticks", "signals", "features"} == set(Settings().streams)


def test_what_is_accepted_in_vain_is_a_warning(here: Path) -> None:
    write(
        here,
        '[streams.ticks]\ncut = { bytes = "1GiB" }',
    )
    warnings = load(environment=LAKE, directory=here).warnings

    assert [w.split(" ")[0] for w in warnings] == ["streams.ticks.cut.bytes"]
