"""The Python of Spark's workers in tests, one of which may be held back once it has written a file.

That is the first to find ``armed`` in the folder K2_TEST_HOLD: it takes the file away, leaves one
that bears its process id, and does nothing more. ``spark.python.daemon.module`` names this module.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pyarrow as pa
from pyspark.daemon import manager

from k2_lake.spark.written import Target

_write = Target.write


def write_and_wait(target: Target, rows: pa.Table) -> list[bytes]:
    """Write as usual; whoever is held back never tells of it."""
    files = _write(target, rows)
    folder = Path(os.environ["K2_TEST_HOLD"])
    try:
        (folder / "armed").rename(folder / f"held-{os.getpid()}")
    except FileNotFoundError:
        return files
    while True:
        signal.pause()


if __name__ == "__main__":
    Target.write = write_and_wait  # type: ignore[method-assign]
    manager()
