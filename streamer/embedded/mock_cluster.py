"""A Kafka cluster inside this process, without Java: librdkafka's mock, from the wheel of confluent-kafka.

For the demo and for tests. It speaks the real protocol over real sockets and keeps everything in memory. It is not Kafka:
one member a group, no retention, and all records have the timestamp 1234 ms.
"""

from __future__ import annotations

import asyncio
import ctypes
import importlib.util
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from streamer.errors import Invalid

_PRODUCER = 0
_HINT = 'pip install "streamer[demo]"'


class MockCluster:
    """`async with MockCluster() as cluster:` gives brokers at `cluster.bootstrap_servers` until the block ends.

    Raises `Invalid` where confluent-kafka is not installed, or its wheel brings no librdkafka.
    """

    def __init__(self, brokers: int = 1) -> None:
        self._brokers = brokers
        self._library: Any = None
        self._handle: int | None = None
        self._cluster: int | None = None
        self.bootstrap_servers = ""

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._open)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self._close)

    async def create_topic(self, name: str, partitions: int = 1) -> None:
        """Raises `Invalid` where the mock refuses, as for a topic that exists."""
        await asyncio.to_thread(self._create_topic, name, partitions)

    async def take_down(self, broker: int = 1) -> None:
        """The broker hangs up and answers no more. Brokers count from 1."""
        await asyncio.to_thread(self._library.rd_kafka_mock_broker_set_down, self._cluster, broker)

    async def bring_up(self, broker: int = 1) -> None:
        await asyncio.to_thread(self._library.rd_kafka_mock_broker_set_up, self._cluster, broker)

    async def fail_requests(self, api_key: int, errors: list[int]) -> None:
        """Answer the next requests of this kind with these error codes, one each."""
        codes = (ctypes.c_int * len(errors))(*errors)
        push = self._library.rd_kafka_mock_push_request_errors_array
        await asyncio.to_thread(push, self._cluster, api_key, len(errors), codes)

    def _open(self) -> None:
        self._library = load_librdkafka()
        reason = ctypes.create_string_buffer(512)
        configuration = self._library.rd_kafka_conf_new()
        # Its client half has nothing to do; without this it would tell the terminal of every connection.
        self._library.rd_kafka_conf_set(configuration, b"log_level", b"0", reason, len(reason))
        self._handle = self._library.rd_kafka_new(_PRODUCER, configuration, reason, len(reason))
        if not self._handle:
            raise Invalid(f"librdkafka did not start: {reason.value.decode(errors='replace')}", hint=_HINT)
        self._cluster = self._library.rd_kafka_mock_cluster_new(self._handle, self._brokers)
        if not self._cluster:
            self._close()
            raise Invalid("librdkafka did not start its mock cluster", hint=_HINT)
        # The first member of a group would wait three seconds for others.
        self._library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 0)
        self.bootstrap_servers = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()

    def _close(self) -> None:
        cluster, self._cluster = self._cluster, None
        handle, self._handle = self._handle, None
        if cluster:
            self._library.rd_kafka_mock_cluster_destroy(cluster)
        if handle:
            self._library.rd_kafka_destroy(handle)

    def _create_topic(self, name: str, partitions: int) -> None:
        code = self._library.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, 1)
        if code != 0:
            raise Invalid(f"the mock cluster refused to create the topic (error {code})", topic=name, partitions=partitions)


def load_librdkafka() -> Any:
    """The shared object that the wheel of confluent-kafka carries, with the calls used here declared."""
    library = ctypes.CDLL(str(find_librdkafka()))
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "rd_kafka_conf_new": (pointer, []),
        "rd_kafka_conf_set": (number, [pointer, text, text, text, ctypes.c_size_t]),
        "rd_kafka_new": (pointer, [number, pointer, text, ctypes.c_size_t]),
        "rd_kafka_destroy": (None, [pointer]),
        "rd_kafka_mock_cluster_new": (pointer, [pointer, number]),
        "rd_kafka_mock_cluster_destroy": (None, [pointer]),
        "rd_kafka_mock_cluster_bootstraps": (text, [pointer]),
        "rd_kafka_mock_topic_create": (number, [pointer, text, number, number]),
        "rd_kafka_mock_broker_set_down": (number, [pointer, ctypes.c_int32]),
        "rd_kafka_mock_broker_set_up": (number, [pointer, ctypes.c_int32]),
        "rd_kafka_mock_group_initial_rebalance_delay_ms": (None, [pointer, ctypes.c_int32]),
        "rd_kafka_mock_push_request_errors_array": (
            None,
            [pointer, ctypes.c_int16, ctypes.c_size_t, ctypes.POINTER(ctypes.c_int)],
        ),
    }
    for name, (result, arguments) in signatures.items():
        try:
            function = getattr(library, name)
        except AttributeError as error:
            raise Invalid(f"this librdkafka has no {name}", hint=_HINT) from error
        function.restype, function.argtypes = result, arguments
    return library


def find_librdkafka() -> Path:
    """Where the wheel put the shared object: beside the package on Linux, inside it on macOS."""
    spec = importlib.util.find_spec("confluent_kafka")
    if spec is None or spec.origin is None:
        raise Invalid("the embedded broker needs confluent-kafka, which is not installed", hint=_HINT)
    package = Path(spec.origin).parent
    beside, inside = package.parent / "confluent_kafka.libs", package / ".dylibs"
    found = [*sorted(beside.glob("librdkafka-*.so*")), *sorted(inside.glob("librdkafka*.dylib"))]
    if not found:
        raise Invalid("confluent-kafka is there, but not its own librdkafka", hint=f"install its wheel: {_HINT}", at=package)
    return found[0]
