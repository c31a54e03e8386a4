"""`streamer config show`."""

from __future__ import annotations

import json
from pathlib import Path

from command_line import Shell


def test_every_value_is_shown_with_its_source(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "streamer.toml").write_text('[kafka]\ngroup_id = "mine"\nsession_timeout = "10s"')
    ended = shell("config", "show", "--lake", "./lake", STREAMER__MEMORY__BUDGET="64MiB", AWS_REGION="eu-west-1")
    rows = {line.split("\t")[0]: line.split("\t")[1:] for line in ended.out.splitlines()}

    assert ended.status == 0
    assert rows["kafka.group_id"] == ["mine", "streamer.toml"]
    assert rows["kafka.session_timeout"] == ["10s", "streamer.toml"]
    assert rows["lake.url"] == ["./lake", "--lake"]
    assert rows["memory.budget"] == ["64MiB", "STREAMER__MEMORY__BUDGET"]
    assert rows["s3.region"] == ["eu-west-1", "AWS_REGION"]
    assert rows["http.port"] == ["9464", "default"]
    assert rows["streams.ticks.schema"] == ["tick", "built in"]


def test_scripts_get_numbers_in_bytes_and_seconds(shell: Shell) -> None:
    values = json.loads(shell("config", "show", "--json").out)["values"]

    assert values["memory.budget"] == {"value": 256 << 20, "from": "default"}
    assert values["kafka.session_timeout"] == {"value": 45.0, "from": "default"}


def test_only_what_was_set_on_request(shell: Shell) -> None:
    out = shell("config", "show", "--changed", STREAMER__HTTP__PORT="0").out

    assert "http.port\t0\tSTREAMER__HTTP__PORT" in out
    assert "http.host" not in out


def test_no_secret_is_printed(shell: Shell) -> None:
    secrets = {"AWS_ACCESS_KEY_ID": "AKIAhunter2", "AWS_SECRET_ACCESS_KEY": "hunter2"}
    ended = shell("config", "show", **secrets)

    assert "hunter2" not in ended.out + ended.err
    assert "s3.secret_access_key\t********\tAWS_SECRET_ACCESS_KEY" in ended.out


def test_a_wrong_configuration_ends_with_2_and_every_mistake(shell: Shell) -> None:
    ended = shell("config", "show", STREAMER__HTTP__PORT="x", STREAMER__LOG__LEVEL="loud")

    assert ended.status == 2
    assert "http.port" in ended.err
    assert "log.level" in ended.err


def test_what_will_not_do_what_it_says_is_said(shell: Shell) -> None:
    assert "warning: streams.ticks.cut.bytes" in shell("config", "show", STREAMER__STREAMS__TICKS__CUT__BYTES="1GiB").err
