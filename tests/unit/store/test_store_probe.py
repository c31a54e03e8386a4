"""The probe tells stores that honour conditional writes from those that do not."""

from __future__ import annotations

import pytest

from streamer.errors import Denied, Invalid
from streamer.store.contract import Create, Replace
from streamer.store.memory import MemoryStore
from streamer.store.probe import probe_conditional_writes
from streamer.testing.failing_store import FailingStore, Fault, FaultKind
from streamer.testing.manual_clock import ManualClock


class Claiming(MemoryStore):
    """Says that it honours conditional writes."""

    conditional_writes = True


class ForgetsReplace(MemoryStore):
    """Knows If-None-Match and ignores If-Match, as some servers do."""

    def _check_mode(self, key, mode) -> None:
        if not isinstance(mode, Replace):
            super()._check_mode(key, mode)


class ForgetsInARace(MemoryStore):
    """Looks, waits, and writes: two creates that race both win."""

    async def put(self, key, body, *, mode, **more) -> str:
        racing = isinstance(mode, Create) and key not in self._objects
        await self.prepare()
        return await super().put(key, body, mode=mode, **more) if not racing else await self._blind(key, body, **more)

    async def _blind(self, key, body, **more) -> str:
        from streamer.store.contract import Overwrite

        return await super().put(key, body, mode=Overwrite(), **more)


class Refuses(MemoryStore):
    async def put(self, key, body, *, mode, **more) -> str:
        raise Invalid("the store cannot do this")


async def test_a_store_that_honours_them_passes_and_is_left_clean() -> None:
    store = MemoryStore(ManualClock())

    assert await probe_conditional_writes(store, ManualClock())
    assert store.bodies == {}


@pytest.mark.parametrize(
    "store",
    [
        MemoryStore(ManualClock(), conditional_writes=False),
        Claiming(ManualClock(), conditional_writes=False),
        ForgetsReplace(ManualClock()),
        ForgetsInARace(ManualClock()),
        Refuses(ManualClock()),
    ],
    ids=["says so", "ignores both", "ignores If-Match", "two winners", "501"],
)
async def test_a_store_that_does_not_is_found_out_and_left_clean(store: MemoryStore) -> None:
    assert not await probe_conditional_writes(store, ManualClock())
    assert store.bodies == {}


async def test_a_create_that_the_client_sent_twice_is_no_failure() -> None:
    clock = ManualClock()
    store = FailingStore(MemoryStore(clock), clock, script=[Fault(FaultKind.TWICE, "put")])

    assert await probe_conditional_writes(store, clock)


async def test_a_lake_that_nobody_may_delete_from_can_be_probed() -> None:
    clock = ManualClock()
    store = FailingStore(MemoryStore(clock), clock, script=[Fault(FaultKind.DENIED, "delete", times=None)])

    assert await probe_conditional_writes(store, clock)


async def test_a_lake_that_may_not_be_written_is_denied() -> None:
    clock = ManualClock()
    store = FailingStore(MemoryStore(clock), clock, script=[Fault(FaultKind.DENIED, "put", times=None)])

    with pytest.raises(Denied):
        await probe_conditional_writes(store, clock)
