"""Where librdkafka is looked for, and what a user without it is told."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest

from streamer.embedded.mock_cluster import MockCluster, find_librdkafka
from streamer.errors import Invalid


def install(monkeypatch: pytest.MonkeyPatch, package: Path | None) -> None:
    spec = None if package is None else SimpleNamespace(origin=str(package / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: spec)


@pytest.mark.parametrize("path", ["confluent_kafka.libs/librdkafka-1a2b.so.1", "confluent_kafka/.dylibs/librdkafka.1.dylib"])
def test_the_library_is_found_where_wheels_of_linux_and_macos_put_it(
    path: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    library = tmp_path / path
    library.parent.mkdir(parents=True)
    library.touch()
    install(monkeypatch, tmp_path / "confluent_kafka")

    assert find_librdkafka() == library


@pytest.mark.parametrize("installed", [False, True])
async def test_a_user_without_it_is_told_what_to_install(
    installed: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install(monkeypatch, tmp_path / "confluent_kafka" if installed else None)

    with pytest.raises(Invalid) as caught:
        async with MockCluster():
            pass

    assert 'pip install "streamer[demo]"' in caught.value.hint


async def test_a_topic_that_exists_cannot_be_created_again() -> None:
    async with MockCluster() as cluster:
        await cluster.create_topic("ticks", 2)
        with pytest.raises(Invalid, match="refused"):
            await cluster.create_topic("ticks", 2)
