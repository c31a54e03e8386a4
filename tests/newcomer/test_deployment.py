"""The image and the compose file, as far as they can be held to account without a Docker engine."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from streamer.config import load
from streamer.embedded.demo_folder import config_text
from streamer.embedded.market import TOPICS
from streamer.health import HealthServer
from streamer.metrics import Metrics

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "deploy/Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def instructions() -> Iterator[tuple[str, str]]:
    """Each instruction of the Dockerfile, with its lines joined and its remarks left out."""
    lines = [line for line in DOCKERFILE.splitlines() if line.strip() and not line.strip().startswith("#")]
    for instruction in re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines():
        name, _, rest = instruction.partition(" ")
        yield name, rest


def healthcheck() -> list[str]:
    (check,) = [rest for name, rest in instructions() if name == "HEALTHCHECK"]
    command: list[str] = json.loads(check.partition("CMD ")[2])
    assert command[0] == "python"
    return [sys.executable, *command[1:]]


def check_health(port: int) -> int:
    environment = {"STREAMER__HTTP__PORT": str(port), "http_proxy": "http://127.0.0.1:1"}
    return subprocess.run(healthcheck(), env=environment, capture_output=True, timeout=60, check=False).returncode


async def test_the_images_health_check_tells_a_living_daemon_from_a_dead_one() -> None:
    server = HealthServer("127.0.0.1", 0, problems=lambda: ["Kafka is away"], metrics=Metrics())
    port = await server.start()
    try:
        assert await asyncio.to_thread(check_health, port) == 0
    finally:
        await server.stop()
    assert await asyncio.to_thread(check_health, port) != 0


async def test_the_images_health_check_fails_on_an_answer_that_is_no_good_one() -> None:
    runner = web.AppRunner(web.Application())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        assert await asyncio.to_thread(check_health, runner.addresses[0][1]) != 0
    finally:
        await runner.cleanup()


def test_the_image_runs_the_daemon_as_nobody_special() -> None:
    told = dict(instructions())

    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", told["USER"])
    assert json.loads(told["ENTRYPOINT"]) == ["streamer"]
    assert json.loads(told["CMD"]) == ["run"]
    assert told["STOPSIGNAL"] == "SIGTERM"
    assert "STREAMER__HTTP__HOST=0.0.0.0" in DOCKERFILE


def test_the_image_is_built_from_what_the_ignore_file_lets_through() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}

    for name, rest in instructions():
        if name == "COPY" and not rest.startswith("--from"):
            *sources, _ = shlex.split(rest)
            assert set(sources) <= allowed
            assert all((ROOT / source).exists() for source in sources)


def test_the_image_has_a_pinned_version_of_every_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "deploy/constraints.txt").read_text().splitlines()
    pinned = {canonicalize_name(name): version for name, version in (line.split("==") for line in lines if line[0] != "#")}

    for text in project["dependencies"]:
        requirement = Requirement(text)
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), text


def test_every_image_is_pinned() -> None:
    images = {service["image"] for service in SERVICES.values()}
    images |= {rest.split()[0] for name, rest in instructions() if name == "FROM"}

    for image in images:
        assert re.fullmatch(r"[a-z/]+:v?\d+\.\d+\.\d+[a-z-]*", image), image
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"streamer:{version}" in images


def test_compose_listens_on_this_machine_alone() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]

    assert len(ports) == 3
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_compose_grants_more_time_to_stop_than_the_daemon_takes(tmp_path: Path) -> None:
    budget = load(None, lake="./lake", environment={}, directory=tmp_path).stop.budget

    assert int(SERVICES["streamer"]["stop_grace_period"].removesuffix("s")) >= budget + 5


def test_compose_starts_streamer_only_when_bucket_and_topics_are_there() -> None:
    waits = SERVICES["streamer"]["depends_on"]

    assert {name: rule["condition"] for name, rule in waits.items()} == {
        "topics": "service_completed_successfully",
        "init": "service_completed_successfully",
    }
    for service in ("kafka", "s3"):
        assert SERVICES[service]["healthcheck"]["test"]
    made = re.findall(r"([a-z]+):(\d+)", SERVICES["topics"]["command"][0].partition(";")[0])
    assert {topic: int(partitions) for topic, partitions in made} == TOPICS


def test_composes_configuration_understands_the_market_as_the_demos_does(tmp_path: Path) -> None:
    demo = tmp_path / "streamer.toml"
    demo.write_text(config_text("localhost:9092", tmp_path))
    shown = load(demo, environment={}).enabled_streams
    composed = load(ROOT / "deploy/streamer.toml", lake="./lake", environment={}).enabled_streams

    for name in TOPICS:
        for field in ("columns", "aliases", "rules", "path", "unknown"):
            assert getattr(shown[name], field) == getattr(composed[name], field), f"streams.{name}.{field}"
    environment = SERVICES["streamer"]["environment"]
    assert load(None, environment=environment, directory=tmp_path / "none").lake.url == "s3://market-lake"
