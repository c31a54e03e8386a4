"""How much memory a big model takes: pushes and pulls one, and prints seconds and the resident high-water mark.

    python bench/model_memory.py LAKE [--gib 2] [--dir D]

LAKE is a directory or s3://bucket (the AWS_ variables say how it is reached). The file is random bytes, made first, in D.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

from streamer import Lake


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lake")
    parser.add_argument("--gib", type=float, default=2.0)
    parser.add_argument("--dir")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.dir) as folder, Lake.open(given.lake, cache=None) as lake:
        path = Path(folder, f"bench_{os.getpid()}.bin")
        size = int(given.gib * (1 << 30))
        with open(path, "wb") as file:
            for start in range(0, size, 1 << 20):
                file.write(os.urandom(min(1 << 20, size - start)))
        print(f"{size:,} bytes to {lake.url}; {peak_mib():.0f} MiB resident before")
        for name, work in (
            ("push", lambda: lake.models.push(path)),
            ("pull", lambda: lake.models.pull(path.stem, path.with_suffix(".pulled"))),
        ):
            started = time.monotonic()
            work()
            print(f"{name}: {time.monotonic() - started:.1f} s, {peak_mib():.0f} MiB resident at most")


if __name__ == "__main__":
    main()
