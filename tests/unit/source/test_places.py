"""Where partitions stand: nothing is readable unsought, and what is damaged rests ever longer."""

from __future__ import annotations

from streamer.records import TopicPartition
from streamer.source.places import Places
from streamer.testing.manual_clock import ManualClock

A, B = TopicPartition("ticks", 0), TopicPartition("ticks", 1)


def test_only_what_was_sought_is_readable() -> None:
    places = Places(ManualClock())
    places.sought(A, 5)

    assert places.readable([A, B]) == [A]
    assert places.next_offset(A) == 5
    assert places.next_offset(B) is None


def test_a_lost_place_is_not_readable_before_the_next_seek() -> None:
    places = Places(ManualClock())
    places.sought(A, 5)
    places.lost(A)
    before = places.readable([A])
    places.sought(A, 6)

    assert before == []
    assert places.readable([A]) == [A]


async def test_a_damaged_partition_rests_longer_each_time_and_the_others_go_on() -> None:
    clock = ManualClock()
    places = Places(clock)
    places.sought(A, 5)
    places.sought(B, 0)
    rests = []
    news = []
    for _ in range(4):
        news.append(places.unreadable(A, 5, "wrong checksum"))
        assert places.readable([A, B]) == [B]
        start = clock.monotonic()
        while not (due := places.due_again()):
            await clock.advance(0.5)
        assert due == [(A, 5)]
        assert places.due_again() == []
        assert places.readable([A, B]) == [A, B]
        rests.append(clock.monotonic() - start)

    assert news == [True, False, False, False]
    assert rests == [1, 2, 4, 8]
    assert "ticks-0 cannot be read at offset 5: wrong checksum" in (places.unreadable_sentence() or "")


async def test_reading_past_the_damage_mends_it() -> None:
    clock = ManualClock()
    places = Places(clock)
    places.sought(A, 5)
    places.unreadable(A, 7, "wrong checksum")
    places.delivered(A, 7)
    still = places.unreadable_sentence()
    await clock.advance(1)
    places.due_again()
    places.delivered(A, 9)

    assert still is not None
    assert places.unreadable_sentence() is None


def test_a_seek_over_the_damage_mends_it() -> None:
    places = Places(ManualClock())
    places.sought(A, 5)
    places.unreadable(A, 5, "wrong checksum")
    places.sought(A, 8)

    assert places.unreadable_sentence() is None
    assert places.readable([A]) == [A]
