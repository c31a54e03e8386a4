"""Quix Streams with its S3 sink and Parquet: what a Python user finds first. Runs in an environment of its own.

    python quix.py TOPIC RECORDS LAKE_BUCKET LAKE_PREFIX

Its batches go to one folder a partition; it has no placement by columns. It commits at least once.
"""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from typing import Any

from quixstreams import Application
from quixstreams.sinks.community.file.formats import ParquetFormat
from quixstreams.sinks.community.file.s3 import S3FileSink

COMMIT_EVERY = 250_000


def say(what: str, **facts: Any) -> None:
    """As bench.throughput.processes.say, which is not in this environment."""
    print(json.dumps({"event": what, "at": time.monotonic(), "cpu": time.process_time(), **facts}), flush=True)


class Timed(S3FileSink):
    """Its own sink; work begins when the first record has come."""

    began = False
    records = 0

    def add(self, *args: Any, **kwargs: Any) -> None:
        if not Timed.began:
            Timed.began = True
            say("begin")
        Timed.records += 1
        super().add(*args, **kwargs)


def main(topic: str, records: int, bucket: str, prefix: str) -> None:
    application = Application(
        broker_address=os.environ["KAFKA_BOOTSTRAP_SERVERS"],
        consumer_group=uuid.uuid4().hex,
        auto_offset_reset="earliest",
        commit_interval=3600,
        commit_every=COMMIT_EVERY,
        loglevel="ERROR",
    )
    sink = Timed(
        bucket=bucket,
        directory=prefix,
        format=ParquetFormat(),
        aws_access_key_id=os.environ["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=os.environ["AWS_SECRET_ACCESS_KEY"],
        region_name=os.environ["AWS_REGION"],
        endpoint_url=os.environ["AWS_ENDPOINT_URL"],
    )
    application.dataframe(application.topic(topic, value_deserializer="json")).sink(sink)
    application.run(count=records)
    say("end", records=Timed.records)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4])
