"""The configuration: one frozen value, read from defaults, well-known variables, a file, `STREAMER__` variables, options.

`load` reads it, `Settings` holds it; `stream_layouts.py` and `clients.py` turn it into what the rooms take. Nobody else reads
the environment or the file.
"""

from streamer.config.load import load
from streamer.config.settings import Settings

__all__ = ["Settings", "load"]
