"""pyarrow in the daemon's own process."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
from streamer.arrow_process import set_up_arrow
set_up_arrow()
import pyarrow as pa
pa.array([1, 2]); pa.repeat(pa.scalar(1, pa.int32()), 3)
assert "pandas" not in sys.modules, "pyarrow has loaded pandas"
import pandas
assert pa.table({"a": [1]}).column("a").to_pylist() == [1]
assert list(pandas.Series([1])) == [1]
"""


def test_pyarrow_does_not_load_pandas_and_who_wants_it_still_can() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
