"""The command line of the chaos: `make chaos MINUTES=10`."""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.live.chaos import __doc__ as about
from tests.live.chaos.faults import FAULTS
from tests.live.chaos.servers import Servers
from tests.live.chaos.servers import __doc__ as needs
from tests.live.chaos.storm import Plan, storm


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.live.chaos", description=f"{about}\n{needs}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [fault.name for fault in FAULTS]
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, help="the plan of an earlier run")
    parser.add_argument("--faults", default="", metavar="A,B", help=f"only these, of {', '.join(names)}")
    parser.add_argument("--rate", type=int, default=600, help="records a second")
    parser.add_argument("--logs", type=Path, help="keep the replicas' logs in this folder")
    parser.add_argument("--json", type=Path, help="write the outcome to this file")
    options = parser.parse_args()
    wanted = [name for name in options.faults.split(",") if name]
    if unknown := set(wanted) - set(names):
        parser.error(f"no such fault: {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    seed = options.seed if options.seed is not None else random.randrange(10**6)
    logs = options.logs or Path(tempfile.mkdtemp(prefix="chaos-"))
    logs.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    # Whoever ends us ends the replicas, too, and finds no mount left behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    def say(sentence: str) -> None:
        print(f"{time.monotonic() - began:7.1f} s  {sentence}", flush=True)

    say(f"seed {seed}; logs of the replicas in {logs}")
    outcome = storm(Plan(seed, options.minutes, wanted, options.rate), Servers.given(os.environ), logs, say)
    print(f"\n{outcome.table()}\n\nseed {seed}: {'sound' if outcome.sound else 'NOT SOUND'}")
    if options.json:
        options.json.write_text(json.dumps(outcome.document(), indent=1) + "\n")
    return 0 if outcome.sound else 1


if __name__ == "__main__":
    sys.exit(main())
