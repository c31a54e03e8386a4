"""A thousand order books through a real Kafka, the real daemon and a real S3, and back, equal level by level."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from streamer import Lake
from tests.live.conftest import S3Server
from tests.live.daemons import Daemon, Ledger, bucket_files, read_back
from tests.live.test_follow import make_place, remove_place
from tests.live.test_reader import spark
from tests.unit.lake_reader.book_lake import book_layout, build_books
from tests.unit.lake_reader.book_lake import expected as row_by_hand

CONFIG = """
[streams.orderbooks]
topic = "{topic}"
schema = "orderbook"
cut = {{ rows = 400, age = "1s" }}
[streams.ticks]
enabled = false
[streams.signals]
enabled = false
[streams.features]
enabled = false
[archive]
enabled = false
"""
PARTITIONS = 2
START = datetime(2026, 1, 3, tzinfo=UTC)
SYMBOLS = ("BTCUSDT", "ETH/USDT", "ação")


def book(number: int) -> bytes:
    """In the forms of four exchanges; sides of up to 25 levels. Every hundredth is none."""
    if number % 100 == 99:
        return b'{"symbol":"BTCUSDT","bids":[["1","2"],["x","2"]]}'
    sides = [
        [
            (f"{100 + sign * (n + 1) / 8 + number / 64:.6f}", f"{(number * 7 + n) % 1000 / 1e4:.4f}")
            for n in range(number * k % 26)
        ]
        for k, sign in ((3, -1), (5, 1))
    ]
    symbol, at = SYMBOLS[number % 3], START + timedelta(minutes=2 * number)
    match number % 4:
        case 0:
            body: dict[str, Any] = {"symbol": symbol, "timestamp": at.isoformat(), "lastUpdateId": number}
            body |= {"bids": sides[0], "asks": sides[1]}
        case 1:
            body = {"s": symbol, "T": round(at.timestamp() * 1000), "u": number, "b": sides[0], "a": sides[1]}
        case 2:
            levels = [[{"price": float(price), "size": float(size)} for price, size in side] for side in sides]
            body = {"symbol": symbol, "ts": at.timestamp(), "sequence": str(number), "bids": levels[0], "asks": None}
        case _:
            wide = [[*level, "0", "4"] for level in sides[0]]
            body = {"ticker": symbol, "time": at.isoformat(), "seqId": number, "bids": wide, "asks": sides[1], "venue": "okx"}
    return json.dumps(body).encode()


def expected(number: int) -> tuple[Any, ...]:
    """The row of `book(number)`, worked out without streamer."""
    body = json.loads(book(number))
    bids, asks = (body.get(long, body.get(short)) for long, short in (("bids", "b"), ("asks", "a")))
    return SYMBOLS[number % 3], START + timedelta(minutes=2 * number), str(number), plain(bids), plain(asks)


def plain(side: Any) -> Any:
    if side is None:
        return None
    pairs = [(level["price"], level["size"]) if isinstance(level, dict) else level[:2] for level in side]
    return [{"price": float(price), "quantity": float(quantity)} for price, quantity in pairs]


def told(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("symbol", "timestamp", "update_id", "bids", "asks"))


@pytest.fixture
def url(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    place = f"s3://books-{uuid.uuid4().hex[:10]}"
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    make_place(place, s3_server)
    yield place
    remove_place(place, s3_server)


def test_a_thousand_books_come_back_equal_level_by_level(
    kafka_servers: str, s3_server: S3Server, url: str, tmp_path: Path
) -> None:
    topic, config = f"books-{uuid.uuid4().hex[:10]}", tmp_path / "streamer.toml"
    config.write_text(CONFIG.format(topic=topic))
    environment = {
        **s3_server.environment,
        "KAFKA_BOOTSTRAP_SERVERS": kafka_servers,
        "STREAMER__KAFKA__GROUP_ID": topic,
        "STREAMER__LAKE__URL": url,
        "STREAMER__HTTP__PORT": "0",
    }
    ledger = Ledger(kafka_servers)
    ledger.create_topic(topic, PARTITIONS)
    ledger.produce(topic, [book(number) for number in range(1000)], PARTITIONS)
    wanted = [expected(number) for number in range(1000) if number % 100 != 99]

    daemon = Daemon.start(environment, tmp_path / "daemon.log", "--config", str(config), "--until-caught-up")
    assert daemon.process.wait(120) == 0, (tmp_path / "daemon.log").read_text()[-3000:]
    for command in (["archive", "--date", "2026-01-03", "--config", str(config)], ["verify", "--config", str(config)]):
        done = subprocess.run(
            [sys.executable, "-m", "streamer", *command],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    with Lake.open(url, cache=None) as lake:
        rows = lake.scan("orderbooks").to_pylist()
        by_sql = lake.sql("SELECT * FROM orderbooks ORDER BY timestamp").to_pylist()
        followed = list(lake.follow("orderbooks", bootstrap_servers=kafka_servers, until_caught_up=True))
        archived = lake.list_keys("orderbooks/")
    assert list(map(told, rows)) == wanted
    assert list(map(told, by_sql)) == wanted
    assert sorted(map(told, followed), key=lambda row: row[1]) == wanted
    assert len(archived) == len(SYMBOLS)
    wide = [row for row in rows if row["extra"] is not None]
    assert [int(row["update_id"]) for row in wide] == [number for number in range(3, 1000, 4) if number % 100 != 99]
    assert all(json.loads(row["extra"]).get("bids", []) == [["0", "4"]] * len(row["bids"]) for row in wide)

    files, paths = bucket_files(s3_server, url.removeprefix("s3://"))
    _, letters = read_back(files, paths, topic)
    assert [(letter["reason"], letter["detail"]) for letter in letters] == [
        ("wrong_type", 'bids[1].price: "x" is not a number')
    ] * 10
    for number, path in enumerate(path for path in paths if "/raw/" in path):
        with files.open_input_file(path) as file:
            (tmp_path / f"{number}.parquet").write_bytes(file.read())
    found = duckdb.sql(
        f"""SELECT symbol, count(*), sum(len(bids)), sum(list_sum([level.price * level.quantity FOR level IN bids]))
            FROM read_parquet('{tmp_path}/*.parquet') GROUP BY symbol ORDER BY symbol"""
    ).fetchall()
    for symbol, books, levels, value in found:
        mine = [row for row in wanted if row[0] == symbol]
        assert (books, levels) == (len(mine), sum(len(row[3]) for row in mine))
        assert value == pytest.approx(sum(level["price"] * level["quantity"] for row in mine for level in row[3]))
    assert len(found) == len(SYMBOLS)


@pytest.mark.parametrize("closed", [False, True])
def test_spark_reads_the_levels_of_an_open_and_of_a_closed_day(tmp_path: Path, closed: bool) -> None:
    wanted = list(map(row_by_hand, build_books(tmp_path / "lake", book_layout(), closed=closed)))

    found = spark(
        tmp_path / "lake", "SELECT symbol, update_id, to_json(bids), to_json(asks) FROM orderbooks ORDER BY timestamp"
    )

    assert [(symbol, number) for symbol, number, _, _ in found] == [(row[0], row[2]) for row in wanted]
    sides = [[None if side is None else json.loads(str(side)) for side in row[2:]] for row in found]
    assert sides == [[row[3], row[4]] for row in wanted]
