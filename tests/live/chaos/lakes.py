"""The lakes under test, one in S3 and one in a directory: how a daemon reaches them, and what anybody finds in them.

Nothing here uses streamer: positions are read as JSON, rows by plain pyarrow, as a stranger would.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.fs as fs
import pyarrow.parquet as pq

from tests.live.conftest import S3Server


@dataclass
class Found:
    """What listing finds: partition -> offset -> how often, and which tick each offset holds."""

    times: dict[int, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    ticks: dict[int, dict[int, int]] = field(default_factory=lambda: defaultdict(dict))
    files: int = 0

    def add(self, partition: int, offset: int, tick: int) -> None:
        self.times[partition][offset] += 1
        self.ticks[partition][offset] = tick


class ObservedLake:
    """One lake, seen past everything that the chaos puts in the daemons' way. `environment`: how daemons reach it, `direct`:
    how to reach it in peace."""

    def __init__(
        self, name: str, filesystem: fs.FileSystem, root: str, environment: Mapping[str, str], direct: Mapping[str, str]
    ) -> None:
        self.name = name
        self.environment = dict(environment)
        self.direct = dict(direct)
        self._files = filesystem
        self._root = root
        self._readers = ThreadPoolExecutor(4, thread_name_prefix=f"read-{name}")

    @classmethod
    def in_s3(cls, server: S3Server, bucket: str, *, through: str, profile: Path) -> ObservedLake:
        """The daemons go through the line at `through`, with the temporary credentials in `profile`."""
        scheme, _, host = server.endpoint.partition("://")
        found = fs.S3FileSystem(
            access_key=server.access_key, secret_key=server.secret_key, endpoint_override=host, scheme=scheme,
            region="us-east-1", allow_bucket_creation=True,
        )  # fmt: skip
        found.create_dir(bucket)
        place = {"S3_BUCKET_NAME": bucket, "AWS_REGION": "us-east-1"}
        environment = place | {"AWS_ENDPOINT_URL": f"http://{through}", "AWS_SHARED_CREDENTIALS_FILE": str(profile)}
        return cls("S3", found, bucket, environment, place | server.environment)

    @classmethod
    def in_directory(cls, folder: Path) -> ObservedLake:
        folder.mkdir()
        environment = {"STREAMER__LAKE__URL": str(folder)}
        return cls("directory", fs.LocalFileSystem(), str(folder), environment, environment)

    def committed(self, topic: str, partitions: int) -> dict[int, int]:
        """Where the positions stand; a partition without one is not in it."""
        found = self._readers.map(lambda partition: self._committed(topic, partition), range(partitions))
        return {partition: offset for partition, offset in enumerate(found) if offset is not None}

    def _committed(self, topic: str, partition: int) -> int | None:
        try:
            with self._files.open_input_stream(f"{self._root}/_streamer/positions/{topic}/{partition:05d}.json") as stream:
                return int(json.loads(stream.read())["committed"])
        except (FileNotFoundError, json.JSONDecodeError):
            return None

    def read(self, topic: str) -> Found:
        """Everything of `topic`, rows and dead letters, by listing."""
        found = Found()
        for part in ("raw", "dead-letters"):
            listed = self._files.get_file_info(fs.FileSelector(f"{self._root}/{part}", recursive=True, allow_not_found=True))
            names = [info.path for info in listed if info.type == fs.FileType.File and self._is_data(info.path, topic)]
            found.files += len(names)
            for records in self._readers.map(self._rows if part == "raw" else self._letters, names):
                for record in records:
                    found.add(*record)
        return found

    @staticmethod
    def _is_data(path: str, topic: str) -> bool:
        name = path.rpartition("/")[2]
        return name.startswith(f"{topic}-") and not name.startswith("_")

    def _rows(self, path: str) -> list[tuple[int, int, int]]:
        with self._files.open_input_file(path) as file:
            columns = pq.ParquetFile(file).read(["_partition", "_offset", "trade_id"]).to_pydict()
        return [
            (partition, offset, int(tick))
            for partition, offset, tick in zip(columns["_partition"], columns["_offset"], columns["trade_id"], strict=True)
        ]

    def _letters(self, path: str) -> list[tuple[int, int, int]]:
        with self._files.open_input_stream(path, compression=None) as stream:
            lines = [json.loads(line) for line in gzip.decompress(stream.read()).splitlines()]
        return [
            (line["partition"], line["offset"], int(base64.b64decode(line["value"]).decode().removeprefix("poison ")))
            for line in lines
        ]
