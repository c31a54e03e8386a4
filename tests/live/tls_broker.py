"""A real Kafka with TLS, SASL, client certificates and permissions, started from its own jars for the length of a test run.

STREAMER_TEST_KAFKA_JARS=folder with the jars of Kafka 3.7 or later (`libs/` of a release). Needs `java` and nothing else.
"""

from __future__ import annotations

import base64
import datetime as dt
import os
import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from confluent_kafka import Producer
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PASSWORD = "correct horse, battery = staple; 'é'"
KEY_PASSWORD = "password-of-the-key"
USERS = ("archiver", "onlooker")
START_SECONDS = 90


@dataclass(frozen=True)
class Paper:
    """A certificate and its key, as files."""

    certificate: Path
    key: Path


class Authority:
    """A certificate authority that lives as long as the tests."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._builder(self._name, self._key).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(certificate.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, *, address: str | None = None, password: str | None = None) -> Paper:
        """A certificate for `name`; with `address`, for a server there. The key is encrypted where there is a password."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key)
        if address is not None:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), critical=False)
        paper = Paper(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        paper.certificate.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        encryption = serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
        paper.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption))
        return paper

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(days=1))
        )


class TlsBroker:
    """One node. `plaintext`: the door of its keeper, who may do everything. `sasl`: SASL over TLS. `mutual`: TLS with client
    certificates. `clear`: SASL without TLS."""

    def __init__(self, jars: Path, folder: Path) -> None:
        self._jars, self._folder = jars, folder
        self.authority = Authority(folder)
        ports = free_ports(5)
        self.plaintext, self.sasl, self.mutual, self.clear = (f"127.0.0.1:{port}" for port in ports[:4])
        self._write_properties(f"127.0.0.1:{ports[4]}")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and make its users. Raises `RuntimeError` with the end of its log."""
        properties = str(self._folder / "server.properties")
        identity = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        done = subprocess.run(
            [*self._java("kafka.tools.StorageTool"), "format", "-t", identity, "-c", properties], capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(f"the storage was not formatted: {done.stdout[-1000:]}{done.stderr[-1000:]}")
        with (self._folder / "server.log").open("wb") as log:
            self._process = subprocess.Popen([*self._java("kafka.Kafka"), properties], stdout=log, stderr=log)
        admin = AdminClient({"bootstrap.servers": self.plaintext, "log_level": 0})
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                admin.list_topics(timeout=1)
                break
            except Exception as error:
                if self._process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(f"the broker did not start: {self.log()[-2000:]}") from error
        self._make_users(admin)

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def log(self) -> str:
        return (self._folder / "server.log").read_text(errors="replace")

    def create_topic(self, name: str, partitions: int = 1) -> None:
        admin = AdminClient({"bootstrap.servers": self.plaintext})
        admin.create_topics([NewTopic(name, partitions, 1, config={"retention.ms": "-1"})])[name].result(30)

    def produce(self, topic: str, values: Iterable[bytes]) -> None:
        producer = Producer({"bootstrap.servers": self.plaintext})
        for value in values:
            producer.produce(topic, value)
        assert producer.flush(30) == 0

    def allow(self, user: str, kind: ResourceType, name: str, *operations: AclOperation) -> None:
        """Let `user` do this to a topic or a group."""
        admin = AdminClient({"bootstrap.servers": self.plaintext})
        bindings = [
            AclBinding(kind, name, ResourcePatternType.LITERAL, f"User:{user}", "*", operation, AclPermissionType.ALLOW)
            for operation in operations
        ]
        for future in admin.create_acls(bindings).values():
            future.result(30)

    def _make_users(self, admin: AdminClient) -> None:
        for mechanism in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):
            info = ScramCredentialInfo(mechanism, 4096)
            changes = [UserScramCredentialUpsertion(user, info, PASSWORD.encode()) for user in USERS]
            for future in admin.alter_user_scram_credentials(changes).values():
                future.result(30)

    def _write_properties(self, controller: str) -> None:
        server = self.authority.issue("broker", address="127.0.0.1")
        both = self._folder / "broker-both.pem"
        both.write_bytes(server.key.read_bytes() + server.certificate.read_bytes())
        quoted = PASSWORD.replace("\\", "\\\\").replace('"', '\\"')
        users = " ".join(f'user_{user}="{quoted}"' for user in USERS)
        plain = f"org.apache.kafka.common.security.plain.PlainLoginModule required {users};"
        scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        addresses = {"KEEPER": self.plaintext, "SASL": self.sasl, "MUTUAL": self.mutual, "CLEAR": self.clear}
        settings = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{controller}",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "KEEPER",
            "listener.security.protocol.map": "KEEPER:PLAINTEXT,CONTROLLER:PLAINTEXT,"
            "SASL:SASL_SSL,MUTUAL:SSL,CLEAR:SASL_PLAINTEXT",
            "listeners": ",".join(f"{name}://{at}" for name, at in [*addresses.items(), ("CONTROLLER", controller)]),
            "advertised.listeners": ",".join(f"{name}://{at}" for name, at in addresses.items()),
            "log.dirs": str(self._folder / "data"),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
            "allow.everyone.if.no.acl.found": "false",
            "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "2",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": "1000",
            "log.cleaner.dedupe.buffer.size": str(8 << 20),
        }
        for listener in ("sasl", "mutual"):
            tls = {
                "ssl.keystore.type": "PEM",
                "ssl.keystore.location": str(both),
                "ssl.truststore.type": "PEM",
                "ssl.truststore.location": str(self.authority.file),
                "ssl.client.auth": "required" if listener == "mutual" else "none",
            }
            settings |= {f"listener.name.{listener}.{name}": value for name, value in tls.items()}
        for listener in ("sasl", "clear"):
            prefix = f"listener.name.{listener}."
            settings |= {
                f"{prefix}sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
                f"{prefix}plain.sasl.jaas.config": plain,
                f"{prefix}scram-sha-256.sasl.jaas.config": scram,
                f"{prefix}scram-sha-512.sasl.jaas.config": scram,
            }
        text = "".join(f"{name}={_property(value)}\n" for name, value in settings.items())
        (self._folder / "server.properties").write_text(text, encoding="ascii")

    def _java(self, main: str) -> list[str]:
        log = ["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
        return ["java", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", *log, "-cp", f"{self._jars}/*", main]


def _property(text: str) -> str:
    """A value as Java's property files have it: ASCII, with backslashes doubled."""
    escaped = text.replace("\\", "\\\\")
    return "".join(each if ord(each) < 128 else f"\\u{ord(each):04x}" for each in escaped)


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    found = [int(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return found


def jars_folder() -> Path | None:
    """The jars that the environment names; None where it names none, or there is no Java."""
    given = os.environ.get("STREAMER_TEST_KAFKA_JARS")
    return Path(given) if given and shutil.which("java") else None
