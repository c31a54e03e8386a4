"""Libraries in the lake: one process pushes a folder of code, a fleet of short-lived ones loads and imports it.

    python examples/bundle_of_libraries.py [s3://bucket | ./lake]

The first load fetches and unpacks; the second, and every other process of this machine, finds it there.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
import time
from pathlib import Path

from streamer import Lake


def main(lake_url: str) -> None:
    with tempfile.TemporaryDirectory() as folder, Lake.open(lake_url, cache=None, create="://" not in lake_url) as lake:
        libs = Path(folder, "libs")  # what `pip install --target libs ...` would fill
        libs.mkdir()
        Path(libs, "percentiles.py").write_text("def median(rows):\n    return sorted(rows)[len(rows) // 2]\n")
        pushed = lake.bundles.push(libs, "data-science-libs")
        print(f"pushed version {pushed.n}, {pushed.size} bytes")

        for attempt in ("cold", "warm"):
            started = time.perf_counter()
            loaded = lake.bundles.load("data-science-libs", to=Path(folder, "python-libs"))
            print(f"{attempt}: {(time.perf_counter() - started) * 1000:.2f} ms, fetched: {loaded.fetched}")
        percentiles = importlib.import_module("percentiles")
        print("median:", percentiles.median([3, 1, 2]))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "./example-lake")
