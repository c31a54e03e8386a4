"""The short form of `make chaos`: every fault once, on the real daemon, Kafka and S3, under constant produce."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.live.chaos.faults import FAULTS
from tests.live.chaos.servers import Servers
from tests.live.chaos.storm import Plan, storm
from tests.live.conftest import S3Server, say_at_the_end


def test_every_fault_struck_once_loses_and_doubles_nothing(
    kafka_servers: str, s3_server: S3Server, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    seed = int(os.environ.get("STREAMER_TEST_SEED", "0")) or random.randrange(10**6)
    plan = Plan(seed, minutes=0, each_once=True, records_per_second=300, replicas_in_s3=2)
    servers = Servers.given(os.environ, kafka=kafka_servers, s3=s3_server)
    outcome = storm(plan, servers, tmp_path, lambda sentence: print(sentence, flush=True))

    table = [f"chaos, STREAMER_TEST_SEED={seed}", *outcome.table().splitlines()]
    say_at_the_end(pytestconfig, table)
    assert outcome.sound, "\n".join(table)
    assert {row.fault for row in outcome.rows} | set(outcome.not_exercised) == {fault.name for fault in FAULTS}
    assert all(lake.acknowledged > 1_000 for lake in outcome.lakes)
    assert all(row.at_stake > 0 for row in outcome.rows)
