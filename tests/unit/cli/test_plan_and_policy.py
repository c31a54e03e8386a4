"""`streamer plan` and `streamer policy`, from their command lines. Neither asks a service."""

from __future__ import annotations

import json

import pytest
from command_line import Shell


def test_a_plan_tells_files_puts_and_dollars(shell: Shell) -> None:
    ended = shell("plan", "--rate", "ticks=2000", "--symbols", "ticks=50", "--partitions", "ticks=6", "--json")

    assert ended.status == 0
    (ticks,) = json.loads(ended.out)["streams"]
    assert (ticks["stream"], ticks["rate_origin"]) == ("ticks", "stated")
    assert 0 < ticks["files"] < ticks["puts"]
    assert 0 < ticks["dollars_first_month"] < ticks["dollars_after_a_year"]


def test_a_plan_for_people_names_the_date_of_its_prices(shell: Shell) -> None:
    ended = shell("plan", "--rate", "ticks=10", "--rate", "signals=1")

    assert ended.status == 0
    assert [line.split("\t")[0] for line in ended.out.splitlines()] == ["stream", "ticks", "signals"]
    assert "prices of us-east-1, 20" in ended.err


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ((), "--from-topic"),
        (("--rate", "ticks=0"), "write ticks=2000"),
        (("--rate", "ticks"), "write ticks=2000"),
        (("--rate", "trades=5"), "ticks, signals, features"),
    ],
)
def test_a_plan_without_a_usable_rate_says_what_to_write(shell: Shell, arguments: tuple[str, ...], part: str) -> None:
    ended = shell("plan", *arguments)

    assert ended.status == 2
    assert part in ended.err


def test_the_policy_of_a_role_is_json_and_nothing_else(shell: Shell) -> None:
    ended = shell("policy", "reader", "--lake", "s3://microstream-data/lake")

    assert ended.status == 0
    (listing, reading) = json.loads(ended.out)["Statement"]
    assert listing["Resource"] == ["arn:aws:s3:::microstream-data"]
    assert reading == {
        "Sid": "Read", "Effect": "Allow", "Action": ["s3:GetObject"], "Resource": ["arn:aws:s3:::microstream-data/lake/*"],
    }  # fmt: skip


def test_all_policies_come_by_role(shell: Shell) -> None:
    ended = shell("policy", "--json", "--lake", "s3://microstream-data")

    assert list(json.loads(ended.out)) == ["daemon", "reader", "trainer", "writer", "setup"]
    assert shell("policy", "--lake", "./lake").status == 2
