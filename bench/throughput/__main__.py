"""`python -m bench.throughput`, or `make bench`: everything in one run, tables to the page and a plot beside it.

    make bench KAFKA=localhost:9092 S3='http://localhost:9000|key|secret' [QUICK=1] [DATA=folder] [QUIX=path/to/python]

Needs a broker and an S3 server; makes topics and a bucket under names of its own and deletes the topics again. QUIX names a
Python with `quixstreams[s3]`; `make bench` makes one. DATA is a folder with ticks_*.ndjson.gz for one more topic.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.throughput.contest import Contest
from bench.throughput.daemon import DATE
from bench.throughput.freshness import measure_freshness
from bench.throughput.growth import measure_growth, measure_scaling
from bench.throughput.places import Bucket, Places
from bench.throughput.report import Results, plot, tables, write_page
from bench.throughput.ticks import made_ticks, real_ticks
from bench.throughput.topics import Topics

ROOT = Path(__file__).parents[2]
DECLARED = {
    "STREAMER__STREAMS__TICKS__COLUMNS": json.dumps(
        {"event_time": "int64", "buyer_is_maker": "bool", "recv_ts_ns": "int64", "src": "string", "order_type": "string"}
        | {"event": "string", "recv_ts": "float64"}
    )
}
"""What `streamer columns` proposes for the real ticks: fields that no column names go one by one into `extra`."""


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kafka", default=os.environ.get("KAFKA"), help="host:port")
    parser.add_argument("--s3", default=os.environ.get("S3"), help="URL|access key|secret key[|region]")
    parser.add_argument("--data", type=Path, default=os.environ.get("DATA") or None, help="folder with ticks_*.ndjson.gz")
    parser.add_argument("--quix", type=Path, default=os.environ.get("QUIX") or None, help="Python that has quixstreams[s3]")
    parser.add_argument("--quick", action="store_true", default=bool(os.environ.get("QUICK")), help="small counts, one round")
    parser.add_argument("--only", choices=("contest", "codecs", "freshness", "growth", "scaling"), action="append")
    parser.add_argument("--no-page", action="store_true", help="print the tables, leave the page alone")
    return parser.parse_args()


@contextmanager
def part(name: str) -> Iterator[None]:
    """Say what begins, and how long it took."""
    print(f"{name}", flush=True)
    began = time.monotonic()
    yield
    print(f"  ({time.monotonic() - began:.0f} s)", flush=True)


def main() -> None:
    given = options()
    if not given.kafka or not given.s3:
        raise SystemExit("say where Kafka and S3 are: make bench KAFKA=host:port S3='http://host:port|key|secret'")
    places, quick = Places(given.kafka, given.s3), given.quick
    wanted = given.only or ["contest", "codecs", "freshness", "growth", "scaling"]
    rounds, records, small = (1, 600_000, 100_000) if quick else (3, 2_000_000, 300_000)
    quix = given.quix if given.quix and given.quix.exists() else None
    notes = [] if quix else ["Quix Streams was not measured: there was no Python that has it."]
    command = "make bench" + (" QUICK=1" if quick else "") + (" DATA=…" if given.data else "")
    bucket, topics = Bucket(places), Topics(places.kafka)
    bucket.create()
    contest = Contest(places, bucket, quix, small, told=_tell)
    results = Results(command, contest.runs, notes=notes)
    try:
        if "contest" in wanted or "scaling" in wanted:
            with part(f"filling {records:,} ticks, lz4"):
                topic = topics.fill("lz4", made_ticks(records))
        if "contest" in wanted:
            for number in range(rounds):
                with part(f"round {number + 1} of {rounds}"):
                    contest.round(topic, records // 2)
        if "codecs" in wanted:
            with part("other topics"):
                for codec in ("none", "zstd"):
                    other = topics.fill(codec, made_ticks(records // 2), codec=codec)
                    for _ in range(rounds):
                        contest.codec(other)
                if given.data is not None:
                    real = topics.fill("real", real_ticks(given.data, records // 4))
                    for _ in range(rounds):
                        contest.codec(real, "real ticks, columns declared", DECLARED)
                    contest.codec(real, "real ticks, as they come")
        if "freshness" in wanted:
            with part("freshness at 20,000 records/s"):
                results.freshness = measure_freshness(places, bucket, topics, rate=20_000, seconds=20 if quick else 45)
        if "growth" in wanted:
            with part("growth"):
                few = 100_000 if quick else 1_000_000
                results.growth = measure_growth(places, bucket, topics, few, _tell, quick=quick)
        if "scaling" in wanted:
            with part("scaling out"):
                results.scaling = measure_scaling(places, bucket, topic, _tell, path=DATE)
    finally:
        topics.close()
    if "contest" not in wanted:
        return
    text = tables(results)
    print("\n" + text)
    if not given.no_page:
        write_page(ROOT / "docs" / "performance.md", text)
        plot(results, ROOT / "docs" / "performance.svg")


def _tell(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    main()
