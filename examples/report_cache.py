"""Reports that are dear to make, shared by several instances: computed once, then from this machine, then from the lake.

    python examples/report_cache.py [s3://bucket | ./lake]

The first call computes. The second finds the value in memory. Another process of this machine finds it on the disk, and one of
another machine (here: with another cache folder) in the lake. Prints what each took.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from streamer import Lake
from streamer.errors import Invalid

TICKER, DATE = "BTC/USDT", "2026-01-03"


def make_report() -> bytes:
    """Stands for a model that reads news and draws a chart for a while."""
    time.sleep(2)  # noqa: TID251 -- no part of streamer
    return json.dumps({"ticker": TICKER, "date": DATE, "summary": "calm", "percentile": 43}).encode()


def timed(what: str, call: Callable[[], bytes]) -> bytes:
    started = time.perf_counter()
    value = call()
    print(f"{what:42} {(time.perf_counter() - started) * 1000:10.2f} ms", flush=True)
    return value


def ask(lake_url: str, cache: str, what: str) -> None:
    with Lake.open(lake_url, cache=cache) as lake:
        reports = lake.cache("reports", ttl="24h")
        timed(what, lambda: reports.get_or_compute((TICKER, DATE, "report.json"), make_report))


def main(lake_url: str) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        Lake.open(lake_url, cache=f"{folder}/a", create="://" not in lake_url) as lake,
    ):
        reports = lake.cache("reports", ttl="24h")
        reports.remove((TICKER, DATE, "report.json"))  # of an earlier run
        timed("first call, computes", lambda: reports.get_or_compute((TICKER, DATE, "report.json"), make_report))
        timed("second call, from memory", lambda: reports.get_or_compute((TICKER, DATE, "report.json"), make_report))
        # What goes with it: cache/reports/BTC%2FUSDT/2026-01-03/{report.json,chart.b64,news.json}
        reports.put((TICKER, DATE, "chart.b64"), base64.b64encode(b"\x89PNG ..."))
        reports.put((TICKER, DATE, "news.json"), b"[]")
        for cache, what in (("a", "another process, from the disk"), ("b", "another machine, from the lake")):
            arguments = [sys.executable, __file__, lake_url, str(Path(folder, cache)), what]
            subprocess.run(arguments, check=True)  # noqa: S603 -- it calls itself

        # The report itself stays: reports/BTC%2FUSDT/2026-01-03.pdf
        info = lake.documents.put("report", b"%PDF-1.7 ...", at=DATE, ticker=TICKER)
        print(info.key)
        try:
            print(lake.documents.presign(info, expires_seconds=600).partition("?")[0], "?...")
        except Invalid as error:  # a directory has no web addresses
            print(error)


if __name__ == "__main__":
    if len(sys.argv) == 4:
        ask(*sys.argv[1:])
    else:
        main(sys.argv[1] if len(sys.argv) > 1 else "./example-lake")
