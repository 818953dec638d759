"""The exchange simulator as a process of its own, for tests that have no event loop."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


@contextmanager
def simulator(symbols: Sequence[str], rate: float = 5.0) -> Iterator[str]:
    """Its endpoint, ``ws://127.0.0.1:<port>``, while the context lasts."""
    options = ["--symbols", ",".join(symbols), "--rate", str(rate)]
    command = [sys.executable, "-m", "k2_feeds.simulator", "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
