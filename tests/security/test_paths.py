"""Nobody who chooses a name chooses a place: not by a message, a configuration, a listing, nor a model's name."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

from streamer.cli.main import main
from streamer.config import load
from streamer.config.stream_layouts import streams
from streamer.errors import Invalid
from streamer.keys import data_key
from streamer.records import BatchRange, TopicPartition
from streamer.schemas import columns_of
from streamer.store.contract import Create
from streamer.store.directory import DirectoryStore
from streamer.store.s3 import S3Store
from streamer.testing.manual_clock import ManualClock
from streamer.write.partition_path import PartitionPath
from tests.unit.decode.decoding import chunk_of, slowly, tick
from tests.unit.store.fault_server import Answer, fault_server

EVIL = [
    "..",
    "../../outside",
    "/etc/passwd",
    "a/../../b",
    "~root",
    "C:\\x",
    ".",
    "",
    "\x00",
    "a\nb",
    "%2e%2e%2f",
    "é" * 300,
    "con",
    "-rf",
]


async def test_symbols_of_messages_stay_in_their_folders(tmp_path: Path) -> None:
    root = tmp_path / "deep" / "lake"
    store = DirectoryStore(str(root), ManualClock(), create=True)
    await store.prepare()
    messages = [json.dumps({"symbol": symbol, "price": 1, "side": symbol, "exchange": symbol}).encode() for symbol in EVIL]
    table: pa.Table = slowly(tick(), chunk_of(messages)).table
    assert table.num_rows == len(EVIL)

    for template in ("symbol={symbol}/date={date}", "{symbol}/{side}/{exchange}"):
        groups = PartitionPath.parse(template, columns_of("tick")).groups(table)
        assert len(groups) == len(EVIL)
        for path, _ in groups:
            key = data_key("ticks", path, BatchRange(TopicPartition("t", 0), 0, 1), "parquet")
            await store.put(key, b"x", mode=Create())

    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sum(path.name.endswith(".parquet") for path in files) == 2 * len(EVIL)
    assert all(path.resolve().is_relative_to(root.resolve()) for path in files)


@pytest.mark.parametrize(
    "toml",
    [
        '[streams.ticks]\npath = "../{symbol}"',
        '[streams.ticks]\npath = "/{symbol}"',
        '[streams.ticks]\npath = "{symbol}/./x"',
        '[streams.ticks]\npath = "{symbol}//x"',
        '[streams.ticks]\npath = "a\\u0000/{symbol}"',
        '[streams.ticks]\npath = "_hidden/{symbol}"',
        '[streams.ticks]\ntopic = "../x"',
        '[streams.ticks]\ntopic = ".."',
        '[streams."../x"]\nschema = "tick"',
        '[streams.features]\nhistory = { document = "../outside.json" }',
        '[streams.features]\nhistory = { document = "/etc/outside.json" }',
        '[streams.features]\nhistory = { document = "_streamer/positions/ticks/00000.json" }',
        '[streams.features]\nhistory = { document = "raw/ticks/x.json" }',
        '[lake]\nurl = "s3://bucket/../other"',
        '[lake]\nurl = "s3://../bucket"',
    ],
)
def test_no_configuration_leads_out_of_the_lake_or_into_streamers_own_places(tmp_path: Path, toml: str) -> None:
    (tmp_path / "streamer.toml").write_text(toml)

    with pytest.raises(Invalid):
        streams(load(environment={} if "url" in toml else {"S3_BUCKET": "bucket"}, directory=tmp_path))


async def test_a_listing_that_names_places_outside_is_copied_nowhere(tmp_path: Path) -> None:
    root = tmp_path / "deep" / "lake"
    target = DirectoryStore(str(root), ManualClock(), create=True)
    await target.prepare()
    names = "".join(
        f"<Contents><Key>{key}</Key><Size>1</Size><ETag>abc</ETag><LastModified>2026-01-03T10:00:00Z</LastModified></Contents>"
        for key in ("../../outside", "/etc/outside", "a/../../outside", "a//b")
    )
    listing = f"<ListBucketResult><IsTruncated>false</IsTruncated>{names}</ListBucketResult>"
    async with fault_server() as server:
        server.reply(Answer(body=listing.encode()))
        source = S3Store("bucket", "", server.settings())
        listed = [item.key async for item in source.list()]
        assert len(listed) == 4
        for key in listed:
            with pytest.raises(Invalid):
                await target.put(key, b"x", mode=Create())
            with pytest.raises(Invalid):
                await source.get(key)
        await source.close()
    assert [path for path in tmp_path.rglob("*") if "outside" in path.name] == []


@pytest.mark.parametrize("name", ["../../outside", "/etc/outside", "..", ".", "versions", "a/b", "a\x00b", "-", ""])
def test_no_model_is_called_so_that_it_leads_elsewhere(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").write_bytes(b"weights")
    lake = tmp_path / "deep" / "lake"
    lake.mkdir(parents=True)

    status = main(["models", "push", str(tmp_path / "model"), "--name", name, "--lake", str(lake)])

    assert status == 2, capsys.readouterr()
    assert [
        path for path in tmp_path.rglob("*") if path.is_file() and path.name != "model" and ".streamer" not in path.parts
    ] == []
