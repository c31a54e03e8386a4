"""A Kafka client that never creates a topic, remembers when a broker last answered, and says why it cannot connect.

aiokafka's own asks for metadata in a way that lets brokers create what is missing, and swallows the reason of a failed
bootstrap. Both the consumer and the cluster view are built on this one.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Collection
from typing import Any

from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.cluster import ClusterMetadata
from aiokafka.conn import create_conn, get_ip_port_afi
from aiokafka.errors import KafkaConnectionError, KafkaError
from aiokafka.helpers import create_ssl_context
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.metadata import MetadataRequest

from streamer.clock import Clock, backoff_seconds
from streamer.errors import Denied, Invalid, StreamerError, Unavailable
from streamer.records import TopicPartition
from streamer.secrets.contract import KafkaLogin, LoginSource
from streamer.source.errors import translate
from streamer.source.msk_tokens import MskTokens
from streamer.source.settings import KafkaSettings

DEFAULT_PORT = 9092


class Client(AIOKafkaClient):  # type: ignore[misc]
    """An `AIOKafkaClient` with the three differences named above, and with a login that may change while it runs."""

    def __init__(self, clock: Clock, *, login: LoginSource | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._login = login
        # The original forgets the bootstrap servers once it is connected: where all brokers change their addresses, as in
        # a rolling move to other nodes, it would ask the old ones for ever.
        self.cluster = ClusterMetadata(
            metadata_max_age_ms=options["metadata_max_age_ms"], bootstrap_servers=options["bootstrap_servers"]
        )
        self._clock = clock
        self.answered_at = clock.monotonic()  # when a broker last answered anything
        self.cluster_id: str | None = None
        self._fetched: dict[TopicPartition, bytes] | None = None

    def keep_fetched(self) -> dict[TopicPartition, bytes]:
        """From now on the records of each partition's newest fetch, as they came, until somebody pops them: aiokafka shows only
        what it makes of them."""
        self._fetched = {}
        return self._fetched

    async def bootstrap(self) -> None:
        await self._sign_in()
        await super().bootstrap()

    async def _get_conn(self, node_id: Any, *, group: Any = ConnectionGroup.DEFAULT, no_hint: bool = False) -> Any:
        opens = self._login is not None and (node_id, group) not in self._conns
        login = await self._sign_in() if opens else None
        connection = await super()._get_conn(node_id, group=group, no_hint=no_hint)
        if connection is None and login is not None and self._login is not None:
            # Why is not told here. It may have been the password: the next try asks whether there is another.
            self._login.refused(login)
        return connection

    async def _sign_in(self) -> KafkaLogin | None:
        """Connections that are opened from now on present the login that is right now."""
        if self._login is None:
            return None
        login = await self._login.current()
        self._sasl_plain_username, self._sasl_plain_password = login.username, login.password
        return login

    async def send(self, node_id: int, request: Any, *, group: ConnectionGroup = ConnectionGroup.DEFAULT) -> Any:
        answer = await super().send(node_id, request, group=group)
        self.answered_at = self._clock.monotonic()
        if self._fetched is not None and answer.API_KEY == FetchRequest.API_KEY:
            for topic, partitions in answer.topics:
                for partition, _, _, *rest in partitions:
                    self._fetched[TopicPartition(topic, partition)] = rest[-1]
        return answer

    async def _metadata_update(self, cluster_metadata: Any, topics: Any) -> bool:
        # The original lets brokers create what is missing: a topic deleted while we are subscribed would be born again.
        try:
            metadata = await self.fetch_metadata(topics or None)
        except KafkaError:
            cluster_metadata.failed_update(None)
            return False
        cluster_metadata.update_metadata(metadata)
        bootstrap = ("bootstrap", ConnectionGroup.DEFAULT)
        if bootstrap in self._conns:
            self._conns.pop(bootstrap).close()
        return True

    async def fetch_metadata(self, topics: Collection[str] | None) -> Any:
        """The answer of the first broker that gives one; None asks for all topics. Raises a retriable `KafkaError`."""
        request = MetadataRequest(None if topics is None else list(topics), allow_auto_topic_creation=False)
        for node_id in self._known_nodes():
            connection = await self._get_conn(node_id)
            if connection is None:
                continue
            try:
                metadata = await connection.send(request)
            except (KafkaError, TimeoutError):
                continue
            if metadata.brokers:
                self.answered_at = self._clock.monotonic()
                self.cluster_id = getattr(metadata, "cluster_id", None) or self.cluster_id
                return metadata
        raise KafkaConnectionError("no broker answers")

    def _known_nodes(self) -> list[Any]:
        """Node ids to ask, those with an open connection first, the bootstrap servers last."""
        brokers = [broker.nodeId for broker in self.cluster._brokers.values()]
        brokers.sort(key=lambda node: (node, ConnectionGroup.DEFAULT) not in self._conns)
        kept = ["bootstrap"] if ("bootstrap", ConnectionGroup.DEFAULT) in self._conns else []
        return [*kept, *brokers, *self.cluster._bootstrap_brokers]

    async def close_quietly(self, timeout_seconds: float) -> None:
        """Close, whatever state the connections are in."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self.close()
        except (KafkaError, OSError):
            return  # nothing is left to be done about a socket that will not close
        except TimeoutError:
            return


def client_options(settings: KafkaSettings) -> dict[str, Any]:
    """What every aiokafka client of this process is given. Raises `Invalid` where a certificate file cannot be read."""
    return {
        "bootstrap_servers": list(settings.servers),
        "client_id": settings.client_id,
        "request_timeout_ms": milliseconds(settings.request_timeout_seconds),
        "metadata_max_age_ms": milliseconds(settings.metadata_max_age_seconds),
        **_security(settings, make_ssl_context(settings)),
    }


def make_ssl_context(settings: KafkaSettings) -> ssl.SSLContext | None:
    """None where the protocol has no TLS. Reads files; raises `Invalid` where they cannot be read."""
    if not settings.uses_tls:
        return None
    try:
        context: ssl.SSLContext = create_ssl_context(
            cafile=settings.ssl_cafile,
            certfile=settings.ssl_certfile,
            keyfile=settings.ssl_keyfile,
            # Without one OpenSSL would ask for it on the terminal, and wait.
            password=settings.ssl_key_password or "",
        )
        context.minimum_version = ssl.TLSVersion.TLSv1_2
    except (OSError, ssl.SSLError, ValueError) as error:
        raise Invalid(
            f"the TLS files cannot be used: {error}",
            hint="check ssl_cafile, ssl_certfile, ssl_keyfile and ssl_key_password",
            ssl_cafile=settings.ssl_cafile,
            ssl_certfile=settings.ssl_certfile,
        ) from error
    return context


def _security(settings: KafkaSettings, context: ssl.SSLContext | None) -> dict[str, Any]:
    if settings.uses_iam:
        assert settings.msk_region is not None
        return {
            "security_protocol": settings.security_protocol,
            "ssl_context": context,
            "sasl_mechanism": "OAUTHBEARER",
            "sasl_oauth_token_provider": MskTokens(settings.msk_region),
        }
    return {
        "security_protocol": settings.security_protocol,
        "ssl_context": context,
        "sasl_mechanism": settings.sasl_mechanism,
        "sasl_plain_username": settings.sasl_username,
        "sasl_plain_password": settings.sasl_password,
    } | _as(settings.login.known if settings.login is not None else None)


def _as(login: KafkaLogin | None) -> dict[str, Any]:
    return {} if login is None else {"sasl_plain_username": login.username, "sasl_plain_password": login.password}


def milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


async def await_broker(settings: KafkaSettings, clock: Clock) -> None:
    """Return once a bootstrap server has answered, credentials and all.

    Raises `Denied` or `Invalid` at once where one says so, `Unavailable` naming the servers after the start time-out.
    """
    security = _security(settings, make_ssl_context(settings))
    reasons: dict[str, str] = {}
    attempt = 0
    try:
        async with asyncio.timeout(settings.start_timeout_seconds):
            while True:
                for server in settings.servers:
                    login = await settings.login.current() if settings.login is not None else None
                    problem = await _try_server(server, settings, security | _as(login))
                    if problem is None:
                        return
                    if isinstance(problem, Denied | Invalid) and not await _login_is_old(settings, login):
                        raise problem
                    reasons[server] = problem.message
                await clock.sleep(clock.jitter(backoff_seconds(attempt)))
                attempt += 1
    except TimeoutError:
        pass
    told = "; ".join(f"{server}: {reasons.get(server, 'no answer')}" for server in settings.servers)
    raise Unavailable(
        f"no Kafka broker answers ({told})",
        hint="check bootstrap_servers, that Kafka is up, and that security_protocol is what this port speaks"
        + ("; some ports want a client certificate (ssl_certfile)" if settings.uses_tls else ""),
        bootstrap_servers=settings.bootstrap_servers,
        security_protocol=settings.security_protocol,
    )


async def _login_is_old(settings: KafkaSettings, login: KafkaLogin | None) -> bool:
    """Whether there is another login than the one that was refused."""
    if settings.login is None or login is None:
        return False
    settings.login.refused(login)
    return await settings.login.current() != login


async def _try_server(server: str, settings: KafkaSettings, security: dict[str, Any]) -> StreamerError | None:
    try:
        host, port, _ = get_ip_port_afi(server)
    except ValueError:
        return Invalid(f"bootstrap server {server!r} is not host:port", hint="write it as host:9092")
    try:
        connection = await create_conn(
            host,
            port if port > 0 else DEFAULT_PORT,
            client_id=settings.client_id,
            request_timeout_ms=milliseconds(min(5.0, settings.request_timeout_seconds)),
            **security,
        )
    except (OSError, KafkaError, TimeoutError) as error:
        return translate(error, "connecting", server=server)
    try:
        # A listener that wants credentials talks versions with anybody, and hangs up at the first real question.
        await connection.send(MetadataRequest([]))
    except (OSError, KafkaError, TimeoutError) as error:
        return translate(error, "asking for metadata", server=server)
    finally:
        connection.close()
    return None
