"""The `follow` method of `AsyncLake` and `Lake`: from arguments to something that can be iterated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streamer.clock import Clock
from streamer.lake.follow import AsyncFollow, Follow, Since, follow_request, kafka_from
from streamer.lake.loop_thread import LoopThread
from streamer.lake.reader import Reader
from streamer.lake.request import Columns, Symbols

if TYPE_CHECKING:
    from streamer.lake.follower import Follower, OnGap
    from streamer.source.settings import KafkaSettings
    from streamer.source.tail import Tail


class AsyncFollowing:
    """Following a stream, for asyncio programs."""

    _reader: Reader
    _clock: Clock

    def follow(
        self,
        stream: str,
        since: Since = None,
        *,
        bootstrap_servers: str | None = None,
        symbols: Symbols = None,
        columns: Columns = None,
        where: Any = None,
        on_gap: OnGap = "raise",
        until_caught_up: bool = False,
        kafka: KafkaSettings | None = None,
    ) -> AsyncFollow:
        """The rows of a stream from `since` on, without end: history from the lake, then live from Kafka, each record once.

        since: an event time (rows with an earlier one are left out, live ones too); or offsets by topic and partition, as
        `AsyncFollow.offsets` and `FeatureHistory.offsets` have them; None: everything. symbols, columns, where: as for `scan`.
        bootstrap_servers: of Kafka; default KAFKA_BOOTSTRAP_SERVERS. kafka: credentials and more, instead of them. on_gap: what
        to do where Kafka no longer has offsets and neither has the lake: "raise" (`Unavailable`) or "skip", with an error in
        the log. until_caught_up: end where the topics ended when history had been read.

        History comes in event-time order, live rows as Kafka has them. Both have the same columns; records that cannot become
        rows are left out in both. No group is joined and nothing is committed.
        """
        settings = kafka_from(bootstrap_servers, kafka)
        request = follow_request(stream, since, symbols, columns, where, on_gap, until_caught_up)

        def make() -> Follower:
            from streamer.lake.follower import Follower

            return Follower(self._reader, request, self._open_tail(settings), self._clock)

        return AsyncFollow(make)

    def _open_tail(self, settings: KafkaSettings) -> Tail:
        from streamer.source.kafka_tail import KafkaTail

        return KafkaTail(settings, self._clock)


class Following:
    """Following a stream, for synchronous code."""

    _inner: AsyncFollowing
    _loop: LoopThread

    def follow(
        self,
        stream: str,
        since: Since = None,
        *,
        bootstrap_servers: str | None = None,
        symbols: Symbols = None,
        columns: Columns = None,
        where: Any = None,
        on_gap: OnGap = "raise",
        until_caught_up: bool = False,
        kafka: KafkaSettings | None = None,
    ) -> Follow:
        """The rows of a stream from `since` on, without end. See `AsyncLake.follow`."""
        inner = self._inner.follow(
            stream,
            since,
            bootstrap_servers=bootstrap_servers,
            symbols=symbols,
            columns=columns,
            where=where,
            on_gap=on_gap,
            until_caught_up=until_caught_up,
            kafka=kafka,
        )
        return Follow(inner, self._loop)
