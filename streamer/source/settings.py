"""What the Kafka source is told: addresses, credentials, time-outs and sizes. Values only, checked when they are made."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from streamer.errors import Invalid
from streamer.secrets.contract import LoginSource

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "AWS_MSK_IAM"]
_MSK_SERVER = re.compile(r"\.kafka(?:-serverless)?\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?(?::\d+)?$", re.ASCII | re.IGNORECASE)
ReadMode = Literal["auto", "batches", "getmany"]


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """How to reach Kafka and how to behave in the group. Raises `Invalid` where values contradict each other.

    bootstrap_servers: `host:port`, several separated by commas. group_instance_id: static membership; must be unique per
    replica. rebalance_timeout_seconds: how long the group waits for us to let go of partitions; `revoked` gets three
    quarters of it. prefetch_budget_bytes: the most that the client may hold undelivered, over all assigned partitions
    (compressed, as it came). read_mode: `batches` reads undecoded record batches off aiokafka's fetcher, `getmany` uses its
    public call, `auto` takes batches where this aiokafka is the one known here. sasl_mechanism `AWS_MSK_IAM`: the AWS
    credential chain instead of user and password; aws_region: the cluster's, where the brokers' names do not tell it.
    login: user and password that may change while the process runs, instead of those.
    """

    bootstrap_servers: str
    group_id: str = "streamer"
    client_id: str = "streamer"
    group_instance_id: str | None = None

    session_timeout_seconds: float = 45.0
    heartbeat_seconds: float = 3.0
    rebalance_timeout_seconds: float = 120.0
    # Only a sign that the daemon's loop still turns: a full memory budget may keep it from wanting records for long.
    max_poll_interval_seconds: float = 900.0
    request_timeout_seconds: float = 15.0
    start_timeout_seconds: float = 15.0
    metadata_max_age_seconds: float = 60.0
    commit_timeout_seconds: float = 10.0
    stop_timeout_seconds: float = 10.0
    missing_topics_check_seconds: float = 5.0
    unhealthy_after_seconds: float = 30.0
    restart_after_seconds: float = 120.0

    security_protocol: SecurityProtocol = "PLAINTEXT"
    sasl_mechanism: SaslMechanism = "PLAIN"
    sasl_username: str | None = None
    sasl_password: str | None = field(default=None, repr=False)
    login: LoginSource | None = field(default=None, repr=False)
    ssl_cafile: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    ssl_key_password: str | None = field(default=None, repr=False)
    aws_region: str | None = None

    fetch_max_wait_seconds: float = 0.25
    # Small fetches cost their fixed part in decoding; the wait above bounds what waiting for more adds to an age.
    fetch_min_bytes: int = 256 << 10
    fetch_max_bytes: int = 16 << 20
    max_partition_fetch_bytes: int = 1 << 20
    prefetch_budget_bytes: int = 64 << 20
    # Decoded keys and values: a megabyte of zstd may be thirty of records.
    poll_budget_bytes: int = 8 << 20
    getmany_records: int = 2_000
    read_mode: ReadMode = "auto"

    def __post_init__(self) -> None:
        if not self.servers:
            raise Invalid("no bootstrap servers", hint="set KAFKA_BOOTSTRAP_SERVERS to host:port")
        if self.uses_iam and self.security_protocol != "SASL_SSL":
            raise Invalid("AWS_MSK_IAM without TLS", hint='set security_protocol = "SASL_SSL"')
        if self.uses_iam and self.msk_region is None:
            raise Invalid("the region of the MSK cluster is not known", hint="set AWS_REGION, or use the brokers' own names")
        if self.uses_sasl and not self.uses_iam and self.login is None and not (self.sasl_username and self.sasl_password):
            raise Invalid(
                f"{self.security_protocol} without user and password",
                hint="set sasl_username and sasl_password, or another security_protocol",
            )
        if self.heartbeat_seconds * 3 > self.session_timeout_seconds:
            raise Invalid(
                "the session ends before three heartbeats",
                hint="make the session timeout at least three times the heartbeat interval",
                session_timeout_seconds=self.session_timeout_seconds,
                heartbeat_seconds=self.heartbeat_seconds,
            )

    @property
    def servers(self) -> tuple[str, ...]:
        """The bootstrap servers, one by one."""
        return tuple(server.strip() for server in self.bootstrap_servers.split(",") if server.strip())

    @property
    def uses_sasl(self) -> bool:
        return self.security_protocol.startswith("SASL_")

    @property
    def uses_iam(self) -> bool:
        return self.uses_sasl and self.sasl_mechanism == "AWS_MSK_IAM"

    @property
    def msk_region(self) -> str | None:
        """The region that a token for AWS_MSK_IAM is signed for: that of the brokers' names, else `aws_region`."""
        found = next((match[1] for server in self.servers if (match := _MSK_SERVER.search(server))), None)
        return found or self.aws_region

    @property
    def uses_tls(self) -> bool:
        return self.security_protocol.endswith("SSL")

    @property
    def revoke_timeout_seconds(self) -> float:
        """The broker's clock starts at the newcomer's request, ours at the heartbeat that tells of it, and the way back
        takes time as well: past its time-out the group moves on and our commits are refused."""
        return self.rebalance_timeout_seconds * 0.75
