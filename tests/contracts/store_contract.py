"""What every store promises, as one suite. A subclass provides the fixture `store`: empty, prepared, closed afterwards.

Tests that need a second handle on the same place (another process, in effect) use `other`, which is `store` itself where
there is no such thing.
"""

from __future__ import annotations

import asyncio
import random

import pytest

from streamer.errors import Conflict, Invalid, NotFound
from streamer.store.contract import Create, Overwrite, Replace, Store

# Every kind of text that a partition value, a topic or a user's prefix can bring.
ODD_NAMES = (
    "symbol=BTC%2FUSDT", "a b", "a+b", "a=b", "a&b", "a%b", "a%20b", "100%", "é", "日本", "🚀", "a:b", "a~b", "a!b", "a'b",
    'a"b', "(x)", "[x]", "{x}", "a*b", "a,b", "a;b", "a@b", "a$b", "a#b", "a?b", "a\\b", "a|b", "a^b", "<x>", "_hidden",
    "-dash", ".dot", "...", "a.", "e\u0301", "\u00a0", "Z", "z", "0", "~", "a-b", "a.b", "a0b", "aZb",
)  # fmt: skip


async def keys_of(store: Store, prefix: str = "", start_after: str = "") -> list[str]:
    return [info.key async for info in store.list(prefix, start_after=start_after)]


class StoreContract:
    # How many keys the listings are tried over.
    many = 300
    big_bytes = 10 << 20
    part_bytes = 5 << 20

    @pytest.fixture
    def other(self, store: Store) -> Store:
        return store

    # What is written is read.

    async def test_an_object_is_read_as_it_was_written(self, store: Store) -> None:
        etag = await store.put("raw/a.bin", b"\x00body\xff", mode=Create())

        found = await store.get("raw/a.bin")
        assert found.body == b"\x00body\xff"
        assert (found.info.key, found.info.size_bytes, found.info.etag) == ("raw/a.bin", 6, etag)
        assert found.info.modified.tzinfo is not None

    async def test_an_empty_object_is_an_object(self, store: Store) -> None:
        await store.put("raw/empty", b"", mode=Create())

        assert (await store.get("raw/empty")).body == b""
        assert (await store.head("raw/empty")).size_bytes == 0
        assert await store.get_range("raw/empty", 0, 5) == b""
        assert await store.get_range("raw/empty", -5, 5) == b""
        assert await keys_of(store) == ["raw/empty"]

    async def test_ten_megabytes_come_back_byte_for_byte(self, store: Store) -> None:
        body = random.Random(1).randbytes(self.big_bytes)

        await store.put("raw/big", body, mode=Create())

        assert (await store.get("raw/big")).body == body
        assert await store.get_range("raw/big", self.big_bytes - 100, 1000) == body[-100:]

    async def test_a_memoryview_is_as_good_as_bytes(self, store: Store) -> None:
        await store.put("raw/view", memoryview(bytearray(b"__view__"))[2:6], mode=Create())

        assert (await store.get("raw/view")).body == b"view"

    async def test_what_is_not_there_is_not_found(self, store: Store) -> None:
        await store.put("raw/here", b"x", mode=Create())

        for key in ("raw/her", "raw/here2", "raw", "nothing/at/all", "raw/here/inside"):
            for ask in (store.get(key), store.head(key), store.get_range(key, 0, 1), store.get_range(key, 0, 0)):
                with pytest.raises(NotFound):
                    await ask

    # Ranges.

    async def test_a_range_is_what_a_slice_would_be(self, store: Store) -> None:
        digits = b"0123456789"
        await store.put("raw/digits", digits, mode=Create())

        for start, length in [(0, 4), (3, 4), (0, 100), (8, 100), (9, 1), (10, 1), (500, 5), (3, 0)]:
            assert await store.get_range("raw/digits", start, length) == digits[start : start + length]
        for start, length in [(-4, 4), (-4, 2), (-4, 100), (-1, 1), (-10, 3), (-50, 3)]:
            assert await store.get_range("raw/digits", start, length) == digits[start:][:length]
        with pytest.raises(ValueError, match="negative"):
            await store.get_range("raw/digits", 0, -1)

    # Conditional writes.

    async def test_create_refuses_what_is_there_and_leaves_it_alone(self, store: Store) -> None:
        etag = await store.put("p.json", b"first", mode=Create(), metadata={"rows": "1"})

        with pytest.raises(Conflict):
            await store.put("p.json", b"second", mode=Create(), metadata={"rows": "2"})
        found = await store.get("p.json")
        assert (found.body, found.info.etag, found.info.metadata) == (b"first", etag, {"rows": "1"})

    async def test_replace_takes_the_version_it_names(self, store: Store) -> None:
        first = await store.put("p.json", b"1", mode=Create())

        second = await store.put("p.json", b"2", mode=Replace(first))

        assert second != first
        found = await store.get("p.json")
        assert (found.body, found.info.etag) == (b"2", second)

    async def test_a_stale_replace_is_refused(self, store: Store) -> None:
        first = await store.put("p.json", b"1", mode=Create())
        second = await store.put("p.json", b"2", mode=Replace(first))

        with pytest.raises(Conflict):
            await store.put("p.json", b"3", mode=Replace(first))
        found = await store.get("p.json")
        assert (found.body, found.info.etag) == (b"2", second)

    async def test_nothing_cannot_be_replaced(self, store: Store) -> None:
        with pytest.raises(Conflict):
            await store.put("p.json", b"1", mode=Replace('"0123456789abcdef0123456789abcdef"'))
        with pytest.raises(NotFound):
            await store.head("p.json")

    async def test_after_a_delete_the_key_can_be_created_but_not_replaced(self, store: Store) -> None:
        etag = await store.put("p.json", b"1", mode=Create())
        await store.delete("p.json")

        with pytest.raises(Conflict):
            await store.put("p.json", b"2", mode=Replace(etag))
        await store.put("p.json", b"3", mode=Create())
        assert (await store.get("p.json")).body == b"3"

    async def test_twenty_creates_have_one_winner(self, store: Store, other: Store) -> None:
        bodies = [b"writer %d" % number for number in range(20)]

        outcomes = await asyncio.gather(
            *((store, other)[number % 2].put("p/race.json", body, mode=Create()) for number, body in enumerate(bodies)),
            return_exceptions=True,
        )

        winners = [number for number, outcome in enumerate(outcomes) if isinstance(outcome, str)]
        assert len(winners) == 1
        assert all(isinstance(outcome, Conflict) for number, outcome in enumerate(outcomes) if number != winners[0])
        assert (await store.get("p/race.json")).body == bodies[winners[0]]

    async def test_a_counter_under_compare_and_swap_loses_no_step(self, store: Store, other: Store) -> None:
        await store.put("p/counter", b"0", mode=Create())

        async def count(handle: Store, steps: int) -> None:
            while steps:
                found = await handle.get("p/counter")
                try:
                    await handle.put("p/counter", str(int(found.body) + 1).encode(), mode=Replace(found.info.etag))
                except Conflict:
                    continue
                steps -= 1

        await asyncio.gather(*(count(handle, 4) for handle in (store, other, store, other)))

        assert (await store.get("p/counter")).body == b"16"

    async def test_overwrite_takes_whatever_is_there(self, store: Store) -> None:
        await store.put("latest", b"1", mode=Overwrite())
        etag = await store.put("latest", b"22", mode=Overwrite())

        found = await store.get("latest")
        assert (found.body, found.info.etag, found.info.size_bytes) == (b"22", etag, 2)

    async def test_a_reader_sees_the_old_object_or_the_new_one_whole(self, store: Store, other: Store) -> None:
        versions = {bytes([letter]) * 200_000: {"rows": chr(letter)} for letter in b"abcdef"}
        await store.put("latest", b"a" * 200_000, mode=Overwrite(), metadata={"rows": "a"})
        done = asyncio.Event()

        async def read() -> int:
            seen = 0
            while not done.is_set() or not seen:
                found = await other.get("latest")
                assert found.info.metadata == versions[found.body]
                seen += 1
            return seen

        readers = [asyncio.create_task(read()) for _ in range(3)]
        try:
            for body, metadata in versions.items():
                await store.put("latest", body, mode=Overwrite(), metadata=metadata)
        finally:
            done.set()
        assert all(await asyncio.gather(*readers))

    # Metadata.

    async def test_metadata_comes_back_with_get_and_head_but_not_with_list(self, store: Store) -> None:
        metadata = {
            "topic": "ticks.v1-x_y", "partition": "3", "lineage": "0", "start": "0", "end": "18446744073709551615",
            "rows": "500000", "batch_dead_letters": "0", "digest": "a1b2+/=", "note": 'two words, "quoted"; 100%',
        }  # fmt: skip

        await store.put("raw/a.ndjson.gz", b"x", mode=Create(), metadata=metadata)

        assert (await store.get("raw/a.ndjson.gz")).info.metadata == metadata
        assert (await store.head("raw/a.ndjson.gz")).metadata == metadata
        assert [info.metadata async for info in store.list()] == [None]

    async def test_an_object_without_metadata_has_empty_metadata(self, store: Store) -> None:
        await store.put("a", b"x", mode=Create())

        assert (await store.head("a")).metadata == {}

    async def test_metadata_goes_with_the_version_it_was_written_with(self, store: Store) -> None:
        etag = await store.put("a", b"1", mode=Create(), metadata={"rows": "1"})
        etag = await store.put("a", b"2", mode=Replace(etag), metadata={"lines": "2"})
        assert (await store.head("a")).metadata == {"lines": "2"}

        await store.put("a", b"3", mode=Replace(etag))
        assert (await store.head("a")).metadata == {}

        await store.delete("a")
        await store.put("a", b"1", mode=Create())
        assert (await store.head("a")).metadata == {}

    async def test_a_parquet_name_is_no_reason_to_lose_metadata(self, store: Store) -> None:
        await store.put("a.parquet", b"not parquet", mode=Create(), metadata={"rows": "1"})

        assert (await store.head("a.parquet")).metadata == {"rows": "1"}

    async def test_metadata_that_would_not_come_back_is_refused(self, store: Store) -> None:
        names = [{"Upper": "x"}, {"da-sh": "x"}, {"": "x"}]
        values = [{"a": value} for value in ("", "é", " x", "x ", "x\n", "x" * 2048)]
        for metadata in names + values:
            with pytest.raises(Invalid):
                await store.put("a", b"x", mode=Create(), metadata=metadata)
        assert await keys_of(store) == []

    # Keys.

    async def test_an_odd_key_is_stored_read_listed_and_deleted(self, store: Store) -> None:
        async def live(name: str) -> None:
            key = f"raw/{name}/{name}"
            await store.put(key, name.encode(), mode=Create(), metadata={"rows": "1"})
            assert (await store.get(key)).body == name.encode()
            assert (await store.head(key)).metadata == {"rows": "1"}
            assert await keys_of(store, f"raw/{name}/") == [key]
            await store.delete(key)

        await asyncio.gather(*map(live, ODD_NAMES))
        assert await keys_of(store) == []

    async def test_a_key_that_is_none_is_refused_by_every_operation(self, store: Store) -> None:
        odd = ["", "/a", "a/", "a//b", "..", "../a", "a/../b", "a/..", ".", "./a", "a/./b", "a\x00b", "a\nb", "\x7f", "a\ud800"]
        for key in [*odd, "x" * 1025]:
            for ask in (
                store.get(key),
                store.head(key),
                store.get_range(key, 0, 1),
                store.put(key, b"x", mode=Create()),
                store.delete(key),
            ):
                with pytest.raises(Invalid):
                    await ask
        assert await keys_of(store) == []

    async def test_a_prefix_that_no_key_can_have_is_refused(self, store: Store) -> None:
        for prefix in ("/", "/a", "a//", "../", "a/../b", "\x00"):
            with pytest.raises(Invalid):
                await keys_of(store, prefix)

    # Deleting.

    async def test_a_deleted_object_is_gone_and_its_neighbours_are_not(self, store: Store) -> None:
        for key in ("d/a", "d/b", "d/c/e", "f"):
            await store.put(key, b"x", mode=Create())

        await store.delete("d/c/e")
        await store.delete("d/a")

        assert await keys_of(store) == ["d/b", "f"]
        with pytest.raises(NotFound):
            await store.get("d/a")

    async def test_deleting_nothing_is_no_error(self, store: Store) -> None:
        await store.put("d/a", b"x", mode=Create())

        await store.delete("never/there")
        await store.delete("d")
        await store.delete("d/a/b")
        await store.delete("d/a")
        await store.delete("d/a")

        assert await keys_of(store) == []

    # Listing.

    async def test_a_listing_is_in_the_order_of_the_keys_bytes(self, store: Store) -> None:
        keys = self.odd_keys()
        await self.fill(store, keys)

        expected = sorted(keys, key=str.encode)
        found = [info async for info in store.list()]
        assert [info.key for info in found] == expected
        assert all(info.size_bytes == 1 and info.modified.tzinfo is not None for info in found)
        assert found[7].etag == (await store.head(found[7].key)).etag

        chance = random.Random(3)
        for start_after in [*chance.sample(expected, 12), "m", "raw/", "raw/a", "raw/a/", "raw/a/zzz", "zzzz", "\U0010ffff"]:
            assert await keys_of(store, start_after=start_after) == [key for key in expected if key > start_after]

        prefixes = {key[: chance.randrange(len(key))] for key in chance.sample(expected, 12)} | {
            "raw/a",
            "raw/a/",
            "nothing/",
            "",
            "r",
        }
        for prefix in sorted(prefixes):
            # A key cut in the middle may end in `.` or `..`, which is the start of a name here.
            matching = [key for key in expected if key.startswith(prefix)]
            assert await keys_of(store, prefix) == matching
            if matching:
                middle = matching[len(matching) // 2]
                assert await keys_of(store, prefix, middle) == [key for key in matching if key > middle]
        assert await keys_of(store, "raw/", "aaa") == [key for key in expected if key.startswith("raw/")]
        assert await keys_of(store, "m/", "raw/") == []

    def odd_keys(self) -> list[str]:
        chance = random.Random(2)
        keys = {f"{folder}/{name}" for folder in ("raw", "raw/a", "raw/a.b", "raw/a-b", "raw/a0") for name in ODD_NAMES}
        names = [name for name in ODD_NAMES if name not in ("a", "...")]
        while len(keys) < self.many:
            keys.add(
                "raw/deep/" + "/".join(f"{chance.choice(names)}=" for _ in range(chance.randint(1, 3))) + f"/{len(keys):020d}.x"
            )
        # No key may be a folder of another: a directory cannot hold both.
        keys = {key for key in keys if not any(f"{key}/" == one[: len(key) + 1] for one in keys)}
        return sorted(keys, key=lambda _: chance.random())

    async def fill(self, store: Store, keys: list[str]) -> None:
        waiting = iter(keys)

        async def put() -> None:
            for key in waiting:
                await store.put(key, b"x", mode=Create())

        await asyncio.gather(*(put() for _ in range(8)))

    async def test_a_prefix_is_text_and_not_a_folder(self, store: Store) -> None:
        await self.fill(store, ["a/1", "ab/1", "ab/2", "abc", "b"])

        assert await keys_of(store, "ab") == ["ab/1", "ab/2", "abc"]
        assert await keys_of(store, "ab/") == ["ab/1", "ab/2"]
        assert await keys_of(store, "ab/1") == ["ab/1"]
        assert await keys_of(store, "ab/1/") == []

    async def test_a_listing_can_be_left_early_and_made_while_others_write(self, store: Store) -> None:
        await self.fill(store, [f"raw/{number:03d}" for number in range(30)])

        seen = []
        async for info in store.list("raw/"):
            seen.append(info.key)
            if len(seen) == 3:
                break
        assert seen == ["raw/000", "raw/001", "raw/002"]

        seen = []
        async for info in store.list("raw/"):
            seen.append(info.key)
            if len(seen) == 2:
                await store.put("raw/000a", b"x", mode=Create())
                await store.delete("raw/001")
        assert seen == sorted(set(seen))
        assert set(seen) >= {f"raw/{number:03d}" for number in range(30) if number != 1}

    # Cancelling.

    async def test_a_cancelled_put_leaves_the_object_whole_or_absent(self, store: Store) -> None:
        body = b"x" * 300_000
        for turns in range(0, 12, 2):
            key = f"raw/cancelled-{turns}"
            writing = asyncio.create_task(store.put(key, body, mode=Create(), metadata={"rows": "1"}))
            for _ in range(turns):
                await asyncio.sleep(0)
            writing.cancel()
            # A put that was done before the cancel could reach it is a put, and gives its ETag.
            (outcome,) = await asyncio.gather(writing, return_exceptions=True)
            assert isinstance(outcome, str | asyncio.CancelledError)
            try:
                found = await store.get(key)
            except NotFound:
                continue
            assert (found.body, found.info.metadata) == (body, {"rows": "1"})
        await store.put("raw/after", b"y", mode=Create())
        assert (await store.get("raw/after")).body == b"y"

    async def test_cancelled_reads_leave_the_store_usable(self, store: Store) -> None:
        await store.put("raw/a", b"x" * 500_000, mode=Create())
        for turns in range(40):
            reading = asyncio.create_task(store.get("raw/a"))
            for _ in range(turns % 7):
                await asyncio.sleep(0)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

        assert len((await asyncio.wait_for(store.get("raw/a"), 30)).body) == 500_000

    # Being a store.

    async def test_prepare_can_be_called_again_and_close_twice(self, store: Store) -> None:
        await store.prepare()
        await store.put("a", b"x", mode=Create())
        await store.prepare()

        assert await keys_of(store) == ["a"]
        assert "://" in store.url
        assert store.conditional_writes
        await store.close()
        await store.close()

    # Uploads in parts.

    async def test_parts_become_an_object_when_they_are_completed_and_not_before(self, store: Store) -> None:
        body = random.Random(4).randbytes(self.part_bytes + 1000)
        upload = await store.begin_upload("models/big", part_bytes=self.part_bytes, metadata={"rows": "1"})
        second = await store.put_part(upload, 2, body[self.part_bytes :])
        first = await store.put_part(upload, 1, body[: self.part_bytes])
        assert await keys_of(store) == []

        etag = await store.complete_upload(upload, [first, second], mode=Create())

        found = await store.get("models/big")
        assert (found.body, found.info.etag, found.info.metadata) == (body, etag, {"rows": "1"})
        assert [upload async for upload in store.list_uploads()] == []

    async def test_completing_an_upload_keeps_to_create(self, store: Store) -> None:
        await store.put("models/there", b"first", mode=Create())
        upload = await store.begin_upload("models/there", part_bytes=self.part_bytes)
        part = await store.put_part(upload, 1, b"second")

        with pytest.raises(Conflict):
            await store.complete_upload(upload, [part], mode=Create())
        assert (await store.get("models/there")).body == b"first"
        await store.complete_upload(upload, [part], mode=Overwrite())
        assert (await store.get("models/there")).body == b"second"

    async def test_completing_an_upload_keeps_to_replace(self, store: Store) -> None:
        stale = await store.put("models/there", b"first", mode=Create())
        etag = await store.put("models/there", b"second", mode=Overwrite())
        upload = await store.begin_upload("models/there", part_bytes=self.part_bytes)
        part = await store.put_part(upload, 1, b"third")

        with pytest.raises(Conflict):
            await store.complete_upload(upload, [part], mode=Replace(stale))
        assert (await store.get("models/there")).body == b"second"
        await store.complete_upload(upload, [part], mode=Replace(etag))
        assert (await store.get("models/there")).body == b"third"

    async def test_an_aborted_upload_leaves_nothing(self, store: Store) -> None:
        upload = await store.begin_upload("models/never", part_bytes=self.part_bytes)
        await store.put_part(upload, 1, b"x")
        assert [(found.key, found.id) async for found in store.list_uploads("models/")] == [("models/never", upload.id)]
        assert [found async for found in store.list_uploads("raw/")] == []

        await store.abort_upload(upload)
        await store.abort_upload(upload)

        assert await keys_of(store) == []
        assert [found async for found in store.list_uploads()] == []

    async def test_an_aborted_upload_takes_nothing_more(self, store: Store) -> None:
        upload = await store.begin_upload("models/never", part_bytes=self.part_bytes)
        part = await store.put_part(upload, 1, b"x")
        await store.abort_upload(upload)

        with pytest.raises(Conflict):
            await store.complete_upload(upload, [part], mode=Create())
        with pytest.raises(Conflict):
            await store.put_part(upload, 1, b"x")
        assert await keys_of(store) == []

    async def test_a_part_that_is_sent_twice_counts_once(self, store: Store) -> None:
        upload = await store.begin_upload("models/twice", part_bytes=self.part_bytes)
        await store.put_part(upload, 1, b"again")
        part = await store.put_part(upload, 1, b"again")

        await store.complete_upload(upload, [part], mode=Create())

        assert (await store.get("models/twice")).body == b"again"

    async def test_an_upload_that_was_found_in_the_list_can_be_aborted(self, store: Store) -> None:
        await store.begin_upload("models/orphan", part_bytes=self.part_bytes)

        async for found in store.list_uploads("models/"):
            assert found.begun is not None
            assert found.begun.tzinfo is not None
            await store.abort_upload(found)

        assert [found async for found in store.list_uploads()] == []
