"""Files of a lake in a directory are for their owner and his group, whatever made them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamer.store.contract import Create, Overwrite, Replace
from streamer.store.directory import DirectoryStore
from streamer.testing.manual_clock import ManualClock


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


async def test_files_are_0640_and_folders_0750_less_the_umask(tmp_path: Path, umask: int) -> None:
    root = tmp_path / "lake"
    store = DirectoryStore(str(root), ManualClock(), create=True)
    await store.prepare()

    etag = await store.put("a/b/created.json", b"1", mode=Create(), metadata={"rows": "1"})
    await store.put("a/b/created.json", b"2", mode=Replace(etag), metadata={"rows": "2"})
    await store.put("a/over.bin", b"3", mode=Overwrite())
    upload = await store.begin_upload("models/versions/x_v1.pkl", part_bytes=5, metadata={"sha256": "x"})
    part = await store.put_part(upload, 1, b"45678")
    under_way = modes(root)
    await store.complete_upload(upload, [part], mode=Create())
    await store.delete("a/over.bin")

    found = modes(root)
    assert found | under_way
    for path, (mode, is_folder) in (found | under_way).items():
        assert mode == (0o750 if is_folder else 0o640) & ~umask, path
    assert {name for name in found if name.endswith((".json", ".pkl"))} >= {"a/b/created.json", "models/versions/x_v1.pkl"}


def modes(root: Path) -> dict[str, tuple[int, bool]]:
    return {
        str(path.relative_to(root)): (stat.S_IMODE(path.stat().st_mode), path.is_dir()) for path in [root, *root.rglob("*")]
    }
