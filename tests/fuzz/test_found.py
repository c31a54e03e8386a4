"""What fuzzing has found, one test each: the way it went wrong, and that it does no longer."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import orjson
import pyarrow as pa
import pytest

from streamer.archive.certificate import Certificate
from streamer.archive.lease import LeaseDocument
from streamer.commit.ownership import Ownership
from streamer.commit.position import Position
from streamer.errors import Damaged, Invalid
from streamer.features.document import Head, parsed_rows
from streamer.keys import certificate_key, model_registry_key, parse_kept_key, parse_position_key, position_key
from streamer.lake.inventory import Folder, LakeFile
from streamer.lake.letters import parse_letters
from streamer.lake.ndjson_rows import parse_rows
from streamer.lake.stored_file import WHOLE_BYTES, Unreadable, read_file
from streamer.models.cache import ModelCache
from streamer.models.models import AsyncModels
from streamer.models.refusals import NotSigned
from streamer.models.registry import Registry
from streamer.models.signature import Signer
from streamer.models.version import about
from streamer.store.contract import Overwrite
from streamer.store.directory import DirectoryStore
from streamer.store.directory_metadata import decode_twin
from streamer.store.memory import MemoryStore
from streamer.testing.manual_clock import ManualClock
from streamer.workers import InlineWorkers
from tests.fuzz.test_documents import CERTIFICATE, DAY, HEAD, LEASE, POSITION, REGISTRY, SOURCE, VERSION
from tests.fuzz.test_files import LETTER, PARQUET, RANGE


def position_with(**fields: object) -> bytes:
    return orjson.dumps({**orjson.loads(POSITION.to_json()), **fields})


@pytest.mark.parametrize("through", ["2026-01-03T10:00:00", "0001-01-01T00:00:00+23:59", 5, True])
def test_a_position_whose_time_cannot_be_compared_is_damaged(through: object) -> None:
    with pytest.raises(Damaged, match="not a position"):
        Position.from_json(position_with(through=through), key="k")


@pytest.mark.parametrize(
    "fields",
    [
        {"gaps": [{"start": "0", "end": 1, "reason": "retention", "at": ""}]},
        {"last": {"offset": None, "timestamp": 0, "crc": 0}},
        {"start": "0"},
        {"past": [{"lineage": 0, "cluster_id": 5, "start": 0, "committed": 0, "sealed": 0, "gaps": []}]},
        {"sequence": 2**63},
        {"epoch": -1},
        {"partition": -1},
    ],
)
def test_a_position_with_a_part_of_another_type_is_damaged_and_not_believed(fields: dict[str, object]) -> None:
    with pytest.raises(Damaged, match="not a position"):
        Position.from_json(position_with(**fields), key="k")


async def test_a_position_of_another_partition_is_damage_and_no_bug() -> None:
    clock = ManualClock()
    store = MemoryStore(clock)
    await store.put(position_key(SOURCE), position_with(partition=SOURCE.partition + 1), mode=Overwrite())

    with pytest.raises(Damaged, match="it is the position of ticks"):
        await Ownership(store, SOURCE, writer="me", host="host", clock=clock).look()


def test_a_lease_without_a_time_zone_or_of_other_types_is_damaged() -> None:
    for fields in ({"expires": "2026-01-03T10:00:00"}, {"epoch": "2"}, {"sequence": None}, {"holder": 7}):
        with pytest.raises(Damaged, match="not a lease"):
            LeaseDocument.from_json(orjson.dumps({**orjson.loads(LEASE.to_json()), **fields}))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("revision",), "2"),
        (("streams",), {"ticks": {}}),
        (("streams", "ticks", "rows"), "5"),
        (("streams", "ticks", "row_hash"), "no digits"),
        (("streams", "ticks", "outputs", 0, "key"), None),
        (("streams", "ticks", "partitions", 0, "ranges"), [[1, 2, 3]]),
        (("bars", "intervals"), ["7m"]),
        (("summary",), "x"),
    ],
)
def test_a_certificate_with_a_part_of_another_type_is_damaged(path: tuple[object, ...], value: object) -> None:
    fields = orjson.loads(CERTIFICATE.to_json())
    here = fields
    for name in path[:-1]:
        here = here[name]
    here[path[-1]] = value

    with pytest.raises(Damaged, match="not a certificate"):
        Certificate.from_json(orjson.dumps(fields), key=certificate_key(DAY))


@pytest.mark.parametrize(
    "suffix", ["/../../../../etc/cron.d/x", "/x", "..", ".pkl/..", ".\x00", "\\..\\x", ".pkl.gz.more", "x", "./"]
)
def test_a_registry_whose_suffix_leads_elsewhere_is_damaged(suffix: str) -> None:
    body = orjson.dumps({**orjson.loads(REGISTRY.to_json()), "suffix": suffix})

    with pytest.raises(Damaged, match="not a registry"):
        Registry.from_json(body, key="k")


async def test_a_forged_registry_cannot_make_a_pull_write_outside_its_folder(tmp_path: Path) -> None:
    """The cache had the bytes, so no key was ever looked at: they were written wherever the suffix pointed."""
    content = b"#!/bin/sh\n"
    digest = hashlib.sha256(content).hexdigest()
    cached = tmp_path / "cache" / "models" / digest[:2]
    cached.mkdir(parents=True)
    (cached / digest).write_bytes(content)
    forged = replace(REGISTRY, versions=(replace(VERSION, size=len(content), sha256=digest),))
    body = orjson.dumps({**orjson.loads(forged.to_json()), "suffix": "/../../outside"})
    clock = ManualClock()
    store = MemoryStore(clock)
    await store.put(model_registry_key("hmm"), body, mode=Overwrite())
    target = tmp_path / "engine" / "models"
    (target / "hmm").mkdir(parents=True)

    with pytest.raises(Damaged):
        await AsyncModels(store, clock, InlineWorkers(), cache=ModelCache(tmp_path / "cache")).pull("hmm", str(target) + os.sep)

    assert not (tmp_path / "engine" / "outside").exists()
    assert list(target.rglob("*")) == [target / "hmm"]


def test_a_signature_that_is_no_ascii_is_not_by_this_key() -> None:
    with pytest.raises(NotSigned, match="not by this key"):
        Signer(b"key").demand("hmm", replace(VERSION, signature="\u00e9" * 64))


def test_a_registry_nested_deeper_than_it_could_be_written_is_damaged() -> None:
    deep = b"[" * 300 + b"]" * 300
    body = REGISTRY.to_json().replace(b'"field": 1', b'"field": ' + deep)
    assert deep in body

    with pytest.raises(Damaged, match="nested"):
        Registry.from_json(body, key="k")


@pytest.mark.parametrize(("name", "value"), [("schema", [1]), ("parent", {"n": 1}), ("parent", True), ("schema", 5)])
def test_what_a_sidecar_calls_parent_or_schema_is_text_or_a_number(name: str, value: object) -> None:
    with pytest.raises(Invalid, match="parent or schema"):
        about(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("saved", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-01-03"])
def test_a_history_saved_at_no_time_is_damaged(saved: str) -> None:
    fields = orjson.loads(HEAD.to_json() + b"}}")
    fields["saved"]["ticks"]["3"] = saved

    with pytest.raises(Damaged, match="not a feature history"):
        Head.from_fields(fields, key="k")


def test_a_history_of_a_partition_in_other_digits_is_damaged() -> None:
    fields = orjson.loads(HEAD.to_json() + b"}}")
    for part in ("offsets", "lineage", "saved"):
        fields[part]["ticks"]["\u0663"] = fields[part]["ticks"].pop("3")

    with pytest.raises(Damaged, match="not a feature history"):
        Head.from_fields(fields, key="k")


def test_a_row_of_a_history_nested_deeper_than_it_could_be_written_is_damaged() -> None:
    deep = b"[" * 300 + b"]" * 300

    with pytest.raises(Damaged, match="nested"):
        parsed_rows(b'[{"timestamp":"t","partition":0,"offset":0,"x":' + deep + b"}]", {}, key="k")


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"objects":{"etag":{"rows":5}}}', b'{"objects":{"etag":"rows"}}'])
def test_a_spoiled_twin_has_no_metadata(body: bytes) -> None:
    assert decode_twin(body) == {}


def test_a_name_like_that_of_a_kept_history_with_no_such_day_is_no_kept_history() -> None:
    assert parse_kept_key("state/h.json", "state/_kept/h/2026-02-30T100000.000000Z.json") is None
    assert parse_kept_key("state/h.json", "state/_kept/h/2026-02-20T106000.000000Z.json") is None


def test_the_key_of_a_position_has_ascii_digits_alone() -> None:
    arabic = "\u0660\u0660\u0660\u0660\u0663"

    assert parse_position_key(f"_streamer/positions/ticks/{arabic}.json") is None
    assert parse_position_key("_streamer/positions/ticks/000003.json") is None


@pytest.mark.parametrize(
    "line",
    [
        b'{"timestamp":[]}', b'{"timestamp":true}', b"[]", b"7", b'{"extra":' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"level":5000000000}', b'{"count":1e400}', b'{"tags":{"a":1}}', b'{"features":[]}', b'{"day":7}',
    ],
)  # fmt: skip
def test_a_line_that_is_no_row_is_a_value_error_whatever_it_is(line: bytes) -> None:
    schema = pa.schema(
        [
            ("timestamp", pa.timestamp("us", "UTC")), ("extra", pa.string()), ("level", pa.int32()), ("count", pa.int64()),
            ("tags", pa.list_(pa.string())), ("features", pa.map_(pa.string(), pa.float64())), ("day", pa.date32()),
        ]
    )  # fmt: skip
    with pytest.raises(ValueError):
        parse_rows(line + b"\n", schema, None)


@pytest.mark.parametrize(
    "fields",
    [
        {"topic": None},
        {"offset": 2**63},
        {"offset": -1},
        {"timestamp": 2**63},
        {"value": 5},
        {"headers": [["a", 1]]},
        {"key": "%"},
    ],
)
def test_a_dead_letter_with_a_part_of_another_type_is_none(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="line 1 is not a dead letter"):
        parse_letters(orjson.dumps({**LETTER, **fields}) + b"\n")
    with pytest.raises(ValueError, match="line 1 is not a dead letter"):
        parse_letters(b'{"topic":' + b"[" * 100_000 + b"\n")


async def test_a_parquet_footer_with_names_that_are_no_utf8_is_unreadable_by_every_way(tmp_path: Path) -> None:
    body = PARQUET.replace(b"symbol", b"symb\xf0l")
    assert body != PARQUET
    clock = ManualClock()
    directory = DirectoryStore(tmp_path, clock)
    folder = Folder("ticks", "date=2026-01-03", "parquet", dead_letters=False)
    for size in (len(body), WHOLE_BYTES + 1):
        file = LakeFile(folder, RANGE, size)
        (tmp_path / file.key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file.key).write_bytes(b"PAR1" + b"\0" * (size - len(body)) + body[4:])

        with pytest.raises(Unreadable):
            await read_file(directory, file, None, pa.schema([]), InlineWorkers())

        assert (await directory.head(file.key)).metadata == {}
