"""Documents come back as they were put, never replace each other, and are found by kind, fields and time."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer import Lake
from streamer.clock import SystemClock
from streamer.docstore.docstore import AsyncDocuments
from streamer.docstore.table import as_document, from_document, write_sqlite
from streamer.errors import Damaged, Invalid, NotFound
from streamer.store.contract import Create, Overwrite, Store
from streamer.store.directory import DirectoryStore
from streamer.store.memory import MemoryStore
from streamer.testing.manual_clock import ManualClock
from streamer.workers import InlineWorkers

AT = datetime(2024, 1, 15, 10, tzinfo=UTC)
NASTY = ["../../etc", "/", "", "x" * 300, "é😀", ".", "_x"]


@pytest.fixture(params=["memory", "directory"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    if request.param == "memory":
        yield MemoryStore(ManualClock(), page=3)
        return
    store = DirectoryStore(tmp_path / "lake", SystemClock(), create=True)
    await store.prepare()
    yield store
    await store.close()


@pytest.fixture
def documents(store: Store) -> AsyncDocuments:
    return AsyncDocuments(store, ManualClock(), InlineWorkers())


@pytest.mark.parametrize("user", NASTY)
async def test_whatever_a_user_is_called_the_document_is_his_alone(documents: AsyncDocuments, store: Store, user: str) -> None:
    for other in NASTY:
        await documents.put("portfolio", {"of": other}, at=AT, user_id=other)

    assert (await documents.latest("portfolio", user_id=user)).data == {"of": user}
    assert [info.kind for info in await documents.list("portfolio", user_id=user)] == ["portfolio"]
    assert all(key.startswith("user-data/") and ".." not in key.split("/") for key in [item.key async for item in store.list()])
    assert len(await documents.list("portfolio")) == len(NASTY)


@pytest.mark.parametrize("packing", [None, "gzip", "zstd"])
async def test_data_metadata_and_tags_come_back(documents: AsyncDocuments, packing: Any) -> None:
    data = {"bids": [[1.5, 2.0]], "asks": [], "name": "é😀"}

    info = await documents.put(
        "orderbook", data, at=AT, packing=packing, metadata={"source": "binance"}, tags={"stufe": "höher"}, symbol="BTC/USDT"
    )
    found = await documents.get("orderbook", at="2024-01-15T10:00:00", symbol="BTC/USDT")

    assert (found.data, found.info, found.metadata, found.tags) == (data, info, {"source": "binance"}, {"stufe": "höher"})
    assert info.fields == {"symbol": "BTC/USDT"}
    assert info.key.endswith({None: ".json", "gzip": ".json.gz", "zstd": ".json.zst"}[packing])


async def test_the_same_is_one_document_and_another_of_the_same_instant_the_next_version(documents: AsyncDocuments) -> None:
    for price in (1, 2, 1, 2, *range(3, 13)):
        await documents.put("trades", [price], at=AT, symbol="BTC")

    versions = await documents.versions("trades", at=AT, symbol="BTC")

    assert [info.version for info in versions] == list(range(1, 13))
    assert (await documents.get("trades", at=AT, symbol="BTC")).data == [12]
    assert (await documents.get("trades", at=AT, version=2, symbol="BTC")).data == [2]
    assert (await documents.latest("trades", symbol="BTC")).info.version == 12
    with pytest.raises(NotFound):
        await documents.get("trades", at=AT, version=13, symbol="BTC")


async def test_a_report_of_a_day_is_replaced(documents: AsyncDocuments) -> None:
    await documents.put("report", b"one", at="2024-01-15", ticker="NVDA")
    await documents.put("report", b"two", at="2024-01-15T23:00", ticker="NVDA")

    (info,) = await documents.list("report", "2024-01-15T12:00", "2024-01-16", ticker="NVDA")
    assert (await documents.read(info)).data == b"two"


@given(st.lists(st.integers(0, 3000), max_size=12), st.integers(0, 3000), st.integers(0, 3000))
async def test_a_listing_has_what_lies_between_its_ends_in_order(hours: list[int], start: int, end: int) -> None:
    documents = AsyncDocuments(MemoryStore(ManualClock(), page=3), ManualClock(), InlineWorkers())
    moment = {hour: AT + timedelta(hours=hour) for hour in (*hours, start, end)}
    for hour in hours:
        await documents.put("trades", hour, at=moment[hour], symbol="BTC")
        await documents.put("trades", hour, at=moment[hour], symbol="BTCX")

    found = await documents.list("trades", moment[start], moment[end], symbol="BTC")
    both = await documents.list("trades", moment[start], moment[end])

    wanted = sorted({moment[hour] for hour in hours if start <= hour < end})
    assert [info.at for info in found] == wanted
    assert {info.fields["symbol"] for info in found} <= {"BTC"}
    assert sorted({info.at for info in both}) == wanted
    if hours:
        assert (await documents.latest("trades", symbol="BTC")).data == max(hours)


@pytest.mark.parametrize("age_days", [0, 5, 40, 300, 5000, -3])
async def test_the_latest_is_found_however_old_it_is(documents: AsyncDocuments, age_days: int) -> None:
    now = documents._clock.now()
    await documents.put("analytics", 1, at=now - timedelta(days=age_days + 1), report_type="risk")
    await documents.put("analytics", 2, at=now - timedelta(days=age_days), report_type="risk")

    assert (await documents.latest("analytics", report_type="risk")).data == 2


async def test_what_is_not_there_or_not_said_is_an_error(documents: AsyncDocuments) -> None:
    with pytest.raises(NotFound):
        await documents.latest("trades", symbol="BTC")
    with pytest.raises(Invalid, match="no kind"):
        await documents.put("nothing", {})
    with pytest.raises(Invalid, match="fields of"):
        await documents.put("trades", {})
    with pytest.raises(Invalid, match="cannot be"):
        await documents.put("processed", {}, computation="../x", ticker="BTC")
    with pytest.raises(Invalid, match="JSON"):
        await documents.put("trades", {1, 2}, symbol="BTC")
    with pytest.raises(Invalid, match="which document"):
        await documents.get("trades", symbol="BTC")
    with pytest.raises(Invalid, match="web addresses"):
        await documents.presign(await documents.put("trades", 1, symbol="BTC"))


async def test_a_kind_of_ones_own(documents: AsyncDocuments) -> None:
    documents.declare("alert", "alerts/{desk}/{Y}/{m}/{d}/{timestamp}.txt")

    info = await documents.put("alert", "sell", at=AT, packing="zstd", desk="fx")

    assert info.key == "alerts/fx/2024/01/15/2024-01-15T10-00-00-000000.txt.zst"
    assert (await documents.latest("alert", desk="fx")).data == "sell"
    await documents.delete(info)
    assert await documents.list("alert") == []


async def test_raw_documents_do_not_lie_in_the_folder_of_a_stream(documents: AsyncDocuments, store: Store) -> None:
    key = "raw/ticks/date=2024-01-01/ticks-00000-00000000000000000000-00000000000000000010.parquet"
    await store.put(key, b"rows", mode=Create())

    await documents.put("raw", {}, at=AT, source="binance", ticker="BTC")
    with pytest.raises(Invalid, match="stream of records"):
        await documents.put("raw", {}, at=AT, source="ticks", ticker="BTC")


async def test_damage_is_said_and_a_bomb_does_not_go_off(
    documents: AsyncDocuments, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = await documents.put("trades", ["x" * 5000], at=AT, packing="zstd", symbol="BTC")
    monkeypatch.setattr("streamer.docstore.body.SIZE_LIMIT_BYTES", 1000)
    with pytest.raises(Damaged, match="unpacks to more"):
        await documents.read(info)

    for body in (b"", b"{", pa.compress(b"{", "zstd", asbytes=True)):
        await store.put(info.key, body, mode=Overwrite())
        with pytest.raises(Damaged, match="cannot be read"):
            await documents.read(info)


# ---- tables --------------------------------------------------------------------------------------------------------------

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
CELLS = st.one_of(
    st.none(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), TEXT, st.binary(max_size=20)
)  # fmt: skip
NAMES = ["plain", 'with "quotes"', "select", "é😀", "a; DROP TABLE x"]


@given(st.lists(st.tuples(*[CELLS] * 5), max_size=5), st.sampled_from(["t", 'odd "name"; --', "../../etc"]))
def test_a_sqlite_table_comes_back_with_its_types(rows: list[tuple[Any, ...]], table: str) -> None:
    quoted = '"' + table.replace('"', '""') + '"'
    columns = ", ".join('"' + name.replace('"', '""') + '"' for name in NAMES)
    source, target = sqlite3.connect(":memory:"), sqlite3.connect(":memory:")
    source.execute(f"CREATE TABLE {quoted} ({columns})")
    source.executemany(f"INSERT INTO {quoted} VALUES (?, ?, ?, ?, ?)", rows)

    document = orjson.loads(orjson.dumps(as_document(source, table)))
    write_sqlite(from_document(document, key="k"), table, target, replace=False)

    question = f"SELECT * FROM {quoted}"
    assert target.execute(question).fetchall() == source.execute(question).fetchall()
    assert [row[0] for row in target.execute("SELECT name FROM sqlite_master")] == [table]
    source.close()
    target.close()


TIMES = st.one_of(st.datetimes(), st.datetimes(timezones=st.just(UTC)), st.dates(), st.times())
VALUES = st.recursive(
    st.one_of(CELLS, st.booleans(), st.integers(), st.decimals(allow_nan=False), TIMES),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=8,
)


@given(st.lists(st.fixed_dictionaries({"a": VALUES, "$bytes": VALUES}), max_size=4))
def test_rows_from_anywhere_come_back_with_their_types(rows: list[dict[str, Any]]) -> None:
    again = from_document(orjson.loads(orjson.dumps(as_document(rows, "t"))), key="k").rows()

    assert again == rows
    for found, given_ in zip(again, rows, strict=True):
        assert {name: type(value) for name, value in found.items()} == {name: type(value) for name, value in given_.items()}


def test_keys_types_and_not_null_of_sqlite_are_kept() -> None:
    source, target = sqlite3.connect(":memory:"), sqlite3.connect(":memory:")
    source.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, amount DECIMAL(10, 2) NOT NULL, note VARCHAR(20))")
    source.execute("CREATE TABLE pair (b TEXT, a TEXT, PRIMARY KEY (a, b))")
    for table in ("t", "pair"):
        write_sqlite(from_document(as_document(source, table), key="k"), table, target, replace=False)
        question = f"PRAGMA table_info({table})"
        assert target.execute(question).fetchall() == source.execute(question).fetchall()
    source.close()
    target.close()


@pytest.mark.parametrize("declared", ["TEXT); DROP TABLE keep; --", "TEXT DEFAULT (randomblob(1000000000))", "TEXT\n, x"])
def test_a_document_that_was_tampered_with_runs_no_statement(declared: str) -> None:
    target = sqlite3.connect(":memory:")
    target.execute("CREATE TABLE keep (x)")
    document = {"version": 1, "columns": [{"name": "a", "declared": declared}], "rows": [["1"]]}

    with pytest.raises(Invalid, match="plain words"):
        write_sqlite(from_document(document, key="k"), "t", target, replace=True)

    assert [row[0] for row in target.execute("SELECT name FROM sqlite_master")] == ["keep"]
    target.close()


@pytest.mark.parametrize("document", [None, [], {}, {"version": 2}])
def test_another_document_is_no_copy_of_a_table(document: Any) -> None:
    with pytest.raises(Damaged):
        from_document(document, key="k")


@pytest.mark.parametrize(
    "rows", [7, [[1, 2]], [[{"$x": 1}]], [[{"$int": "x"}]], [[{}]], [[{"$decimal": "x"}]], [[{"$bytes": "?"}]]]
)
def test_rows_that_are_none_are_damage(rows: Any) -> None:
    with pytest.raises(Damaged):
        from_document({"version": 1, "columns": [{"name": "a"}], "rows": rows}, key="k")


def test_a_restore_that_fails_changes_nothing() -> None:
    target = sqlite3.connect(":memory:")
    target.execute("CREATE TABLE t (x)")
    target.execute("INSERT INTO t VALUES (1)")
    target.commit()
    copy = from_document({"version": 1, "columns": [{"name": "a", "required": True}], "rows": [[None]]}, key="k")

    with pytest.raises(Invalid, match="cannot be restored"):
        write_sqlite(copy, "t", target, replace=True)
    with pytest.raises(Invalid, match="already exists"):
        write_sqlite(copy, "t", target, replace=False)

    assert target.execute("SELECT * FROM t").fetchall() == [(1,)]
    target.close()


def test_the_lake_has_a_door_to_documents_and_tables(tmp_path: Path) -> None:
    rows = [
        {"id": 1, "paid": Decimal("1.10"), "at": datetime(2024, 1, 1, tzinfo=UTC), "day": date(2024, 1, 1), "hour": time(1)}
    ]
    source, target = sqlite3.connect(tmp_path / "a.db"), sqlite3.connect(tmp_path / "b.db")
    source.execute("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT)")
    source.execute("INSERT INTO users VALUES (7, 'Ada')")
    source.commit()

    with Lake.open(str(tmp_path / "lake"), cache=None, create=True) as lake:
        info = lake.documents.put("portfolio", {"BTC": 1}, user_id=7)
        assert lake.documents.get("portfolio", at=info.at, user_id="7").data == {"BTC": 1}
        lake.documents.backup_table(rows, "payments")
        assert lake.documents.restore_table("payments") == rows
        old = lake.documents.backup_table(source, "users")
        source.execute("DELETE FROM users")
        lake.documents.backup_table(source, "users")
        assert lake.documents.restore_table("users") == []
        assert lake.documents.restore_table("users", target, at=old.at) == [{"id": 7, "name": "Ada"}]

    assert target.execute("SELECT * FROM users").fetchall() == [(7, "Ada")]
    source.close()
    target.close()


async def test_several_documents_of_one_instant_are_put_together_beside_what_is_there(documents: AsyncDocuments) -> None:
    await documents.put("trades", [0], at=AT, symbol="BTC")
    given_ = [(AT, [n % 4]) for n in range(8)] + [(AT + timedelta(seconds=1), [9])]

    infos = await documents.put_all("trades", given_, symbol="BTC")

    assert [(await documents.read(info)).data for info in infos] == [data for _, data in given_]
    assert [info.version for info in await documents.list("trades", symbol="BTC")] == [1, 2, 3, 4, 1]
    with pytest.raises(Invalid, match="replace each other"):
        await documents.put_all("report", [(AT, b"x")], ticker="BTC")


async def test_start_and_end_by_name_and_a_version_that_is_not_there_are_told_the_next_step(documents: AsyncDocuments) -> None:
    with pytest.raises(Invalid, match="by its place") as error:
        await documents.list("portfolio", start="2024-01-15")
    assert "list(" in error.value.hint
    with pytest.raises(NotFound) as absent:
        await documents.get("portfolio", at=AT, user_id="7")
    assert "versions" in absent.value.hint
