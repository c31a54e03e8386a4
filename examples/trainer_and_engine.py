"""A trainer and an engine that share nothing but a lake: push, promote, hot reload, roll back.

    python examples/trainer_and_engine.py                 both, on a lake in a temporary directory
    python examples/trainer_and_engine.py s3://bucket     on a lake of yours

The trainer is a process of its own. The engine loads a model whenever `production` moves, and never a torn or wrong one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from streamer import Lake

FEATURES = ["rsi_14", "macd", "spread"]
ROUNDS = 4


def train(lake_url: str, folder: Path) -> None:
    """Train a few times. Each model goes to production; one turns out bad and is rolled back; the last is better."""
    with Lake.open(lake_url) as lake:
        for number in range(1, ROUNDS + 1):
            if number == ROUNDS:
                back = lake.models.rollback("hmm_regime", "production", reason="drift in the first hour")
                print(f"trainer: rolled back to version {back.n}", flush=True)
            model = folder / "hmm_regime.model"  # any format: streamer never looks into it
            model.write_text(json.dumps({"weights": [number, os.getpid()]}))
            tags = [f"last-of-{os.getppid()}"] if number == ROUNDS else []
            version = lake.models.push(model, metrics={"auc": 0.6 + number / 20}, tags=tags, features=FEATURES)
            lake.models.promote("hmm_regime", version.n, "production", reason=f"auc {version.metrics['auc']:.2f}")
            print(f"trainer: version {version.n} is in production, auc {version.metrics['auc']:.2f}", flush=True)


def serve(lake_url: str, folder: Path) -> None:
    """Load what `production` points to, at boot and whenever it moves, until the last one is there."""
    with Lake.open(lake_url, cache=folder / "cache") as lake:
        for version in lake.models.watch("hmm_regime", "production", every_seconds=0.05):
            target = folder / "hmm_regime.model"
            lake.models.pull("hmm_regime", target, version.n, expect_schema=FEATURES)
            weights = json.loads(target.read_text())["weights"]
            print(f"engine: serves version {version.n}, pushed by {version.pushed_by}, weights {weights}", flush=True)
            if f"last-of-{os.getpid()}" in version.tags:
                return


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["train"]:
        train(arguments[1], Path(arguments[2]))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("lake", "trainer", "engine"):
            (folder / part).mkdir()
        lake_url = arguments[0] if arguments else str(folder / "lake")
        trainer = subprocess.Popen(  # noqa: S603
            [sys.executable, __file__, "train", lake_url, str(folder / "trainer")]
        )
        try:
            serve(lake_url, folder / "engine")
        finally:
            trainer.wait()


if __name__ == "__main__":
    main(sys.argv[1:])
