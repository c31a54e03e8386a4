"""The folder of one demo run: the lake, the configuration file that the daemon is given, and its log."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from streamer.embedded.market import FEATURES, SIGNALS, STREAMS_TOML
from streamer.errors import Denied, Invalid

GROUP = "streamer-demo"

_CUT = 'cut = { rows = 2_000, age = "1s" }'
_NAMES_MAX = 1000


@dataclass(frozen=True, slots=True)
class DemoFolder:
    """Where everything of one run is."""

    root: Path

    @property
    def lake(self) -> Path:
        return self.root / "lake"

    @property
    def config(self) -> Path:
        return self.root / "streamer.toml"

    @property
    def log(self) -> Path:
        return self.root / "daemon.log"

    def write_config(self, bootstrap_servers: str) -> None:
        """The configuration of the daemon, as a user would write it."""
        self.config.write_text(config_text(bootstrap_servers, self.lake.resolve()), encoding="utf-8")


def make_folder(parent: Path, at: datetime) -> DemoFolder:
    """A new folder below `parent`, named by the time. Raises `Invalid` and `Denied` where it cannot be."""
    name = f"{at:%Y-%m-%dT%H-%M-%SZ}"
    try:
        for number in range(1, _NAMES_MAX):
            folder = DemoFolder(parent / (name if number == 1 else f"{name}-{number}"))
            try:
                folder.root.mkdir(parents=True)
            except FileExistsError:
                if not parent.is_dir():
                    raise
                continue
            folder.lake.mkdir()
            return folder
    except PermissionError as error:
        raise Denied(f"cannot write to {parent}", hint="name another place with --dir") from error
    except OSError as error:
        raise Invalid(f"cannot make a folder in {parent}: {error.strerror}", hint="name another place with --dir") from error
    raise Invalid(f"too many runs in {parent} at once", hint="name another place with --dir")


def config_text(bootstrap_servers: str, lake: Path) -> str:
    """The TOML. Cuts are far smaller than the defaults, so that a few seconds show several batches."""
    streams = STREAMS_TOML.replace("[streams.ticks]\n", f"[streams.ticks]\n{_CUT}\n", 1)
    others = "\n".join(f"[streams.{stream}]\n{_CUT}\n" for stream in (SIGNALS, FEATURES))
    return f"""\
# Written by `streamer demo`. What is not said here has its default: `streamer config show --config FILE` prints it all.

[kafka]
bootstrap_servers = "{bootstrap_servers}"
group_id = "{GROUP}"

[lake]
url = {json.dumps(str(lake), ensure_ascii=False)}

[http]
port = 0

{streams}
{others}"""
