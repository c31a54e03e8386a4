"""`streamer check`: what is found, what is to be done, and the status that stands for all of it."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from command_line import Shell

from streamer.cli import check
from streamer.cli.check import Finding, look_at_configuration, look_at_lake, worst
from streamer.clock import SystemClock
from streamer.config import Settings, load
from streamer.errors import Denied, Invalid
from streamer.source.probe import GroupReport, KafkaReport, TopicReport
from streamer.store.contract import ObjectInfo, Store, StoredObject
from streamer.store.memory import MemoryStore

KAFKA_NOWHERE = "127.0.0.1:1"


def settings(directory: Path, **environment: str) -> Settings:
    return load(environment=environment, directory=directory, require_lake=False)


async def lake_findings(found: Settings) -> dict[str, Finding]:
    return {finding.about: finding async for finding in look_at_lake(found, SystemClock())}


async def test_a_directory_that_is_there_passes_everything_and_is_left_clean(tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()
    findings = await lake_findings(settings(tmp_path, STREAMER__LAKE__URL=str(tmp_path / "lake")))

    assert {finding.status for finding in findings.values()} == {"ok"}
    assert {"lake", "lake put", "lake get", "lake list", "lake delete", "clock", "conditional writes"} == set(findings)
    assert [path for path in (tmp_path / "lake").rglob("*") if path.is_file() and "probe" in str(path)] == []


async def test_a_place_that_is_not_there_fails_with_the_command_that_makes_it(tmp_path: Path) -> None:
    findings = await lake_findings(settings(tmp_path, STREAMER__LAKE__URL=str(tmp_path / "none")))

    assert (findings["lake"].status, findings["lake"].exit_code) == ("fail", 2)
    assert "streamer init" in findings["lake"].hint


async def test_without_a_lake_the_rest_is_still_looked_at(tmp_path: Path) -> None:
    findings = await lake_findings(settings(tmp_path))

    assert findings["lake"].exit_code == 2
    assert "S3_BUCKET_NAME" in findings["lake"].hint


class _Crippled:
    """A store that works, but for one thing."""

    def __init__(self, fault: str) -> None:
        self._inner: Store = MemoryStore(SystemClock())
        self._fault = fault

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    async def get(self, key: str) -> StoredObject:
        stored = await self._inner.get(key)
        if self._fault == "clock":
            old = stored.info.modified - timedelta(minutes=5)
            return StoredObject(ObjectInfo(key, stored.info.size_bytes, stored.info.etag, old), stored.body)
        if self._fault == "get":
            raise Denied("no", hint="grant s3:GetObject")
        return stored

    async def delete(self, key: str) -> None:
        if self._fault == "delete":
            raise Denied("no")
        await self._inner.delete(key)

    @property
    def conditional_writes(self) -> bool:
        return self._fault != "conditional"


@pytest.mark.parametrize(
    ("fault", "about", "status", "code", "hint"),
    [
        ("clock", "clock", "warn", 0, "chrony"),
        ("get", "lake get", "fail", 4, "grant s3:GetObject"),
        ("delete", "lake delete", "warn", 0, "retention"),
        ("conditional", "conditional writes", "fail", 2, "allow_at_least_once"),
    ],
)
async def test_what_a_store_cannot_do_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, about: str, status: str, code: int, hint: str
) -> None:
    monkeypatch.setattr("streamer.store.open.open_store", lambda *_: _Crippled(fault))
    findings = await lake_findings(settings(tmp_path, S3_BUCKET="bucket"))

    found = findings[about]
    assert (found.status, found.exit_code) == (status, code)
    assert hint in found.hint


async def test_at_least_once_that_was_accepted_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamer.store.open.open_store", lambda *_: _Crippled("conditional"))
    found = await lake_findings(settings(tmp_path, S3_BUCKET="bucket", STREAMER__LAKE__ALLOW_AT_LEAST_ONCE="true"))

    assert found["conditional writes"].status == "warn"


def test_what_kafka_says_becomes_findings() -> None:
    topics = (TopicReport("ticks", 3), TopicReport("gone", 0), TopicReport("closed", 0, Denied("not yours", hint="grant READ")))
    group = GroupReport("streamer", "Stable", 2)
    found = {finding.about: finding for finding in check._about_report(KafkaReport("id", 1, topics, group))}

    assert (found["topic ticks"].status, found["topic ticks"].message) == ("ok", "3 partitions")
    assert found["topic gone"].status == "warn"
    assert (found["topic closed"].status, found["topic closed"].exit_code) == ("fail", 4)
    assert found["group streamer"].message == "stable, 2 members"


def test_layouts_that_cannot_be_are_found_without_any_service(tmp_path: Path) -> None:
    found = look_at_configuration(settings(tmp_path, STREAMER__STREAMS__TICKS__PATH="{nothing}"))

    assert [(finding.about, finding.exit_code) for finding in found] == [("configuration", 2)]


@pytest.mark.parametrize(
    ("codes", "status"), [([], 0), ([3], 3), ([3, 4], 4), ([3, 2, 4], 2), ([6, 3], 3), ([5, 2], 5), ([1, 5], 1)]
)
def test_the_worst_finding_decides(codes: list[int], status: int) -> None:
    findings = [Finding("x", "ok", ""), Finding("y", "warn", "")]

    assert worst(findings + [Finding("z", "fail", "", "", code) for code in codes]) == status


def test_an_unreachable_kafka_does_not_keep_the_lake_from_being_looked_at(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "CONNECT_SECONDS", 0.1)
    (tmp_path / "lake").mkdir()
    ended = shell("check", "--json", "--lake", "./lake", "--kafka", KAFKA_NOWHERE)
    report = json.loads(ended.out)

    assert ended.status == report["exit_code"] == 3
    statuses = {finding["about"]: finding["status"] for finding in report["findings"]}
    assert (statuses["kafka"], statuses["lake"], statuses["stream ticks"]) == ("fail", "ok", "ok")


def test_people_get_lines_with_the_next_step(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "CONNECT_SECONDS", 0.1)
    ended = shell("check", "--lake", "./lake", "--kafka", KAFKA_NOWHERE)

    assert ended.status == 2
    assert "FAIL lake" in ended.out
    assert "-> create it: `streamer init`" in ended.out


def test_a_wrong_configuration_is_a_finding_too(shell: Shell) -> None:
    ended = shell("check", "--json", STREAMER__HTTP__PORT="x")
    (finding,) = json.loads(ended.out)["findings"]

    assert (ended.status, finding["about"], finding["exit_code"]) == (2, "configuration", Invalid.exit_code)
